"""Work on samples before and after the model: uploads are decoded, explanations are reported and drawn.

All of it can run in another process: arguments and results are arrays, small pictures and plain data.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from app.lrp.request import ExplanationRequest
from app.modalities.image.drawing.heatmap import Heatmap
from app.modalities.image.modality import ImageModality, ImageOptions, ImageSample
from app.modalities.protocol import Floats, Map, Modality
from app.models.card import ModelCard
from app.models.image_card import image_card
from app.models.protocol import JobResult
from app.serving.evaluation import Evaluation
from app.serving.evaluation_schemas import EvaluateAnswer
from app.serving.reports import ReportWriter
from app.serving.requests import ExplainOptions
from app.serving.schemas import CompareAnswer, ExplainAnswer, ExplanationReport, HeatmapReport, PredictAnswer

T = TypeVar("T")

Upload = bytes | Floats
"""A picture's file, or pixels of the model's own size: float32 (channels, height, width) in 0…1."""
LIBRARIES = ("lrpserve", "torch", "zennit", "numpy", "pillow")
SHEET_FIELDS: Any = {
    "target": True,
    "versus": True,
    "layer": True,
    "rule": {"name", "parameters"},
    "relevance": {"start", "sum", "min", "max", "leak"},
}
"""Members of each explanation's report that the metadata of a contact sheet contain."""


@dataclass(frozen=True)
class RenderedExplanation:
    """One explanation, from which every representation of it can be written."""

    report: ExplanationReport
    heatmap: Heatmap
    relevance: Floats
    """Shaped like the network's input, or the layer's."""
    pixels: npt.NDArray[np.uint8]
    """What the network sees: `ImageSample.pixels`."""

    def answer(self, *, values: bool = False) -> ExplainAnswer:
        """Return the JSON response; with ``values`` it contains the map and the pixels as nested numbers."""
        fields = dict(self.report)
        if values:
            fields["relevance"] = self.report.relevance.model_copy(update={"values": _nested(self.relevance)})
            pixels = np.atleast_3d(self.pixels).tolist()  # (height, width, channels)
            fields["input"] = self.report.input.model_copy(update={"pixels": pixels})
        return ExplainAnswer(**fields, heatmap=_heatmap_report(self.heatmap))


@dataclass(frozen=True)
class RenderedComparison:
    """Explanations on one colour scale, rule by rule and class by class, and a contact sheet of all."""

    predicted: PredictAnswer
    explained: list[RenderedExplanation]
    sheet: Heatmap

    def answer(self, *, values: bool = False) -> CompareAnswer:
        """Return the JSON response; ``values`` as in `RenderedExplanation.answer`."""
        return CompareAnswer(
            **dict(self.predicted),
            explanations=[one.answer(values=values) for one in self.explained],
            sheet=_heatmap_report(self.sheet),
        )


class Renderer:
    """Decodes uploads for one model, and reports and draws its explanations."""

    def __init__(self, modality: Modality[ImageOptions, ImageSample, Heatmap], reports: ReportWriter) -> None:
        self._modality = modality
        self._reports = reports

    def decode(self, data: Upload, options: ImageOptions) -> ImageSample:
        """Decode an upload; raises what the modality raises."""
        return self._modality.decode(data, options)

    def explain(
        self,
        sample: ImageSample,
        request: ExplanationRequest,
        result: JobResult,
        options: ExplainOptions,
        write: Callable[[RenderedExplanation], T],
    ) -> T:
        """Return ``write`` of the rendered explanation in ``result``, the only one."""
        predicted = self._reports.prediction(sample.facts, result, options.top_k)
        (explained,) = self._rendered(sample, [request], result, options, predicted)
        return write(explained)

    def compare(
        self,
        sample: ImageSample,
        requests: Sequence[ExplanationRequest],
        result: JobResult,
        options: ExplainOptions,
        write: Callable[[RenderedComparison], T],
    ) -> T:
        """Return ``write`` of the rendered explanations in ``result``, one for each of ``requests``."""
        predicted = self._reports.prediction(sample.facts, result, options.top_k)
        explained = self._rendered(sample, requests, result, options, predicted)
        metadata = {
            **PredictAnswer.model_validate(explained[0].report, from_attributes=True).model_dump(mode="json"),
            "explanations": [one.report.model_dump(mode="json", include=SHEET_FIELDS) for one in explained],
            "versions": _versions(),
        }
        maps = [_map(one.report, one.relevance) for one in explained]
        sheet = self._modality.render_together(maps, sample, options.image, metadata)
        return write(RenderedComparison(predicted, explained, sheet))

    def evaluate(
        self,
        sample: ImageSample,
        evaluation: Evaluation,
        top_k: int | None,
        write: Callable[[EvaluateAnswer], T],
    ) -> T:
        """Return ``write`` of the report on an evaluation."""
        logits = evaluation.logits
        predicted = self._reports.prediction(sample.facts, JobResult(logits, (), None), len(logits))
        report = self._reports.evaluation(predicted, evaluation)
        return write(report.model_copy(update={"scores": report.scores[: self._reports.top_k(top_k)]}))

    def _rendered(
        self,
        sample: ImageSample,
        requests: Sequence[ExplanationRequest],
        result: JobResult,
        options: ExplainOptions,
        predicted: PredictAnswer,
    ) -> list[RenderedExplanation]:
        verified = result.verified or (None,) * len(requests)
        explanations = list(zip(requests, result.explanations, verified, strict=True))
        reports = [
            self._reports.explanation(predicted, result, options.samples, *one) for one in explanations
        ]
        relevances = [explanation.relevance for explanation in result.explanations]
        maps = [_map(*one) for one in zip(reports, relevances, strict=True)]
        heatmaps = self._modality.render(maps, sample, options.image)
        return [
            RenderedExplanation(report, heatmap, relevance, sample.pixels)
            for report, heatmap, relevance in zip(reports, heatmaps, relevances, strict=True)
        ]


def image_modality(card: ModelCard, max_pixels: int) -> ImageModality:
    """Return the modality for networks with the input that ``card`` describes."""
    return ImageModality(image_card(card).spec, max_pixels)


def identity(explained: T) -> T:
    """Return its argument: a ``write`` function for those who need the explanation itself."""
    return explained


def _nested(values: Floats) -> Any:
    """Return ``values`` as nested lists of nine significant digits, which tell each float32 from all others.

    With all digits of their doubles, the JSON of a map would be half as long again.
    """
    doubles = values.astype(np.float64)
    exponents = np.floor(np.log10(np.abs(doubles), out=np.zeros_like(doubles), where=doubles != 0))
    scales = 10.0 ** (8 - exponents)
    return (np.rint(doubles * scales) / scales).tolist()


def _map(report: ExplanationReport, relevance: Floats) -> Map:
    best, target, versus = report.prediction, report.target, report.versus
    rather_than = f" rather than {versus.label}" if versus else ""
    samples = report.relevance.samples
    of_samples = f" ({samples.statistic} of {samples.count})" if samples else ""
    return Map(
        relevance,
        report.rule.name,
        f"{best.label} {best.probability:.0%}",
        f"why {target.label}{rather_than}?{of_samples}",
        {**report.model_dump(mode="json"), "versions": _versions()},
    )


def _heatmap_report(heatmap: Heatmap) -> HeatmapReport:
    return HeatmapReport(
        media_type="image/png",
        width=heatmap.width,
        height=heatmap.height,
        colormap=heatmap.colormap,
        vmin=heatmap.vmin,
        vmax=heatmap.vmax,
        data=base64.b64encode(heatmap.png).decode(),
    )


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
