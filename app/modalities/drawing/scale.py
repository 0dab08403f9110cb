"""The scale of a drawing: relevance to colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.modalities.drawing.colormaps import COLORMAPS, TABLE_ENTRIES, ColormapInfo, Colours, table
from app.modalities.drawing.style import ColourStyle, Normalize, Sign

Values = npt.NDArray[np.float64]
"""Relevance as it is drawn, of any shape."""


@dataclass(frozen=True)
class Scale:
    """Maps relevance to colours; ``vmin`` and ``vmax`` are what the lowest and the highest colour stand for."""

    vmin: float
    vmax: float
    info: ColormapInfo
    absolute: bool

    def colours(self, values: Values) -> Colours:
        """Return the colours of relevance: (…) -> (…, 3)."""
        colours: Colours = table(self.info)[self.entries(values)]
        return colours

    def entries(self, values: Values) -> npt.NDArray[np.intp]:
        """Return the entry of the colour map's table for each of ``values``, of the same shape."""
        if self.absolute:
            values = np.abs(values)
        span = self.vmax - self.vmin
        position = (values - self.vmin) / span if span > 0 else np.full_like(values, 0.5)
        if self.absolute and self.info.kind == "diverging":
            position = 0.5 + position / 2  # zero keeps its neutral colour
        entries: npt.NDArray[np.intp] = np.rint(position.clip(0, 1) * (TABLE_ENTRIES - 1)).astype(np.intp)
        return entries

    def strength(self, values: Values) -> Values:
        """Return the share in 0…1 of the largest value that the scale shows, of the same shape."""
        largest = max(abs(self.vmin), abs(self.vmax))
        return np.abs(values).clip(0, largest) / largest if largest > 0 else np.zeros_like(values)


class OnScale:
    """Base of figures that are drawn on one scale."""

    scale: Scale

    @property
    def colormap(self) -> str:
        """Name of the colour map."""
        return self.scale.info.name

    @property
    def vmin(self) -> float:
        """Relevance at the lower end of the scale."""
        return self.scale.vmin

    @property
    def vmax(self) -> float:
        """Relevance at the upper end of the scale."""
        return self.scale.vmax


def scale_of_values(drawn: Sequence[Values], style: ColourStyle) -> Scale:
    """Return one scale for all of ``drawn``, values that `of_sign` has chosen, each of at least one."""
    lowest, highest = (
        min(float(values.min()) for values in drawn),
        max(float(values.max()) for values in drawn),
    )
    info = COLORMAPS[style.colormap]
    if style.normalize is Normalize.MINMAX:
        return Scale(lowest, highest, info, absolute=False)
    largest = style.vmax or max(highest, -lowest) or 1.0  # maps of zeros only need a scale too
    if style.normalize is Normalize.ABSOLUTE:
        return Scale(0.0, largest, info, absolute=True)
    return Scale(-largest, largest, info, absolute=False)


def of_sign(values: Values, sign: Sign) -> Values:
    """Return ``values`` with zeros in place of those that ``sign`` does not show."""
    match sign:
        case Sign.ALL:
            return values
        case Sign.POSITIVE:
            return values.clip(min=0)
        case Sign.NEGATIVE:
            return values.clip(max=0)


def labelled_ticks(scale: Scale) -> list[tuple[float, str]]:
    """Return the values that are marked on the bar of ``scale``, each with its label."""
    return [(value, f"{value:+.2g}" if value else "0") for value in _ticks(scale)]


def _ticks(scale: Scale) -> list[float]:
    """Return the ends, and zero where it is not close to one of them."""
    span = scale.vmax - scale.vmin
    clear = scale.vmin + 0.1 * span < 0 < scale.vmax - 0.1 * span
    return sorted({scale.vmin, scale.vmax, *((0.0,) if clear else ())})
