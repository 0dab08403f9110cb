"""Metrics agree with calculations by hand."""

import math

import pytest
import torch
from torch import Tensor, nn
from tracing import traced

from app.errors import DataError
from app.lrp.graph.traced import TracedModel
from app.models.image_card import Normalisation
from app.training.data import LabelledImages
from app.training.evaluation import calibration_error, compute_metrics, evaluate

NORMALISATION = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def logits_of(*probabilities: float) -> Tensor:
    """Return logits (N, 2) for these probabilities of the first of two classes."""
    return torch.tensor([[math.log(p), math.log(1 - p)] for p in probabilities])


def colour_classifier(bias: float = 0.0) -> TracedModel:
    """Return a network that classifies images as red, green or blue by the channel with the largest mean.

    Its logits are 10 times the mean of each channel plus ``bias``.
    """
    convolution, linear = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 3)
    with torch.no_grad():
        convolution.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        linear.weight.copy_(10 * torch.eye(3))
        linear.bias.fill_(bias)
    return traced(nn.Sequential(convolution, nn.AvgPool2d(32), nn.Flatten(), linear), 3, 32, 32)


def coloured_images(labels: list[int], channels: list[int], classes: tuple[str, ...]) -> LabelledImages:
    images = torch.zeros(len(channels), 3, 32, 32, dtype=torch.uint8)
    images[torch.arange(len(channels)), torch.tensor(channels)] = 255
    return LabelledImages(images, torch.tensor(labels), classes)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy_in_each_bin() -> None:
    # Bins are 1/15 wide. One of the two in 0.733…0.8 is wrong: |0.765 - 0.5| · 2. The bin of 0.95: |0.95 - 1|.
    logits, labels = logits_of(0.75, 0.78, 0.95), torch.tensor([0, 1, 0])
    assert float(calibration_error(logits, labels)) == pytest.approx((2 * 0.265 + 0.05) / 3, abs=1e-6)


def test_errors_in_opposite_directions_cancel_only_within_a_bin() -> None:
    same_bin, labels = logits_of(0.75, 0.75, 0.75, 0.75), torch.tensor([0, 0, 0, 1])
    assert float(calibration_error(same_bin, labels)) == pytest.approx(0, abs=1e-6)
    assert float(calibration_error(logits_of(0.6, 0.9), torch.tensor([0, 1]))) == pytest.approx(
        0.65, abs=1e-6
    )


def test_certain_and_correct_predictions_have_no_calibration_error() -> None:
    assert float(calibration_error(torch.tensor([[500.0, 0.0]]), torch.tensor([0]))) == 0


def test_likelihood_is_the_mean_over_images() -> None:
    figures = compute_metrics(logits_of(0.5, 0.8), torch.tensor([0, 1]), ("a", "b"))
    assert figures.negative_log_likelihood == pytest.approx(-(math.log(0.5) + math.log(0.2)) / 2, abs=1e-5)


def test_rows_of_the_confusion_matrix_are_the_true_classes() -> None:
    figures = compute_metrics(logits_of(0.9, 0.9, 0.2), torch.tensor([0, 1, 1]), ("a", "b"))
    assert figures.confusion == ((1, 0), (1, 1))
    assert figures.per_class == {"a": 1.0, "b": 0.5}


def test_a_class_without_images_has_no_accuracy() -> None:
    assert compute_metrics(logits_of(0.9), torch.tensor([0]), ("a", "b")).per_class == {"a": 1.0}


def test_classes_are_matched_by_name_not_by_number() -> None:
    data = coloured_images([0, 1, 1], [2, 0, 0], ("blue", "red"))
    figures = evaluate(colour_classifier(), data, NORMALISATION, ("red", "green", "blue"))
    assert figures.accuracy == 1
    assert figures.confusion == ((2, 0, 0), (0, 0, 0), (0, 0, 1))


@pytest.mark.parametrize(("bias", "leak"), [(0.0, 0.0), (5.0, 1 / 3), (-5.0, -1.0)])
def test_the_leak_is_the_share_that_biases_keep(bias: float, leak: float) -> None:
    # The logit of a red image is 10 + bias: of 1 put in at it, ε leaves bias / (10 + bias) in the bias.
    data = coloured_images([0, 1, 1], [0, 2, 2], ("red", "blue"))
    measured = evaluate(colour_classifier(bias), data, NORMALISATION, ("red", "green", "blue"))
    assert measured.median_leak == pytest.approx(leak, abs=1e-4)


def test_a_class_that_is_no_output_of_the_network_is_refused() -> None:
    with pytest.raises(DataError, match="violet"):
        evaluate(
            colour_classifier(),
            coloured_images([0], [0], ("violet",)),
            NORMALISATION,
            ("red", "green", "blue"),
        )
