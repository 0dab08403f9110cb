"""Sizes and places of what is drawn, in pixels."""

from app.modalities.image.drawing.style import LARGEST, AtLeast, Size, Style
from app.modalities.image.picture import Box, Rectangle

MARGIN = 16
"""Pixels between and around panels and tiles."""
MAX_INPUT_SIDE = 2048
"""Longest side of a map that is drawn as large as the upload."""
SMALLEST_PANEL = 128
"""Below it, the numbers of a colour bar do not fit beside it."""
LARGEST_TILE = 256
"""Longest side of a map on a contact sheet, unless the network's input is larger."""


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale ``size`` so that its longest side is ``longest``; no side gets shorter than one pixel."""
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def placed(upload: tuple[int, int], rectangle: Rectangle, side: int) -> tuple[tuple[int, int], Box]:
    """Return the size of an ``upload`` scaled to a longest side of ``side``, and ``rectangle`` scaled with it."""
    size = fitted(upload, side)
    return size, rectangle.scaled(size[0] / upload[0], size[1] / upload[1])


def input_side(upload: tuple[int, int]) -> int:
    """Return the longest side of a map with ``size=input``."""
    return min(MAX_INPUT_SIDE, max(upload))


def longest_side(style: Style, upload: tuple[int, int], model_side: int) -> int:
    """Return the longest side of a map over an upload of this (width, height).

    ``model_side`` is the longest side of the network's input, here and below.
    """
    return _side(style.size, model=model_side, input_=input_side(upload))


def panel_side(style: Style, model_side: int) -> int:
    """Return the longest side of each panel of a side-by-side view."""
    return max(SMALLEST_PANEL, _side(style.size, model=model_side, input_=LARGEST))


def tile_side(style: Style, model_side: int) -> int:
    """Return the longest side of a map on a contact sheet."""
    largest = max(LARGEST_TILE, model_side)
    return min(largest, _side(style.size, model=model_side, input_=largest))


def _side(size: Size, *, model: int, input_: int) -> int:
    match size:
        case "model":
            return model
        case "input":
            return input_
        case AtLeast():
            return size.multiple_of(model)
        case _:
            return size
