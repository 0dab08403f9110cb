"""What is done to pictures, before the model and after it: uploads are sample, explanations are drawn.

All of it can be done in another process: what goes in and what comes out are numbers, small pictures and words.
"""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import InvalidParameterError
from app.lrp.request import ExplanationRequest
from app.modalities.image.decoding import decode
from app.modalities.image.drawing.backdrop import Backdrop, backdrop_of
from app.modalities.image.drawing.captions import Captions
from app.modalities.image.drawing.contact_sheet import contact_sheet
from app.modalities.image.drawing.heatmap import Heatmap
from app.modalities.image.drawing.layout import longest_side
from app.modalities.image.drawing.render import render
from app.modalities.image.drawing.scale import Scale, scale_of
from app.modalities.image.drawing.style import Style
from app.modalities.image.fitting import Fit, facts, fit_to_model
from app.modalities.image.picture import Facts
from app.modalities.image.preprocessing import Floats, from_pixels, normalise, to_input
from app.modalities.image.spec import ImageSpec
from app.models.card import ModelCard
from app.models.protocol import JobResult
from app.serving.reports import ReportWriter
from app.serving.schemas import CompareAnswer, ExplainAnswer, ExplanationReport, HeatmapReport, PredictAnswer

T = TypeVar("T")

Upload = bytes | Floats
"""A picture's file, or pixels of the model's own size: float32 (channels, height, width) in 0…1."""
LIBRARIES = ("lrpserve", "torch", "zennit", "numpy", "pillow")
MOST_PIXELS_COMPARED = 2**24
"""Of all maps of a comparison: 16 of the largest size, some two seconds of drawing."""
KEPT_ON_SHEET: Any = {
    "target": True,
    "versus": True,
    "layer": True,
    "rule": {"name", "parameters"},
    "relevance": {"start", "sum", "min", "max", "leak"},
}
"""What a contact sheet's chunk says of each map."""


@dataclass(frozen=True)
class Sample:
    """What is kept of an upload until it is answered. However large it was, this is as small as what is drawn."""

    facts: Facts
    image: Floats
    """The network's input, (channels, height, width)."""
    pixels: npt.NDArray[np.uint8]
    """What the network sees, (height, width, 3), or (height, width) in greyscale."""
    backdrop: Backdrop


@dataclass(frozen=True)
class RenderedExplanation:
    """One explanation in every form that it may be answered in.

    ``relevance`` has the shape of the network's input, or of the layer's; ``pixels`` as in `Sample`.
    """

    report: ExplanationReport
    heatmap: Heatmap
    relevance: Floats
    pixels: npt.NDArray[np.uint8]

    def answer(self, *, values: bool = False) -> ExplainAnswer:
        """The JSON answer, with the map and what the model saw as nested numbers if ``values``."""
        fields = dict(self.report)
        if values:
            fields["relevance"] = self.report.relevance.model_copy(update={"values": self.relevance.tolist()})
            pixels = np.atleast_3d(self.pixels).tolist()  # (height, width, channels)
            fields["input"] = self.report.input.model_copy(update={"pixels": pixels})
        return ExplainAnswer(**fields, heatmap=_report(self.heatmap))


@dataclass(frozen=True)
class RenderedComparison:
    """Explanations on one scale, rule by rule and target by target, and all of them in one picture."""

    predicted: PredictAnswer
    explained: list[RenderedExplanation]
    sheet: Heatmap

    def answer(self, *, values: bool = False) -> CompareAnswer:
        """The JSON answer."""
        return CompareAnswer(
            **dict(self.predicted),
            explanations=[one.answer(values=values) for one in self.explained],
            sheet=_report(self.sheet),
        )


