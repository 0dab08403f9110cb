"""The horizontal axis of bars, and bars on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import ImageDraw

from app.modalities.drawing.scale import Scale, labelled_ticks
from app.modalities.table.drawing.bars import Bar
from app.modalities.table.drawing.lettering import FRAME, GREY, INK, signed, width_of, write

GAP = 4
"""Pixels between a bar and its number."""
GRID = (225, 225, 225)


@dataclass(frozen=True)
class Axis:
    """Relevance from ``left`` to ``left + width`` pixels, on the scale of the colours."""

    scale: Scale
    left: int
    width: int

    def position(self, relevance: float) -> int:
        """Return the pixel of this relevance; of what is beyond the scale, its end."""
        value = abs(relevance) if self.scale.absolute else relevance
        span = self.scale.vmax - self.scale.vmin
        share = (value - self.scale.vmin) / span if span > 0 else 0.0
        return self.left + round(min(max(share, 0.0), 1.0) * (self.width - 1))

    def draw_bar(self, draw: ImageDraw.ImageDraw, bar: Bar, top: int, height: int, letters: int) -> None:
        """Draw ``bar`` from zero, with its number beyond its end."""
        zero, end = self.position(0.0), self.position(bar.relevance)
        red, green, blue = self.scale.colours(np.array([bar.relevance]))[0].tolist()
        draw.rectangle((min(zero, end), top, max(zero, end), top + height), (red, green, blue), FRAME)
        is_left = bar.relevance < 0 and not self.scale.absolute
        x, anchor = (end - GAP, "rm") if is_left else (end + GAP + 1, "lm")
        write(draw, (x, top + height / 2), signed(bar.relevance), letters, INK, anchor)

    def draw_grid(self, draw: ImageDraw.ImageDraw, top: int, bottom: int) -> None:
        """Draw a line at each tick, behind the bars."""
        for value, _ in labelled_ticks(self.scale):
            draw.line((self.position(value), top, self.position(value), bottom), GRID)

    def draw_zero(self, draw: ImageDraw.ImageDraw, top: int, bottom: int) -> None:
        """Draw the line of zero, in front of the bars."""
        draw.line((self.position(0.0), top, self.position(0.0), bottom), INK)

    def draw_ticks(self, draw: ImageDraw.ImageDraw, top: int, letters: int) -> None:
        """Draw the numbers of the ticks, below the bars."""
        for value, text in labelled_ticks(self.scale):
            write(draw, (self.position(value), top), text, letters, GREY, "mt")


def number_room(charts: Sequence[Sequence[Bar]], letters: int) -> int:
    """Return the pixels that the widest number of these bars takes beside its bar."""
    widths = [width_of(signed(bar.relevance), letters) for bars in charts for bar in bars]
    return ceil(max(widths, default=0)) + 2 * GAP
