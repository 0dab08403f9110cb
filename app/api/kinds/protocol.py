"""Kinds of input over HTTP: the addresses of each, how its uploads are read, its parameters and its answers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from app.api.parameters import ScoreParameters, SingleParameters
from app.models.card import Kind
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
    bodies: tuple[type[BaseModel], ...] = ()
    """Models in ``body`` that OpenAPI must have."""
    predictions: type[Answer] | None = None
    """Answer to a request with several inputs, if there may be such."""
    explanations: type[Answer] | None = None
    """As ``predictions``."""

    def name(self, verb: str) -> str:
        """Return the name of a route: the verb and the kind."""
        return verb + self.suffix.replace("/", "_")
