"""How good a network is: accuracy, per class, confusion, calibration."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.errors import DataError
from app.models.card import Measured, Normalisation
from app.training.augment import normalise
from app.training.data import LabelledImages

BATCH = 500
CALIBRATION_BINS = 15


def evaluate(
    model: nn.Module, data: LabelledImages, normalisation: Normalisation, classes: tuple[str, ...]
) -> Measured:
    """Measure ``model``, in evaluation mode, whose outputs are ``classes``, on all of ``data``.

    Raises `DataError` where the data have a class that the network does not.
    """
    unknown = sorted(set(data.classes) - set(classes))
    if unknown:
        raise DataError(f"the network has no class {unknown[0]!r}; its classes are {', '.join(classes)}")
    number = torch.tensor([classes.index(name) for name in data.classes])
    return measured(logits_of(model, data, normalisation), number[data.labels], classes)


@torch.inference_mode()
def logits_of(model: nn.Module, data: LabelledImages, normalisation: Normalisation) -> Tensor:
    """(N, classes), in the order of the data."""
    device = next(model.parameters()).device
    batches = data.images.split(BATCH)
    return torch.cat([model(normalise(images, normalisation).to(device)).cpu() for images in batches])


def measured(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> Measured:
    """All figures of logits (N, classes) against labels (N,)."""
    predicted = logits.argmax(1)
    pairs = labels * len(classes) + predicted
    confusion = torch.bincount(pairs, minlength=len(classes) ** 2).view(len(classes), -1)
    right, per_class = confusion.diag(), confusion.sum(1)
    return Measured(
        count=len(labels),
        accuracy=_rounded(right.sum() / len(labels)),
        per_class={
            name: _rounded(right[i] / per_class[i]) for i, name in enumerate(classes) if per_class[i] > 0
        },
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration_error=_rounded(calibration_error(logits, labels)),
        negative_log_likelihood=_rounded(F.cross_entropy(logits.double(), labels)),
    )


def calibration_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Expected calibration error of Guo et al. 2017: 15 bins of confidence, equally wide.

    Mean distance between how sure the network is and how often it is right, in 0…1.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=torch.float64)
    bins = torch.bucketize(confidence, edges[1:-1])
    gap = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add_(0, bins, confidence - right)
    return gap.abs().sum() / len(labels)


def _rounded(value: Tensor) -> float:
    return round(float(value), 5)
