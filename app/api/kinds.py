"""Kinds of input over HTTP: the addresses of each, how its uploads are read, its parameters and its answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from app.api.http.upload import read_upload, request_body
from app.api.parameters import ExplainParameters, PredictParameters, ScoreParameters, SingleParameters
from app.models.card import Kind
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.schemas import Answer, ExplainAnswer, ExplanationOf, PredictAnswer, PredictionOf
from app.serving.timings import Timings


@dataclass(frozen=True)
class Uploads:
    """The inputs of one request."""

    items: Sequence[Any]
    several: bool = False
    """Whether the answer is a list, even if there is one item."""


@dataclass(frozen=True)
class KindOverHTTP:
    """Addresses, uploads, parameters and answers of one kind of input."""

    kind: Kind
    suffix: str
    """Of the addresses, such as ``/text``."""
    noun: str
    """One input, with its article, in summaries."""
    items: str
    """Several inputs, in messages."""
    parts: str
    """What relevance is of."""
    relevance: str
    """A drawing of relevance, with its article."""
    read: Callable[[Request, Pipeline, Timings], Awaitable[Uploads]]
    body: Mapping[str, Any]
    """OpenAPI of the body."""
    predict: type[ScoreParameters]
    explain: type[SingleParameters]
    prediction: type[PredictionOf[Any, Any]]
    explanation: type[ExplanationOf[Any, Any]]
    forms: tuple[Format, ...]
    """Of explanations; the first one is the default."""
    predictions: type[Answer] | None = None
    """Answer to a request with several inputs, if there may be such."""
    explanations: type[Answer] | None = None
    """As ``predictions``."""

    def name(self, verb: str) -> str:
        """Return the name of a route: the verb and the kind."""
        return verb + self.suffix.replace("/", "_")


async def _read_picture(request: Request, _: Pipeline, __: Timings) -> Uploads:
    return Uploads([await read_upload(request)])


IMAGE = KindOverHTTP(
    kind="image",
    suffix="",
    noun="a picture",
    items="pictures",
    parts="pixels",
    relevance="a relevance heatmap",
    read=_read_picture,
    body=request_body(),
    predict=PredictParameters,
    explain=ExplainParameters,
    prediction=PredictAnswer,
    explanation=ExplainAnswer,
    forms=(Format.JSON, Format.PNG, Format.NPY),
)
KINDS: Mapping[Kind, KindOverHTTP] = {"image": IMAGE}
"""By the ``kind`` of a model's card."""
