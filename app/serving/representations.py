"""Explanations in the forms that they are answered in. Written where they are drawn, in another process, which
needs nothing of the web.
"""

import io
import json
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from app.modalities.image.decoding import Floats
from app.serving.rendering import RenderedComparison, RenderedExplanation
from app.serving.schemas import PredictAnswer


class Format(StrEnum):
    """A form of answer, as ``format=`` names it."""

    JSON = "json"
    PNG = "png"
    NPY = "npy"
    ZIP = "zip"

    @property
    def media_type(self) -> str:
        """The media type it is sent as."""
        return (
            "image/png" if self is Format.PNG else f"application/{'x-' if self is Format.NPY else ''}{self}"
        )


@dataclass(frozen=True)
class Written:
    """The body of an answer, and headers of its own."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """JSON of an explanation and of the prediction in it, and the heatmap as a file."""

    explanation: bytes
    prediction: bytes
    png: bytes


@dataclass(frozen=True)
class Tensors:
    """What the Open Inference Protocol says of one picture; scores in the order of the classes."""

    logits: list[float]
    probabilities: list[float]
    relevance: Floats | None = None
    heatmap_png: bytes | None = None


def explanation(explained: RenderedExplanation, form: Format, *, values: bool) -> Written:
    """What ``/explain`` answers; JSON with the map as nested numbers if ``values``."""
    if form is Format.JSON:
        return Written(explained.answer(values=values).model_dump_json().encode())
    body = explained.heatmap.png if form is Format.PNG else _npy(explained.relevance)
    return Written(body, _headers(explained))


def comparison(compared: RenderedComparison, form: Format, *, values: bool) -> Written:
    """What ``/compare`` answers."""
    if form is Format.PNG:
        return Written(compared.sheet.png)
    return Written(compared.answer(values=values).model_dump_json().encode())


def parts(explained: RenderedExplanation, *, values: bool) -> Parts:
    """What answers with several explanations are put together from."""
    answer = explained.answer(values=values)
    prediction = answer.model_dump_json(include=set(PredictAnswer.model_fields))
    return Parts(answer.model_dump_json().encode(), prediction.encode(), explained.heatmap.png)


def tensors(explained: RenderedExplanation) -> Tensors:
    """Scores, relevance and heatmap as arrays."""
    return Tensors(*scores(explained.report), explained.relevance, explained.heatmap.png)


def scores(answer: PredictAnswer) -> tuple[list[float], list[float]]:
    """Logits and probabilities in the order of the classes."""
    ordered = sorted(answer.scores, key=lambda score: score.index)
    return [score.logit for score in ordered], [score.probability for score in ordered]


def _npy(relevance: Floats) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, relevance)
    return buffer.getvalue()


def _headers(explained: RenderedExplanation) -> dict[str, str]:
    report = explained.report
    probabilities = {score.label: round(score.probability, 6) for score in report.scores}
    return {
        "X-Prediction": _ascii(report.prediction.label),
        "X-Probability": f"{report.prediction.probability:.6f}",
        "X-Target": _ascii(report.target.label),
        "X-Scores": json.dumps(probabilities, separators=(",", ":")),
    }


def _ascii(label: str) -> str:
    """Headers are ASCII: other letters go as JSON escapes, as in X-Scores."""
    return json.dumps(label)[1:-1]
