"""Kinds of input over HTTP: the addresses of each, how its uploads are read, its parameters and its answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from app.api.http.errors import BadRequestError
from app.api.parameters import ScoreParameters, SingleParameters
from app.api.parameters_of_several import ComparisonParameters, EvaluationParameters
from app.api.schemas import Limits
from app.models.card import Kind
from app.serving.answers import AnyEvaluation
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.schemas import Answer, ExplanationOf, PredictionOf
from app.serving.timings import Timings


@dataclass(frozen=True)
class Uploads:
    """The inputs of one request."""

    items: Sequence[Any]
    several: bool = False
    """Whether the answer is a list, even if there is one item."""


@dataclass(frozen=True)
class BatchItem:
    """One input of several that are explained each by itself."""

    names: Mapping[str, str | int]
    """Members of its result that tell it from the others."""
    stem: str
    """Of the name of its drawing in an archive."""
    data: Any
    """What the modality decodes, or the `PublicError` of an input that cannot be read."""


@dataclass(frozen=True)
class BatchOverHTTP:
    """Uploads, parameters and answer of ``/explain/batch`` for one kind of input."""

    form: str
    """How inputs are sent, in descriptions."""
    read: Callable[[Request, Pipeline, Limits, Timings], Awaitable[Sequence[BatchItem]]]
    body: Mapping[str, Any]
    """OpenAPI of the body."""
    parameters: type[SingleParameters]
    answer: type[Answer]


@dataclass(frozen=True)
class ComparisonOverHTTP:
    """Parameters and answer of ``/compare`` for one kind of input."""

    parameters: type[ComparisonParameters]
    answer: type[PredictionOf[Any, Any]]
    forms: tuple[Format, ...]
    """Of the answer; the first one is the default, the others are one drawing of all explanations."""


@dataclass(frozen=True)
class EvaluationOverHTTP:
    """Parameters and answer of ``/evaluate`` for one kind of input."""

    parameters: type[EvaluationParameters]
    answer: type[AnyEvaluation]
    removal: str
    """What is done to the input, in descriptions."""


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
    batch: BatchOverHTTP
    compare: ComparisonOverHTTP
    evaluate: EvaluationOverHTTP
    bodies: tuple[type[BaseModel], ...] = ()
    """Models in the bodies that OpenAPI must have."""
    predictions: type[Answer] | None = None
    """Answer to a request with several inputs, if there may be such."""
    explanations: type[Answer] | None = None
    """As ``predictions``."""

    async def read_one(self, request: Request, pipeline: Pipeline, timings: Timings) -> Any:
        """Return the only input of a request.

        Raises `BadRequestError` for several, and what `read` raises.
        """
        items = (await self.read(request, pipeline, timings)).items
        if len(items) > 1:
            raise BadRequestError(f"{len(items)} {self.items} arrived; this address takes one at a time")
        return items[0]

    def name(self, verb: str) -> str:
        """Return the name of a route: the verb and the kind."""
        return verb + self.suffix.replace("/", "_")
