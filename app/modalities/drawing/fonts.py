"""Fonts for what is written in pictures: those of the machine, and for each letter the first that has it."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from typing import Any

from PIL import ImageFont, features

FILES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "Arial.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "NotoEmoji-Regular.ttf",
    "Symbola.ttf",
)
"""Looked for in the machine's folders of fonts, the preferred first; Pillow's own font is the last resort."""
NO_CHARACTER = "\U0010ffff"
"""A code point that no font has a glyph for."""
SUBSTITUTE = "?"
KEPT = 20_000
"""Widths and letters that are remembered."""
WITHOUT_GLYPHS = ("Mn", "Me", "Mc", "Cf", "Zs", "Zl", "Zp", "Cc")
"""Categories of what is drawn together with its neighbours, or not at all."""
RIGHT_TO_LEFT = ("R", "AL")
"""Directions of letters (Unicode, Bidirectional Class)."""


@dataclass(frozen=True)
class Run:
    """Letters that one font draws."""

    text: str
    font: Any
    missing: str = ""
    """Letters that no font has, in place of which ``text`` has `SUBSTITUTE`."""

    @property
    def width(self) -> float:
        """In pixels."""
        return _width(self.text, self.font)


def runs_of(text: str, size: int) -> list[Run]:
    """Return ``text`` in runs of one font each, in the order of reading; ``size`` is in pixels."""
    fonts = fonts_of(size)
    chosen: list[int | None] = []
    for letter in text:
        chosen.append(_font_for(letter, chosen[-1] if chosen else 0, size))
    runs = []
    for font, letters in groupby(zip(text, chosen, strict=True), key=lambda one: one[1]):
        part = "".join(letter for letter, _ in letters)
        runs.append(Run(SUBSTITUTE * len(part), fonts[0], part) if font is None else Run(part, fonts[font]))
    return runs


@cache
def fonts_of(size: int) -> Sequence[Any]:
    """Return the fonts of this machine at ``size`` pixels, at least one."""
    return [*filter(None, (_loaded(name, size) for name in FILES)), ImageFont.load_default(size)]


def _loaded(name: str, size: int) -> Any:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _font_for(letter: str, last: int | None, size: int) -> int | None:
    """Return which font draws ``letter``: the ``last`` one where it can; ``None`` if none has it."""
    if last is not None and (letter.isspace() or unicodedata.category(letter) in WITHOUT_GLYPHS):
        return last
    places = range(len(fonts_of(size)))
    return next((place for place in (last or 0, *places) if _has(letter, place, size)), None)


@lru_cache(KEPT)
def _has(letter: str, place: int, size: int) -> bool:
    """Whether the font has a glyph for ``letter`` that Pillow can place."""
    if unicodedata.bidirectional(letter) in RIGHT_TO_LEFT and not features.check("raqm"):
        return False  # without libraqm, letters would be drawn from left to right
    font = fonts_of(size)[place]
    return _glyph(letter, font) != _glyph(NO_CHARACTER, font)


@lru_cache(KEPT)
def _glyph(letter: str, font: Any) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@lru_cache(KEPT)
def _width(text: str, font: Any) -> float:
    width: float = font.getlength(text)
    return width
