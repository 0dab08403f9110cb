"""Work on samples before and after the model: uploads are decoded, explanations are reported and drawn.

All of it can run in another process: arguments and results are arrays, small pictures and plain data.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, TypeVar

import numpy.typing as npt

from app.lrp.request import ExplanationRequest
from app.modalities.protocol import Map, Modality, Sample
from app.models.protocol import JobResult
from app.serving.answers import (
    AnyEvaluation,
    AnyExplanation,
    AnyPrediction,
    RenderedComparison,
    RenderedExplanation,
)
from app.serving.evaluation import Evaluation
from app.serving.reports import ReportWriter
from app.serving.requests import ExplainOptions
from app.serving.schemas import Prediction, Value

T = TypeVar("T")

Upload = Any
"""What a modality decodes; of images a file, or pixels of the model's size: float32 (channels, height, width)."""
LIBRARIES = ("lrpserve", "torch", "zennit", "numpy", "pillow")
SHEET_FIELDS: Any = {
    "target": True,
    "versus": True,
    "layer": True,
    "rule": {"name", "parameters"},
    "relevance": {"start", "sum", "min", "max", "leak"},
}
"""Members of each explanation's report that the metadata of a contact sheet contain."""


class Renderer:
    """Decodes uploads for one model, and reports and draws its explanations."""

    def __init__(self, modality: Modality[Any, Any, Any], reports: ReportWriter) -> None:
        self._modality = modality
        self._reports = reports

    def decode(self, data: Upload, options: Any) -> Any:
        """Decode an upload; raises what the modality raises."""
        return self._modality.decode(data, options)

    def explain(
        self,
        sample: Sample,
        request: ExplanationRequest,
        result: JobResult,
        options: ExplainOptions,
        write: Callable[[RenderedExplanation], T],
    ) -> T:
        """Return ``write`` of the rendered explanation in ``result``, the only one."""
        predicted = self._reports.prediction(sample, result, options.top_k)
        (explained,) = self._rendered(sample, [request], result, options, predicted)
        return write(explained)

    def compare(
        self,
        sample: Sample,
        requests: Sequence[ExplanationRequest],
        result: JobResult,
        options: ExplainOptions,
        write: Callable[[RenderedComparison], T],
    ) -> T:
        """Return ``write`` of the rendered explanations in ``result``, one for each of ``requests``."""
        predicted = self._reports.prediction(sample, result, options.top_k)
        explained = self._rendered(sample, requests, result, options, predicted)
        metadata = {
            **explained[0].report.model_dump(mode="json", include=set(predicted.__class__.model_fields)),
            "explanations": [one.report.model_dump(mode="json", include=SHEET_FIELDS) for one in explained],
            "versions": _versions(),
        }
        maps = [_map(one.report, one.relevance) for one in explained]
        sheet = self._modality.render_together(maps, sample, options.input, metadata)
        return write(RenderedComparison(predicted, explained, sheet, self._reports.answers))

    def evaluate(
        self,
        sample: Sample,
        evaluation: Evaluation,
        top_k: int | None,
        write: Callable[[AnyEvaluation], T],
    ) -> T:
        """Return ``write`` of the report on an evaluation."""
        logits = evaluation.logits
        predicted = self._reports.prediction(sample, JobResult(logits, (), None), len(logits))
        report = self._reports.evaluation(predicted, evaluation)
        return write(report.model_copy(update={"scores": report.scores[: self._reports.top_k(top_k)]}))

    def _rendered(
        self,
        sample: Sample,
        requests: Sequence[ExplanationRequest],
        result: JobResult,
        options: ExplainOptions,
        predicted: AnyPrediction,
    ) -> list[RenderedExplanation]:
        verified = result.verified or (None,) * len(requests)
        explanations = list(zip(requests, result.explanations, verified, strict=True))
        reports = [
            self._reports.explanation(predicted, result, options.samples, *one) for one in explanations
        ]
        relevances = [explanation.relevance for explanation in result.explanations]
        maps = [_map(*one) for one in zip(reports, relevances, strict=True)]
        figures = self._modality.render(maps, sample, options.input)
        return [
            RenderedExplanation(report, figure, relevance, sample, self._reports.answers)
            for report, figure, relevance in zip(reports, figures, relevances, strict=True)
        ]


def identity(explained: T) -> T:
    """Return its argument: a ``write`` function for those who need the explanation itself."""
    return explained


def _map(report: AnyExplanation, relevance: npt.NDArray[Any]) -> Map:
    target, versus = report.target, report.versus
    rather_than = f" rather than {versus.label}" if versus else ""
    samples = report.relevance.samples
    of_samples = f" ({samples.statistic} of {samples.count})" if samples else ""
    return Map(
        relevance,
        report.rule.name,
        _caption(report.prediction),
        f"why {target.label}{rather_than}?{of_samples}",
        {**report.model_dump(mode="json"), "versions": _versions()},
        bias=report.relevance.bias,
        layer=report.layer,
    )


def _caption(best: Prediction | Value) -> str:
    if isinstance(best, Prediction):
        return f"{best.label} {best.probability:.0%}"
    return f"{best.name} {best.value:.4g}{'' if best.unit is None else f' {best.unit}'}"


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
