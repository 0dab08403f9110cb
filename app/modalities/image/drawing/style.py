"""How a heatmap is drawn: view, size, scale and colours, as a client chooses them."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from app.errors import InvalidParameterError
from app.modalities.drawing.style import ColourStyle

SMALLEST, LARGEST = 32, 1024
"""Range of a size in pixels."""


class View(StrEnum):
    """What is drawn: the map, the map over the picture, or picture, map and colour bar."""

    HEATMAP = "heatmap"
    OVERLAY = "overlay"
    SIDE_BY_SIDE = "side_by_side"


class Interpolation(StrEnum):
    """How the map is enlarged. A map that is drawn smaller than it is, is averaged."""

    NEAREST = "nearest"
    BICUBIC = "bicubic"


@dataclass(frozen=True)
class AtLeast:
    """The smallest multiple of the longest side of the network's input that is not below ``side`` pixels.

    All pixels of a map of the input are then of the same size.
    """

    side: int

    def multiple_of(self, model_side: int) -> int:
        """Return the side in pixels for a network with this longest side."""
        return -(-self.side // model_side) * model_side


Size = Literal["model", "input"] | int | AtLeast


@dataclass(frozen=True)
class Style(ColourStyle):
    """How relevance is drawn; meaning and defaults as in the HTTP interface."""

    view: View = View.HEATMAP
    size: Size = AtLeast(256)
    interpolation: Interpolation = Interpolation.NEAREST


def parse_size(text: str) -> Size:
    """Return ``model``, ``input`` or a side in pixels; raises `InvalidParameterError`."""
    if text == "model" or text == "input":
        return text  # type: ignore[return-value] # mypy does not narrow a str to literals
    if re.fullmatch(r"[0-9]{1,4}", text) and SMALLEST <= int(text) <= LARGEST:
        return int(text)
    raise InvalidParameterError("size", f"must be model, input or a side from {SMALLEST} to {LARGEST} pixels")


def parse_view(text: str) -> View:
    """Return a view by name; raises `InvalidParameterError`."""
    try:
        return View(text)
    except ValueError:
        raise InvalidParameterError("view", f"no view {text!r}; there are {', '.join(View)}") from None
