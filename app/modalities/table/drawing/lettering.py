"""Letters, colours and margins of drawings."""

import unicodedata
from functools import lru_cache

from PIL import ImageDraw

from app.modalities.drawing.fonts import Run, runs_of

INK, GREY, FRAME = (32, 32, 32), (96, 96, 96), (120, 120, 120)
MARGIN = 16
"""Pixels between and around parts of a drawing."""
KEPT = 2000
"""Texts that are remembered."""
ANCHORS = {"l": 0.0, "m": 0.5, "r": 1.0}
"""Share of a text's width that lies left of its place, by the first letter of Pillow's anchors."""

Colour = tuple[int, int, int]


def width_of(text: str, size: int) -> float:
    """Return the width of ``text`` in pixels, in letters of ``size`` pixels."""
    return sum(run.width for run in _runs(text, size))


def shortened(text: str, size: int, width: float) -> str:
    """Return ``text``, cut and ended with an ellipsis where it is wider than ``width`` pixels."""
    if width_of(text, size) <= width:
        return text
    while text and width_of(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, colour: Colour, anchor: str
) -> None:
    """Write ``text`` in letters of ``size`` pixels at ``place``, which ``anchor`` is of it, as in Pillow."""
    x, y = place
    x -= ANCHORS[anchor[0]] * width_of(text, size)
    for run in _runs(text, size):
        draw.text((x, y), run.text, colour, run.font, anchor="l" + anchor[1])
        x += run.width


def signed(value: float) -> str:
    """Return ``value`` with its sign and three digits."""
    return f"{value:+.3g}" if value else "0"


@lru_cache(KEPT)
def _runs(text: str, size: int) -> list[Run]:
    """Return ``text`` in runs of one font each; if no font has all of it, plainly: ``m3`` for ``m³``."""
    runs = runs_of(text, size)
    if not any(run.missing for run in runs):
        return runs
    plain = unicodedata.normalize("NFKD", text)
    return runs_of("".join(letter for letter in plain if not unicodedata.combining(letter)), size)
