"""Figures as a picture, for documents and for clients that show no HTML."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from app.modalities.drawing.png import CHUNK, as_json, encode_drawing
from app.modalities.drawing.scale import Scale, labelled_ticks
from app.modalities.text.drawing.lines import Box, Line, lines_of
from app.modalities.text.drawing.pieces import Colour, Kind, Piece, pieces_of
from app.modalities.text.drawing.scored import ScoredText

SIZE, SMALL = 20, 15
"""Letters of the text and of captions, in pixels."""
MARGIN = 24
WIDTH, NARROW = 860, 460
"""Of a text alone, and of one beside others."""
MAX_LINES = 160
"""Of all rows together: the longest text that is read, in one map."""
BAR = (256, 14)
INK: Colour = (27, 27, 27)
FAINT: Colour = (89, 89, 89)
MAX_NAMED = 8
"""Letters that a note names."""


@dataclass(frozen=True)
class Placed:
    """A line at its place: ``left`` and ``top`` are of its upper left corner."""

    line: Line
    left: int
    top: int
    width: int

    @property
    def bottom(self) -> int:
        """Where the next line can begin."""
        return self.top + _leading(self.line.size)


def picture(figures: Sequence[ScoredText], metadata: Mapping[str, Any]) -> bytes:
    """Return a PNG of all of ``figures``, of one text and on one scale: a row for each rule.

    ``metadata`` are JSON in its iTXt chunk ``lrp``.
    """
    rows = [list(row) for _, row in groupby(figures, key=lambda figure: figure.captions.rule)]
    columns = max(map(len, rows))
    width = WIDTH if columns == 1 else NARROW
    whole = columns * (width + MARGIN) - MARGIN
    placed = _stacked(_plain(figures[0].captions.prediction, SIZE, whole), MARGIN, MARGIN, whole)
    legend = placed[-1].bottom
    top, room, is_whole = legend + BAR[1] + 3 * SMALL, MAX_LINES // len(rows), True
    for row in rows:
        blocks = []
        for column, figure in enumerate(row):
            lines = list(islice(lines_of(pieces_of(figure), SIZE, width), room + 1))
            is_whole = is_whole and len(lines) <= room
            shown = [*_heading(figure, width), *lines[:room]]
            blocks += _stacked(shown, MARGIN + column * (width + MARGIN), top, width)
        top = max(one.bottom for one in blocks) + MARGIN // 2
        placed += blocks
    notes = _notes(figures[0], [box for one in placed for box in one.line.boxes], is_whole=is_whole)
    placed += _stacked([line for note in notes for line in _plain(note, SMALL, whole)], MARGIN, top, whole)
    sheet = Image.new("RGB", (whole + 2 * MARGIN, max(one.bottom for one in placed) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    _draw_legend(sheet, draw, figures[0].scale, legend)
    for one in placed:
        _draw_line(draw, one)
    return encode_drawing(np.asarray(sheet), {CHUNK: as_json(metadata)})


def _heading(figure: ScoredText, width: int) -> list[Line]:
    captions = figure.captions
    return [*_plain(captions.question, SIZE, width), *_plain(f"Rule {captions.rule}", SMALL, width)]


def _plain(text: str, size: int, width: int) -> list[Line]:
    return list(lines_of([Piece(Kind.BETWEEN, text)], size, width))


def _stacked(lines: Iterable[Line], left: int, top: int, width: int) -> list[Placed]:
    placed = []
    for line in lines:
        placed.append(Placed(line, left, top, width))
        top = placed[-1].bottom
    return placed


def _leading(size: int) -> int:
    return round(1.7 * size)


def _notes(figure: ScoredText, boxes: Sequence[Box], *, is_whole: bool) -> list[str]:
    """Return what a reader must know of what is drawn."""
    notes = []
    if not all(token.known for token in figure.tokens):
        notes.append("Underlined: not in the model’s vocabulary.")
    if figure.cut:
        notes.append(f"Grey: {figure.cut} tokens that the model does not take.")
    missing = list(dict.fromkeys(letter for box in boxes for run in box.runs for letter in run.missing))
    if missing:
        named = ", ".join(f"U+{ord(letter):04X}" for letter in missing[:MAX_NAMED])
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        lacking = "no font" if features.check("raqm") else "no font, or no libraqm for right-to-left text,"
        notes.append(f"Drawn as ?, as this machine has {lacking} for: {named}{more}.")
    if not is_whole:
        notes.append("The rest of the text is not drawn.")
    return notes


def _draw_legend(sheet: Image.Image, draw: ImageDraw.ImageDraw, scale: Scale, top: int) -> None:
    width, height = BAR
    values = np.linspace(scale.vmin, scale.vmax, width)[None]  # (1, width)
    sheet.paste(Image.fromarray(scale.colours(values)).resize(BAR), (MARGIN, top))
    draw.rectangle((MARGIN - 1, top - 1, MARGIN + width, top + height), outline=FAINT)
    font = ImageFont.load_default(SMALL)
    span = scale.vmax - scale.vmin
    ticks = labelled_ticks(scale)
    for place, (value, text) in enumerate(ticks):
        x = MARGIN + round((value - scale.vmin) / span * (width - 1)) if span > 0 else MARGIN + width // 2
        draw.line((x, top + height, x, top + height + 3), FAINT)
        anchor = "la" if place == 0 else "ra" if place == len(ticks) - 1 else "ma"
        draw.text((x, top + height + 5), text, INK, font, anchor=anchor)
    draw.text((MARGIN + width + MARGIN // 2, top + height), "relevance", FAINT, font, anchor="ls")


def _draw_line(draw: ImageDraw.ImageDraw, placed: Placed) -> None:
    line = placed.line
    x = placed.left + (placed.width - line.width if line.to_left else 0.0)
    for box in line.boxes:
        _draw_box(draw, box, x, placed)
        x += box.width


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, x: float, placed: Placed) -> None:
    piece, size = box.piece, placed.line.size
    baseline = placed.top + round(1.2 * size)
    right = x + box.width
    if piece.scored:
        outline = FAINT if piece.kind is Kind.SPECIAL else None
        area = (round(x), placed.top + 3, round(right) - 1, placed.bottom - 3)
        draw.rectangle(area, piece.background, outline)
    ink = piece.ink if piece.scored else FAINT if piece.kind is Kind.CUT else INK
    to_left = box.level % 2 == 1
    direction = ("rtl" if to_left else "ltr") if features.check("raqm") else None
    at = x
    for run in reversed(box.runs) if to_left else box.runs:
        draw.text((at, baseline), run.text, ink, run.font, anchor="ls", direction=direction)
        at += run.width
    if not piece.known:
        draw.line((x, baseline + 4, right, baseline + 4), ink)
