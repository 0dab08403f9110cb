"""A model of another shape than the shipped one: one channel, 48 high and 64 wide, four classes, no torch.

One with another even height and width is made by a card that says so.

Its logits are four times the means of the input's quadrants, and relevance is what each pixel adds to them, so
that tests can compute what is to be answered.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.lrp.explanation import Explanation
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.samples import Samples, SampleStatistics, Statistic
from app.models.image_card import ImageCard, Normalisation, image_card
from app.models.protocol import Description, Job, JobResult, LayerDescription, ModelLostError

Floats = npt.NDArray[np.float64]

HEIGHT, WIDTH = 48, 64
MEAN, STD = 0.4, 0.2
CLASSES = ("top-left", "top-right", "bottom-left", "bottom-right")
WEIGHT = 4.0
CARD = ImageCard(
    name="quadrants",
    architecture="Quadrants",
    classes=CLASSES,
    normalisation=Normalisation(mean=(MEAN,), std=(STD,)),
    input_size=(1, HEIGHT, WIDTH),
    files={"weights.safetensors": "0123456789abcdef" * 4},
)
DESCRIPTION = Description(
    CARD,
    "cpu",
    "quadrants",
    "quadrants again",
    (("encoder.scan", "convolution"), ("encoder.pool", "proportional"), ("vote", "dense")),
    (
        LayerDescription("encoder.scan", "Conv2d", "Conv2d(1, 1, kernel_size=(1, 1))"),
        LayerDescription("encoder.pool", "AdaptiveAvgPool2d", "AdaptiveAvgPool2d(2)"),
        LayerDescription("vote", "Linear", "Linear(4, 4)"),
    ),
)


def logits_of(x: npt.NDArray[Any]) -> Floats:
    """(1, H, W) -> (4,)."""
    means: Floats = quadrants(x).mean(axis=(1, 3))  # (2, H/2, 2, W/2) -> (2, 2)
    return WEIGHT * means.ravel()


def quadrants(x: npt.NDArray[Any]) -> Floats:
    """(1, H, W) -> (2, H/2, 2, W/2): quadrants down, rows, quadrants across, columns."""
    _, height, width = x.shape
    return np.asarray(x, np.float64).reshape(2, height // 2, 2, width // 2)


def relevance_of(x: npt.NDArray[Any], output_relevance: Floats) -> Floats:
    """LRP-0 of the network, (1, H, W): the share of each pixel in its quadrant's sum."""
    parts = quadrants(x)
    sums = parts.sum(axis=(1, 3), keepdims=True)
    shares = np.divide(parts, sums, out=np.zeros_like(parts), where=sums != 0)
    relevance: Floats = shares * output_relevance.reshape(2, 1, 2, 1)
    return relevance.reshape(x.shape)


class OnCallingThread:
    """The part of an `app.models.protocol.Model` on the calling thread that no fake needs."""

    def prepare_reference(self) -> None:
        pass

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        pass

    def kill(self) -> None:
        pass


class FakeModel(OnCallingThread):
    """An `app.models.protocol.Model` on the calling thread."""

    description = DESCRIPTION

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        assert all(job.input.shape == image_card(self.description.card).input_size for job in jobs)
        return [_result(job) for job in jobs]


def _result(job: Job) -> JobResult:
    assert job.input.dtype == np.float32
    logits = logits_of(job.input)
    if job.samples is not None:
        return _sampled(job, logits, job.samples)
    explanations = tuple(_explanation(job.input, logits, request) for request in job.requests)
    return JobResult(logits.tolist(), explanations, explanations if job.verify else None)


def noisy_inputs(x: npt.NDArray[Any], samples: Samples) -> Floats:
    """(1, H, W) -> (samples, 1, H, W): with noise, the share of the input's range that ``samples`` say."""
    noise = samples.deviations(range(samples.count), x.shape)
    return x + samples.noise / STD * noise.astype(np.float64)


def _sampled(job: Job, logits: Floats, samples: Samples) -> JobResult:
    inputs = noisy_inputs(job.input, samples)
    explanations = []
    for request in job.requests:
        put_in = output_relevance_of(logits, request.target)
        maps = np.stack([relevance_of(one, put_in) for one in inputs])  # (samples, 1, H, W)
        statistic = {
            Statistic.MEAN: maps.mean(0),
            Statistic.STD: maps.std(0),
            Statistic.P5: np.percentile(maps, 5, axis=0),
            Statistic.P95: np.percentile(maps, 95, axis=0),
        }[samples.statistic]
        sums = {"encoder.scan": maps.sum() / samples.count, "vote": put_in.sum()}
        explanations.append(
            Explanation(
                put_in.tolist(),
                statistic.astype(np.float32),
                float(statistic.min()),
                float(statistic.max()),
                tuple(sums.items()),
                float(sums["encoder.scan"]),
                float(put_in.sum() - sums["encoder.scan"]),
                SampleStatistics(float(maps.std(0).mean() / np.abs(maps.mean(0)).mean()), 0.5),
            )
        )
    sample_logits = np.stack([logits_of(one) for one in inputs])
    return JobResult(logits.tolist(), tuple(explanations), None, sample_logits)


def _explanation(x: npt.NDArray[np.float32], logits: Floats, request: ExplanationRequest) -> Explanation:
    output_relevance = output_relevance_of(logits, request.target)
    pixels = relevance_of(x, output_relevance)
    at_input = {"encoder.scan": pixels, "encoder.pool": pixels, "vote": output_relevance}
    return explanation_of(output_relevance, at_input, request.layer)


def explanation_of(
    output_relevance: Floats, at_input: Mapping[str, Floats], layer: str | None = None
) -> Explanation:
    """Return the explanation by the relevance at the input of each layer, the first layer first.

    Its map is that of ``layer``, by default of the first.
    """
    first = next(iter(at_input))
    relevance = at_input[layer or first].astype(np.float32)
    total = float(at_input[first].sum())
    return Explanation(
        output_relevance.tolist(),
        relevance,
        float(relevance.min()),
        float(relevance.max()),
        tuple((name, float(values.sum())) for name, values in at_input.items()),
        total,
        float(output_relevance.sum()) - total,
    )


def output_relevance_of(logits: Floats, target: Target) -> Floats:
    """Return the relevance at the output, (classes,), under LRP-0."""
    starts = {
        Start.ONE: np.ones(len(logits)),
        Start.LOGIT: logits,
        Start.PROBABILITY: np.exp(logits) / math.fsum(np.exp(logits)),
    }[target.start]
    starts = np.where(logits < 0, -np.abs(starts), starts)  # LRP-0 divides by the logit
    index = int(logits.argmax()) if target.index is None else target.index
    output_relevance = np.zeros(len(logits))
    output_relevance[index] = starts[index]
    if target.versus is not None:
        output_relevance[target.versus] = -starts[target.versus]
    return output_relevance
