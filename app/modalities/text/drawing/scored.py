"""Texts with the relevance of their words, and the scale on which it is drawn."""

from dataclasses import dataclass

from app.modalities.drawing.scale import OnScale, Scale
from app.modalities.drawing.style import Sign


@dataclass(frozen=True)
class ScoredToken:
    """A word, or a token, and its relevance."""

    text: str
    start: int
    """First character in the text as sent."""
    end: int
    """The character after the last one; of a special token, as ``start``."""
    known: bool
    """Whether the network's vocabulary has it."""
    relevance: float

    @property
    def special(self) -> bool:
        """Whether it has no characters in the text."""
        return self.start == self.end


@dataclass(frozen=True)
class TextCaptions:
    """What is written above a text."""

    prediction: str
    question: str
    rule: str


@dataclass(frozen=True)
class ScoredText(OnScale):
    """A text with the relevance of its words."""

    text: str
    tokens: tuple[ScoredToken, ...]
    """In their order; the sum of their relevance is the map's."""
    scale: Scale
    sign: Sign
    captions: TextCaptions
    cut: int
    """Tokens at the end of the text that the network does not take."""
