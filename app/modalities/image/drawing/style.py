"""How a heatmap is drawn: view, size, scale and colours, as a client chooses them."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Literal

from app.errors import InvalidParameterError
from app.modalities.image.drawing.colormaps import COLORMAPS

SMALLEST, LARGEST = 32, 1024
"""Range of a size in pixels."""
SMALLEST_VMAX, LARGEST_VMAX = 1e-30, 1e30
"""float32's range with room to divide in; beyond it the arithmetic of colours overflows."""


class Normalize(StrEnum):
    """Which relevance the ends of the colour map stand for."""

    SYMMETRIC = "symmetric"
    MINMAX = "minmax"
    ABSOLUTE = "absolute"


class Sign(StrEnum):
    """Which relevance is shown."""

    ALL = "all"
    POSITIVE = "positive"
    NEGATIVE = "negative"


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
class Style:
    """How relevance is drawn; meaning and defaults as in the HTTP interface."""

    normalize: Normalize = Normalize.SYMMETRIC
    vmax: float | None = None
    sign: Sign = Sign.ALL
    colormap: str = "RdBu_r"
    view: View = View.HEATMAP
    size: Size = AtLeast(256)
    interpolation: Interpolation = Interpolation.NEAREST

    def __post_init__(self) -> None:
        if self.colormap not in COLORMAPS:
            near = get_close_matches(self.colormap, COLORMAPS, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COLORMAPS)}"
            raise InvalidParameterError("colormap", f"no colour map {self.colormap!r}; {advice}")
        if self.vmax is not None and self.normalize is Normalize.MINMAX:
            raise InvalidParameterError("vmax", "fixes a scale around zero, which normalize=minmax has not")
        if self.vmax is not None and not SMALLEST_VMAX <= self.vmax <= LARGEST_VMAX:  # NaN neither
            raise InvalidParameterError("vmax", f"must be from {SMALLEST_VMAX:g} to {LARGEST_VMAX:g}")


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