class Renderer:
    """Opens uploads and draws explanations, in terms of one model's card."""

    def __init__(self, card: ModelCard, reports: ReportWriter, max_pixels: int) -> None:
        self._reports = reports
        self._spec = image_spec(card)
        self._max_pixels = max_pixels

    def decode(self, data: Upload, fit: Fit, style: Style) -> Sample:
        """The picture in ``data``; raises what `app.modalities.image.decoding.decode` does."""
        picture = from_pixels(data) if isinstance(data, np.ndarray) else decode(data, self._max_pixels)
        fitted = fit_to_model(picture, fit, self._spec)
        if isinstance(data, np.ndarray):  # not by way of 8 bits
            image = normalise(data, self._spec)
        else:
            image = to_input(fitted.image, self._spec)
        backdrop = backdrop_of(picture, style, self._spec)
        return Sample(facts(picture, fitted), image, np.asarray(fitted.image), backdrop)

    def explain(
        self,
        sample: Sample,
        request: ExplanationRequest,
        result: JobResult,
        style: Style,
        top_k: int | None,
        write: Callable[[RenderedExplanation], T],
    ) -> T:
        """What ``write`` makes of the explanation that ``ask`` asked for and that is ``done``."""
        predicted = self._reports.prediction(sample.facts, result.logits, top_k)
        return write(self._explained(sample, predicted, request, result, 0, style, None))

    def compare(
        self,
        sample: Sample,
        requests: Sequence[ExplanationRequest],
        result: JobResult,
        style: Style,
        top_k: int | None,
        write: Callable[[RenderedComparison], T],
    ) -> T:
        """What ``write`` makes of several explanations.

        Raises `InvalidParameterError` where they are more than is drawn at once.
        """
        _refuse_too_large(len(requests), longest_side(style, sample.backdrop.size, self._spec.longest_side))
        predicted = self._reports.prediction(sample.facts, result.logits, top_k)
        scale = scale_of([explanation.relevance for explanation in result.explanations], style)
        explained = [
            self._explained(sample, predicted, request, result, index, style, scale)
            for index, request in enumerate(requests)
        ]
        return write(RenderedComparison(predicted, explained, _sheet(sample, explained, style, scale)))

    def _explained(
        self,
        sample: Sample,
        predicted: PredictAnswer,
        request: ExplanationRequest,
        result: JobResult,
        index: int,
        style: Style,
        scale: Scale | None,
    ) -> RenderedExplanation:
        """Explanation ``index`` of what is ``done``, with its report, on its own scale if none is given."""
        explanation = result.explanations[index]
        verified = None if result.verified is None else result.verified[index]
        report = self._reports.explanation(predicted, request, explanation, verified)
        heatmap = render(
            explanation.relevance,
            style,
            sample.backdrop,
            sample.facts.rectangle,
            {**report.model_dump(mode="json"), "versions": _versions()},
            _captions(report),
            scale,
        )
        return RenderedExplanation(report, heatmap, explanation.relevance, sample.pixels)


def image_spec(card: ModelCard) -> ImageSpec:
    """The input that a card describes."""
    channels, height, width = card.input_size
    return ImageSpec(channels, height, width, card.normalisation.mean, card.normalisation.std)


def as_it_is(thing: T) -> T:
    """Writes nothing, for those who want the explanation itself."""
    return thing


def _refuse_too_large(count: int, side: int) -> None:
    if count * side**2 > MOST_PIXELS_COMPARED:
        raise InvalidParameterError(
            "size",
            f"{count} maps of {side} pixels are more than is drawn at once; compare fewer, or ask for "
            f"{math.isqrt(MOST_PIXELS_COMPARED // count)}",
        )


def _sheet(sample: Sample, explained: Sequence[RenderedExplanation], style: Style, scale: Scale) -> Heatmap:
    rows: dict[str, list[Floats]] = {}
    for one in explained:
        rows.setdefault(one.report.rule.name, []).append(one.relevance)
    first = explained[: len(explained) // len(rows)]
    metadata = {
        **PredictAnswer.model_validate(explained[0].report, from_attributes=True).model_dump(mode="json"),
        "explanations": [one.report.model_dump(mode="json", include=KEPT_ON_SHEET) for one in explained],
        "versions": _versions(),
    }
    columns = [_captions(one.report).relevance for one in first]
    return contact_sheet(rows, columns, style, scale, Image.fromarray(sample.pixels), metadata)


def _report(heatmap: Heatmap) -> HeatmapReport:
    return HeatmapReport(
        media_type="image/png",
        width=heatmap.width,
        height=heatmap.height,
        colormap=heatmap.colormap,
        vmin=heatmap.vmin,
        vmax=heatmap.vmax,
        data=base64.b64encode(heatmap.png).decode(),
    )


def _captions(report: ExplanationReport) -> Captions:
    best, target, versus = report.prediction, report.target, report.versus
    rather_than = f" rather than {versus.label}" if versus else ""
    return Captions(f"{best.label} {best.probability:.0%}", f"why {target.label}{rather_than}?")


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
