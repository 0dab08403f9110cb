"""The request for one explanation: which rules, which class, how much relevance, at which layer."""

from dataclasses import dataclass, field
from enum import StrEnum

from app.lrp.composites import Composite


class Start(StrEnum):
    """Relevance put in at the output, for the class that is explained; see `attribution.output_relevance`."""

    ONE = "one"
    LOGIT = "logit"
    PROBABILITY = "probability"


@dataclass(frozen=True)
class Target:
    """The class that is explained, and the relevance put in at the output for it."""

    index: int | None = None
    """Index of the class; ``None``: the class with the highest logit."""
    versus: int | None = None
    """Index of a class to contrast with: its own ``start`` is subtracted at its output."""
    start: Start = Start.ONE


@dataclass(frozen=True, eq=False)
class ExplanationRequest:
    """One explanation of one input, in terms of a network's classes and layers."""

    composite: Composite
    """Rule of each layer."""
    target: Target = field(default_factory=Target)
    layer: str | None = None
    """Name of the layer whose input is attributed; ``None``: the network's input."""
