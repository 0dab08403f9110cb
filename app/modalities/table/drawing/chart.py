"""The chart of one map: a bar for each feature, for and against."""

from dataclasses import dataclass

from PIL import Image, ImageDraw

from app.modalities.drawing.scale import Scale
from app.modalities.drawing.style import ColourStyle
from app.modalities.image.drawing.captions import shortened
from app.modalities.table.drawing.axis import GAP, Axis, number_room
from app.modalities.table.drawing.bars import Bar, shown
from app.modalities.table.drawing.lettering import FRAME, GREY, INK, MARGIN, font

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
        letters, bars = font(LETTERS), shown(self.bars, style.sign)
        values = [bar.value + MARK * bar.is_marked for bar in bars]
        names = int(max((letters.getlength(bar.name) for bar in bars), default=0))
        numbers = int(max(map(letters.getlength, values), default=0))
        name_room, value_room = min(names, LARGEST_NAME), min(numbers, LARGEST_VALUE)
        room = number_room([bars], letters)
        right_of_values = MARGIN + name_room + MARGIN + value_room
        axis = Axis(scale, right_of_values + MARGIN + room, AXIS)
        width = axis.left + AXIS + room + MARGIN
        top = MARGIN + 2 * LINE
        bottom = top + len(bars) * LINE + (GAP if _has_rest(bars) else 0)
        footnotes = [FOOTNOTE] if any(bar.is_marked for bar in bars) else []
        sheet = Image.new("RGB", (width, bottom + (1 + len(footnotes)) * LINE + MARGIN), "white")
        draw = ImageDraw.Draw(sheet)
        for line, caption in enumerate((self.prediction, self.question)):
            text = shortened(caption, letters, width - 2 * MARGIN)
            draw.text((MARGIN, MARGIN + line * LINE), text, (INK, GREY)[line], letters)
        axis.draw_grid(draw, top, bottom)
        y = top
        for bar, value in zip(bars, values, strict=True):
            if bar.is_rest and bar is next(one for one in bars if one.is_rest):
                draw.line((MARGIN, y + GAP / 2, width - MARGIN, y + GAP / 2), FRAME)
                y += GAP
            middle = y + LINE / 2
            draw.text((MARGIN, middle), shortened(bar.name, letters, name_room), INK, letters, anchor="lm")
            cut = shortened(value, letters, value_room)
            draw.text((right_of_values, middle), cut, GREY, letters, anchor="rm")
            axis.draw_bar(draw, bar, y + (LINE - BAR) // 2, BAR, letters)
            y += LINE
        axis.draw_zero(draw, top, bottom)
        axis.draw_ticks(draw, bottom + GAP, letters)
        for line, text in enumerate(footnotes, 1):
            draw.text((MARGIN, bottom + line * LINE + GAP), text, GREY, letters)
        return sheet


def _has_rest(bars: list[Bar]) -> bool:
    return any(bar.is_rest for bar in bars)
