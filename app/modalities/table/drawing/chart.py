"""The chart of one map: a bar for each feature, for and against."""

from dataclasses import dataclass
from math import ceil

from PIL import Image, ImageDraw

from app.modalities.drawing.scale import Scale
from app.modalities.drawing.style import ColourStyle
from app.modalities.table.drawing.axis import GAP, Axis, number_room
from app.modalities.table.drawing.bars import Bar, shown
from app.modalities.table.drawing.lettering import FRAME, GREY, INK, MARGIN, shortened, width_of, write

LETTERS = 15
"""Size of the letters in pixels."""
LINE, BAR = 26, 18
"""Height of a row and of its bar in pixels."""
AXIS = 320
"""Width of the axis in pixels."""
LARGEST_NAME, LARGEST_VALUE = 220, 150
"""Widest column of names and of values in pixels; longer ones are cut."""
MARK = " *"
FOOTNOTE = "* outside the range of the training data"


@dataclass(frozen=True)
class Chart:
    """Bars with their captions."""

    prediction: str
    question: str
    bars: list[Bar]

    def draw(self, scale: Scale, style: ColourStyle) -> Image.Image:
        """Return the drawing: captions, a row for each bar, the axis below."""
        bars = shown(self.bars, style.sign)
        values = [bar.value + MARK * bar.is_marked for bar in bars]
        names = ceil(max((width_of(bar.name, LETTERS) for bar in bars), default=0))
        numbers = ceil(max((width_of(value, LETTERS) for value in values), default=0))
        name_room, value_room = min(names, LARGEST_NAME), min(numbers, LARGEST_VALUE)
        room = number_room([bars], LETTERS)
        right_of_values = MARGIN + name_room + MARGIN + value_room
        axis = Axis(scale, right_of_values + MARGIN + room, AXIS)
        width = axis.left + AXIS + room + MARGIN
        top = MARGIN + 2 * LINE
        bottom = top + len(bars) * LINE + (GAP if _has_rest(bars) else 0)
        footnotes = [FOOTNOTE] if any(bar.is_marked for bar in bars) else []
        sheet = Image.new("RGB", (width, bottom + (1 + len(footnotes)) * LINE + MARGIN), "white")
        draw = ImageDraw.Draw(sheet)
        for line, caption in enumerate((self.prediction, self.question)):
            text = shortened(caption, LETTERS, width - 2 * MARGIN)
            write(draw, (MARGIN, MARGIN + line * LINE), text, LETTERS, (INK, GREY)[line], "la")
        axis.draw_grid(draw, top, bottom)
        y = top
        for bar, value in zip(bars, values, strict=True):
            if bar.is_rest and bar is next(one for one in bars if one.is_rest):
                draw.line((MARGIN, y + GAP / 2, width - MARGIN, y + GAP / 2), FRAME)
                y += GAP
            middle = y + LINE / 2
            write(draw, (MARGIN, middle), shortened(bar.name, LETTERS, name_room), LETTERS, INK, "lm")
            cut = shortened(value, LETTERS, value_room)
            write(draw, (right_of_values, middle), cut, LETTERS, GREY, "rm")
            axis.draw_bar(draw, bar, y + (LINE - BAR) // 2, BAR, LETTERS)
            y += LINE
        axis.draw_zero(draw, top, bottom)
        axis.draw_ticks(draw, bottom + GAP, LETTERS)
        for line, text in enumerate(footnotes, 1):
            write(draw, (MARGIN, bottom + line * LINE + GAP), text, LETTERS, GREY, "la")
        return sheet


def _has_rest(bars: list[Bar]) -> bool:
    return any(bar.is_rest for bar in bars)
