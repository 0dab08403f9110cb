"""Charts of several maps together: a row for each rule, a column for each question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from PIL import Image, ImageDraw

from app.modalities.drawing.scale import Scale
from app.modalities.drawing.style import ColourStyle
from app.modalities.table.drawing.axis import Axis, number_room
from app.modalities.table.drawing.bars import Bar, shown
from app.modalities.table.drawing.lettering import FRAME, INK, MARGIN, shortened, width_of, write

LETTERS = 12
"""Size of the letters in pixels."""
LINE, BAR = 17, 12
"""Height of a row and of its bar in pixels."""
AXIS = 130
"""Width of the axis of a panel in pixels."""
LARGEST_NAME = 160
"""Widest column of names in pixels; longer ones are cut."""


@dataclass(frozen=True)
class Panels:
    """Bars by rule, a list for each question."""

    prediction: str
    questions: Sequence[str]
    rows: Mapping[str, Sequence[Sequence[Bar]]]

    def draw(self, scale: Scale, style: ColourStyle) -> Image.Image:
        """Return the drawing: each panel has its own order of bars, and all the same scale."""
        rows = {rule: [shown(bars, style.sign) for bars in row] for rule, row in self.rows.items()}
        charts = [bars for row in rows.values() for bars in row]
        longest = max((width_of(bar.name, LETTERS) for bars in charts for bar in bars), default=0)
        name_room, room = min(ceil(longest), LARGEST_NAME), number_room(charts, LETTERS)
        panel = name_room + 2 * room + AXIS
        rules = ceil(max(width_of(rule, LETTERS) for rule in rows))
        left = MARGIN + rules + MARGIN
        width = left + len(self.questions) * (panel + MARGIN)
        heights = [max(1, *(len(bars) for bars in row)) * LINE for row in rows.values()]
        top = MARGIN + 2 * LINE + MARGIN
        sheet = Image.new("RGB", (width, top + sum(heights) + len(heights) * MARGIN + LINE), "white")
        draw = ImageDraw.Draw(sheet)
        prediction = shortened(self.prediction, LETTERS, width - 2 * MARGIN)
        write(draw, (MARGIN, MARGIN), prediction, LETTERS, INK, "la")
        for column, question in enumerate(self.questions):
            x = left + column * (panel + MARGIN)
            write(draw, (x, MARGIN + LINE), shortened(question, LETTERS, panel), LETTERS, INK, "la")
        y = top
        for (rule, row), height in zip(rows.items(), heights, strict=True):
            write(draw, (MARGIN, y), rule, LETTERS, INK, "la")
            draw.line((MARGIN, y - MARGIN // 2, width - MARGIN, y - MARGIN // 2), FRAME)
            for column, bars in enumerate(row):
                x = left + column * (panel + MARGIN)
                axis = Axis(scale, x + name_room + room, AXIS)
                axis.draw_grid(draw, y, y + height)
                for line, bar in enumerate(bars):
                    middle = y + (line + 0.5) * LINE
                    name = shortened(bar.name, LETTERS, name_room)
                    write(draw, (x, middle), name, LETTERS, INK, "lm")
                    axis.draw_bar(draw, bar, y + line * LINE + (LINE - BAR) // 2, BAR, LETTERS)
                axis.draw_zero(draw, y, y + height)
            y += height + MARGIN
        for column in range(len(self.questions)):
            axis = Axis(scale, left + column * (panel + MARGIN) + name_room + room, AXIS)
            axis.draw_ticks(draw, y - MARGIN // 2, LETTERS)
        return sheet
