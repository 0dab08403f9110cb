"""Figures: a text with the relevance of its words, from which HTML and PNG are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.modalities.drawing.scale import Scale
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
class TextFigure:
    """A text with the relevance of its words. It can be pickled; what it draws is drawn where it is asked for."""

    text: str
    tokens: tuple[ScoredToken, ...]
    """In their order; the sum of their relevance is the map's."""
    scale: Scale
    sign: Sign
    captions: TextCaptions
    metadata: Mapping[str, Any]
    cut: int = 0
    """Tokens at the end of the text that the network does not take."""

    @property
    def vmin(self) -> float:
        """Relevance that the lowest colour stands for."""
        return self.scale.vmin

    @property
    def vmax(self) -> float:
        """Relevance that the highest colour stands for."""
        return self.scale.vmax

    @property
    def colormap(self) -> str:
        """Name of the colour map."""
        return self.scale.info.name

    @cached_property
    def html(self) -> str:
        """A page of its own, without scripts."""
        from app.modalities.text.drawing.html import page

        return page([self])

    @cached_property
    def png(self) -> bytes:
        """A PNG, with `metadata` as JSON in its iTXt chunk ``lrp``."""
        from app.modalities.text.drawing.picture import picture

        return picture([self], self.metadata)


@dataclass(frozen=True)
class TextSheet:
    """Several figures of one text on one scale: a row for each rule, a column for each question."""

    figures: Sequence[TextFigure]
    metadata: Mapping[str, Any]

    @property
    def vmin(self) -> float:
        """Relevance that the lowest colour stands for."""
        return self.figures[0].vmin

    @property
    def vmax(self) -> float:
        """Relevance that the highest colour stands for."""
        return self.figures[0].vmax

    @property
    def colormap(self) -> str:
        """Name of the colour map."""
        return self.figures[0].colormap

    @cached_property
    def html(self) -> str:
        """As `TextFigure.html`."""
        from app.modalities.text.drawing.html import page

        return page(self.figures)

    @cached_property
    def png(self) -> bytes:
        """As `TextFigure.png`."""
        from app.modalities.text.drawing.picture import picture

        return picture(self.figures, self.metadata)
