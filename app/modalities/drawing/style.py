"""How relevance becomes colours, as a client chooses it; of any kind of input."""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from app.errors import InvalidParameterError
from app.modalities.drawing.colormaps import COLORMAPS

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


@dataclass(frozen=True)
class ColourStyle:
    """How relevance becomes colours; meaning and defaults as in the HTTP interface."""

    normalize: Normalize = Normalize.SYMMETRIC
    vmax: float | None = None
    sign: Sign = Sign.ALL
    colormap: str = "RdBu_r"

    def __post_init__(self) -> None:
        if self.colormap not in COLORMAPS:
            near = get_close_matches(self.colormap, COLORMAPS, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COLORMAPS)}"
            raise InvalidParameterError("colormap", f"no colour map {self.colormap!r}; {advice}")
        if self.vmax is not None and self.normalize is Normalize.MINMAX:
            raise InvalidParameterError("vmax", "fixes a scale around zero, which normalize=minmax has not")
        if self.vmax is not None and not SMALLEST_VMAX <= self.vmax <= LARGEST_VMAX:  # NaN neither
            raise InvalidParameterError("vmax", f"must be from {SMALLEST_VMAX:g} to {LARGEST_VMAX:g}")
