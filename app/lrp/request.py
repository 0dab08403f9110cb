"""What is asked of an explanation."""

from dataclasses import dataclass, field
from enum import StrEnum

from app.lrp.composites import Composite


class Start(StrEnum):
    """How much relevance is put in at the class that is explained."""

    ONE = "one"
    LOGIT = "logit"
    PROBABILITY = "probability"


@dataclass(frozen=True)
class Question:
    """Which class is explained, against which other, by how much.

    Without a ``target`` it is the class with the highest score. With ``versus`` the same quantity at that
    class is taken off, so that the map says what speaks for the one rather than the other.
    """

    target: int | None = None
    versus: int | None = None
    start: Start = Start.ONE


@dataclass(frozen=True, eq=False)
class Ask:
    """One explanation that is wanted of one input of a batch."""

    row: int
    """Of the input in the batch."""
    composite: Composite
    question: Question = field(default_factory=Question)
    layer: str | None = None
    """At whose input the map lies; none is the pixels."""
