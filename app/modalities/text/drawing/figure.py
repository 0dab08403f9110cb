"""Figures: texts with coloured words, as HTML and as PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.modalities.text.drawing.html import page
from app.modalities.text.drawing.picture import picture
from app.modalities.text.drawing.scored import ScoredText


@dataclass(frozen=True)
class TextFigure(ScoredText):
    """A text with coloured words. It can be pickled, and is drawn where its drawing is asked for."""

    metadata: Mapping[str, Any]
    """JSON that the PNG contains."""

    @cached_property
    def html(self) -> str:
        """A page of its own, without scripts."""
        return page([self])

    @cached_property
    def png(self) -> bytes:
        """A PNG, with `metadata` in its iTXt chunk ``lrp``."""
        return picture([self], self.metadata)


@dataclass(frozen=True)
class TextSheet:
    """Several figures of one text on one scale: a row for each rule, a column for each question."""

    figures: Sequence[TextFigure]
    metadata: Mapping[str, Any]
    """JSON that the PNG contains."""

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
        return page(self.figures)

    @cached_property
    def png(self) -> bytes:
        """As `TextFigure.png`."""
        return picture(self.figures, self.metadata)
