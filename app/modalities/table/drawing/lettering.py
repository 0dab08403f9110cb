"""Fonts, colours and margins of drawings, and the text of numbers."""

from functools import cache
from typing import Any

from PIL import ImageFont

INK, GREY, FRAME = (32, 32, 32), (96, 96, 96), (120, 120, 120)
MARGIN = 16
"""Pixels between and around parts of a drawing."""


@cache
def font(size: int) -> Any:
    """Return the font of drawings at this size in pixels."""
    return ImageFont.load_default(size)


def signed(value: float) -> str:
    """Return ``value`` with its sign and three digits."""
    return f"{value:+.3g}" if value else "0"
