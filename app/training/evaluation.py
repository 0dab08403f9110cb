"""Metrics of a network on a dataset: accuracy, confusion matrix, calibration error, likelihood and leak."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from app.errors import DataError
from app.lrp.attribution import Attribution, Batch, output_relevance
from app.lrp.composites import DEFAULT_RULE, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest, Target
from app.models.bounds import pixel_bounds
from app.models.image_card import Normalisation
from app.models.records import Measured
from app.training.augment import normalise
from app.training.data import LabelledImages

BATCH_SIZE = 500
LEAK_BATCH_SIZE = 64
CALIBRATION_BINS = 15


def evaluate(
    model: TracedModel, data: LabelledImages, normalisation: Normalisation, classes: tuple[str, ...]
) -> Measured:
    """Return the metrics of ``model`` on all of ``data``. Classes are matched by name.

    Args:
        model: Network, (B, 3, H, W) -> logits (B, len(classes)).
        data: Images and labels; its classes may be a subset of ``classes``.
        normalisation: Normalisation of the network's input.
        classes: Names of the network's outputs.

    Raises:
        DataError: ``data`` has a class that is not in ``classes``.

    """
    unknown = sorted(set(data.classes) - set(classes))
    if unknown:
        raise DataError(f"the network has no class {unknown[0]!r}; its classes are {', '.join(classes)}")
    output = torch.tensor([classes.index(name) for name in data.classes])
    logits = compute_logits(logits_of(engine_of(model, normalisation)), data, normalisation)
    metrics = compute_metrics(logits, output[data.labels], classes)
    return metrics.model_copy(update={"median_leak": median_leak(model, data, normalisation)})


def median_leak(model: TracedModel, data: LabelledImages, normalisation: Normalisation) -> float:
    """Return the median of `leaks` under the default rule."""
    return round(float(leaks(model, data, normalisation, DEFAULT_RULE).quantile(0.5)), 5)


def leaks(model: TracedModel, data: LabelledImages, normalisation: Normalisation, rule: str) -> Tensor:
    """Return the leak (N,) of the predicted class's map of each image, under ``rule`` with default parameters.

    The leak is the share of the relevance put in at the output that does not reach the input; see
    `app.lrp.explanation.Explanation.leak`.
    """
    engine, composite = engine_of(model, normalisation), resolve(kinds(model.graph), rule, {}, [])
    return torch.cat(
        [
            leaks_of(engine.attribute(normalise(images, normalisation), composite, put_in))
            for images in data.images.split(LEAK_BATCH_SIZE)
            for put_in in [output_relevance([ExplanationRequest(composite, Target())] * len(images))]
        ]
    )


def leaks_of(attribution: Attribution) -> Tensor:
    """Return the leak of each image (B,)."""
    return (1 - attribution.input_sums / attribution.output_relevance.sum(1)).double().cpu()


def engine_of(model: TracedModel, normalisation: Normalisation) -> Engine:
    """Return the engine of a network for images in 0…1 with this normalisation."""
    return Engine(model, *pixel_bounds(normalisation))


def logits_of(engine: Engine) -> Callable[[Tensor], Tensor]:
    """Return the function that computes logits: (B, …) -> (B, classes)."""
    return lambda inputs: engine.run(Batch(inputs, (), ())).logits


@torch.inference_mode()
def compute_logits(
    network: Callable[[Tensor], Tensor],
    data: LabelledImages,
    normalisation: Normalisation,
    device: torch.device | None = None,
) -> Tensor:
    """Return the logits (N, classes) of all images on the CPU, in the order of the data.

    ``network`` computes those of a batch on ``device``; ``None``: the CPU.
    """
    batches = data.images.split(BATCH_SIZE)
    return torch.cat([network(normalise(images, normalisation).to(device)).cpu() for images in batches])


def compute_metrics(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> Measured:
    """Return all metrics of logits (N, classes) for labels (N,)."""
    predicted = logits.argmax(1)
    pairs = labels * len(classes) + predicted
    confusion = torch.bincount(pairs, minlength=len(classes) ** 2).view(len(classes), -1)  # (true, predicted)
    correct, per_class = confusion.diag(), confusion.sum(1)
    return Measured(
        count=len(labels),
        accuracy=_rounded(correct.sum() / len(labels)),
        per_class={
            name: _rounded(correct[i] / per_class[i]) for i, name in enumerate(classes) if per_class[i] > 0
        },
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration_error=_rounded(calibration_error(logits, labels)),
        negative_log_likelihood=_rounded(F.cross_entropy(logits.double(), labels)),
    )


def calibration_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the expected calibration error in 0…1, Guo et al. 2017 eq. 5, with 15 bins of equal width.

    It is the mean over all images of the difference between confidence and accuracy in the image's bin:
    logits (N, classes), labels (N,) -> ().
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    correct = (predicted == labels).double()
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=torch.float64)
    bins = torch.bucketize(confidence, edges[1:-1])
    gap = torch.zeros(CALIBRATION_BINS, dtype=torch.float64).index_add_(0, bins, confidence - correct)
    return gap.abs().sum() / len(labels)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature that minimises the negative log-likelihood, Guo et al. 2017.

    logits (N, classes), labels (N,). Its logarithm is fitted, so that it is positive.
    """
    logits = logits.double()
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits / log_temperature.exp(), labels)
        value.backward()
        return value

    optimizer.step(loss)
    return float(log_temperature.detach().exp())


def _rounded(value: Tensor) -> float:
    return round(float(value), 5)
