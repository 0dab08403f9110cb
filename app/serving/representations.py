"""Bodies of responses: JSON, PNG, NumPy and the parts that responses with several explanations are made of.

These functions run in the processes that draw, and import nothing of the web framework.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from app.modalities.protocol import Floats
from app.serving.answers import AnyEvaluation, RenderedComparison, RenderedExplanation
from app.serving.chart import draw_evaluation
from app.serving.schemas import Value


class Format(StrEnum):
    """A representation of an answer, as ``format=`` names it."""

    JSON = "json"
    PNG = "png"
    HTML = "html"
    NPY = "npy"
    ZIP = "zip"

    @property
    def media_type(self) -> str:
        """Its media type, such as ``application/x-npy``."""
        return _MEDIA_TYPES[self]

    @property
    def schema(self) -> dict[str, str]:
        """JSON Schema of a body of this form, where it is not JSON."""
        return {"type": "string"} if self is Format.HTML else {"type": "string", "format": "binary"}


MAX_SCORES_IN_HEADER = 10
"""Classes in the header X-Scores: 1 000 of them would take 30 kB, more than many proxies allow."""
HTML_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""Of a page that contains text which a client sent: nothing in it is run or loaded."""
_MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.PNG: "image/png",
    Format.HTML: "text/html",
    Format.NPY: "application/x-npy",
    Format.ZIP: "application/zip",
}


@dataclass(frozen=True)
class Representation:
    """The body of a response, and the headers that go with it."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """JSON of an explanation and of the prediction in it, and the drawing as a PNG file."""

    explanation: bytes
    prediction: bytes
    png: bytes | None
    """``None`` where it is not asked for."""


def explanation(explained: RenderedExplanation, form: Format, *, values: bool) -> Representation:
    """Response of ``/explain``; JSON contains the map as nested numbers if ``values``."""
    if form is Format.JSON:
        return Representation(explained.answer(values=values).model_dump_json().encode())
    headers = _headers(explained)
    return Representation(_body(explained, form), headers | HTML_HEADERS if form is Format.HTML else headers)


def comparison(compared: RenderedComparison, form: Format, *, values: bool) -> Representation:
    """Response of ``/compare``; ``values`` as in `explanation`."""
    if form is Format.PNG:
        return Representation(compared.sheet.png)
    if form is Format.HTML:
        return Representation(compared.sheet.html.encode(), HTML_HEADERS)
    return Representation(compared.answer(values=values).model_dump_json().encode())


def evaluation(answer: AnyEvaluation, form: Format) -> Representation:
    """Response of ``/evaluate``: JSON, or the curves as a chart."""
    if form is Format.JSON:
        return Representation(answer.model_dump_json().encode())
    return Representation(draw_evaluation(answer))


def parts(explained: RenderedExplanation, *, values: bool, drawn: bool) -> Parts:
    """Parts of a response with several explanations; if ``drawn``, the drawing is one of them."""
    return Parts(*documents(explained, values=values), explained.figure.png if drawn else None)


def documents(
    explained: RenderedExplanation, *, values: bool, warnings: Sequence[str] = ()
) -> tuple[bytes, bytes]:
    """JSON of an explanation and of the prediction in it; ``warnings`` are added to the explanation's own."""
    answer = explained.answer(values=values)
    if warnings:
        answer = answer.model_copy(update={"warnings": [*answer.warnings, *warnings]})
    prediction = answer.model_dump_json(include=set(explained.answers.prediction.model_fields))
    return answer.model_dump_json().encode(), prediction.encode()


def results(answers: Sequence[bytes]) -> bytes:
    """JSON of several answers in their order, each JSON already."""
    return b'{"results":[%s]}' % b",".join(answers)


def _body(explained: RenderedExplanation, form: Format) -> bytes:
    if form is Format.PNG:
        png: bytes = explained.figure.png
        return png
    if form is Format.HTML:
        html: str = explained.figure.html
        return html.encode()
    return _npy(explained.relevance)


def _npy(relevance: Floats) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, relevance)
    return buffer.getvalue()


def _headers(explained: RenderedExplanation) -> dict[str, str]:
    report, best = explained.report, explained.report.prediction
    if isinstance(best, Value):
        return {"X-Prediction": f"{best.value:.9g}", "X-Target": _ascii(report.target.label)}
    most_probable = report.scores[:MAX_SCORES_IN_HEADER]
    probabilities = {score.label: round(score.probability, 6) for score in most_probable}
    return {
        "X-Prediction": _ascii(best.label),
        "X-Probability": f"{best.probability:.6f}",
        "X-Target": _ascii(report.target.label),
        "X-Scores": json.dumps(probabilities, separators=(",", ":")),
    }


def _ascii(label: str) -> str:
    """Escape a label as JSON does, since headers are ASCII."""
    return json.dumps(label)[1:-1]
