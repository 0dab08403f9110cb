"""Lines: the pieces of a text, wrapped to a width and put in the order in which they are seen.

Words are put in order by the Unicode Bidirectional Algorithm (UAX #9), as far as a text needs it that has no
characters that change the direction. libraqm applies it within a word.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from app.modalities.drawing.fonts import RIGHT_TO_LEFT, Run, runs_of
from app.modalities.text.drawing.pieces import Kind, Piece

BREAK = r"\r\n|[\n\r\x85\u2028\u2029]"
WORDS = re.compile(rf"{BREAK}|[^\S\n\r\x85\u2028\u2029]+|\S+")
WHOLE = re.compile(rf"{BREAK}|[^\n\r\x85\u2028\u2029]+")
BREAKS = re.compile(BREAK)
SEPARATORS = ".,:/+-"
"""Belong to a number where they are between two (UAX #9, W4)."""
TAB = "    "
THIN_SPACE = "\u2009"


@dataclass(frozen=True)
class Box:
    """Part of a piece on one line."""

    piece: Piece
    text: str
    runs: Sequence[Run]
    level: int = 0
    """Of embedding (UAX #9): odd where it is read from right to left."""

    @property
    def width(self) -> float:
        """In pixels."""
        return sum(run.width for run in self.runs)


@dataclass(frozen=True)
class Line:
    """Boxes from left to right, as they are seen."""

    boxes: Sequence[Box]
    size: int
    """Of the letters, in pixels."""
    to_left: bool
    """Whether it begins on the right."""

    @property
    def width(self) -> float:
        """In pixels."""
        return sum(box.width for box in self.boxes)


def lines_of(pieces: Sequence[Piece], size: int, width: float) -> Iterator[Line]:
    """Yield the lines of a text in letters of ``size`` pixels, no wider than ``width`` pixels.

    The text's direction is that of its first letter that has one, as in HTML with ``dir=auto``.
    """
    to_left = _direction("".join(piece.text for piece in pieces if piece.kind is not Kind.SPECIAL)) == "R"
    for paragraph in _paragraphs(pieces):
        boxes = [box for piece, text in paragraph for box in _boxes(piece, text, size, width)]
        levels = _levels([box.text for box in boxes], base=int(to_left))
        leveled = [replace(box, level=level) for box, level in zip(boxes, levels, strict=True)]
        for line in _wrapped(leveled, width):
            yield Line(_as_seen(line), size, to_left)


def _paragraphs(pieces: Iterable[Piece]) -> Iterator[list[tuple[Piece, str]]]:
    """Yield what is between line breaks, in words and the space between them."""
    paragraph: list[tuple[Piece, str]] = []
    for piece in pieces:
        for text in (WHOLE if piece.scored else WORDS).findall(piece.text):
            if BREAKS.fullmatch(text):
                yield paragraph + [(piece, "↵")] * piece.is_line_break
                paragraph = []
            else:
                paragraph += _spaced(piece, text.replace("\t", TAB))
    if paragraph:
        yield paragraph


def _spaced(piece: Piece, text: str) -> list[tuple[Piece, str]]:
    """Return ``text`` with space around it where it is the name of a special token."""
    space = [(Piece(Kind.BETWEEN, THIN_SPACE), THIN_SPACE)] * (piece.kind is Kind.SPECIAL)
    return [*space, (piece, text), *space]


def _boxes(piece: Piece, text: str, size: int, width: float) -> list[Box]:
    """Return ``text`` in boxes that are no wider than ``width``."""
    box = Box(piece, text, runs_of(text, size))
    if len(text) == 1 or box.width <= width:
        return [box]
    middle = len(text) // 2
    return [*_boxes(piece, text[:middle], size, width), *_boxes(piece, text[middle:], size, width)]


def _wrapped(boxes: Sequence[Box], width: float) -> Iterator[list[Box]]:
    """Yield lines, which are broken at white space, or between words where there is none."""
    line: list[Box] = []
    used = 0.0
    for is_space, group in groupby(boxes, key=lambda box: box.text.isspace()):
        together = list(group)
        wide = sum(box.width for box in together)
        parts = [together] if wide <= width else [[box] for box in together]
        for part in parts:
            wide = sum(box.width for box in part)
            if line and used + wide > width:
                yield line
                line, used = [], 0.0
                if is_space:
                    continue
            line, used = line + part, used + wide
    yield line


def _levels(texts: Sequence[str], base: int) -> list[int]:
    """Return the level of each of ``texts`` in a paragraph of level ``base`` (UAX #9, W2 to W7, N1 and I1)."""
    kinds = [_direction(text) for text in texts]
    for place in range(1, len(texts) - 1):
        if texts[place] in SEPARATORS and kinds[place - 1] == kinds[place + 1] == "N":
            kinds[place] = "N"
    strong = edge = "R" if base else "L"
    for place, kind in enumerate(kinds):
        strong = kind if kind in ("L", "R") else strong
        kinds[place] = "L" if kind == "N" and strong == "L" else kind
    for kind, group in groupby(list(enumerate(kinds)), key=lambda one: one[1]):
        if kind == "":
            places = [place for place, _ in group]
            sides = {
                kinds[place].replace("N", "R") if 0 <= place < len(kinds) else edge
                for place in (places[0] - 1, places[-1] + 1)
            }
            kinds[places[0] : places[-1] + 1] = [sides.pop() if len(sides) == 1 else edge] * len(places)
    return [{"L": 2 * base, "R": 1, "N": 2}[kind] for kind in kinds]


def _direction(text: str) -> str:
    """Return L or R for a text with letters, N for one with digits, else an empty string."""
    classes = [unicodedata.bidirectional(letter) for letter in text]
    first = next((one for one in classes if one in ("L", *RIGHT_TO_LEFT)), None)
    if first is not None:
        return "L" if first == "L" else "R"
    return "N" if any(one in ("EN", "AN") for one in classes) else ""


def _as_seen(boxes: Sequence[Box]) -> list[Box]:
    """Return the boxes of a line from left to right (UAX #9, L2)."""
    seen = list(boxes)
    for level in range(max((box.level for box in boxes), default=0), 0, -1):
        seen = [
            box
            for above, group in groupby(seen, key=lambda box: box.level >= level)
            for box in (reversed(list(group)) if above else group)
        ]
    return seen
