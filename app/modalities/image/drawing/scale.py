"""The scale of a heatmap: relevance to colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.modalities.image.drawing.colormaps import COLORMAPS, TABLE_ENTRIES, ColormapInfo, Colours, table
from app.modalities.image.drawing.style import Normalize, Sign, Style

Relevance = npt.NDArray[np.floating[Any]]
"""(C, H, W), (H, W) or (n,)."""
Grid = npt.NDArray[np.float64]
"""(H, W) relevance, channels summed."""


@dataclass(frozen=True)
class Scale:
    """Maps relevance to colours; ``vmin`` and ``vmax`` are what the lowest and the highest colour stand for."""

    vmin: float
    vmax: float
    info: ColormapInfo
    absolute: bool

    def colours(self, grid: Grid) -> Colours:
        """Return the colours of relevance: (H, W) -> (H, W, 3)."""
        if self.absolute:
            grid = np.abs(grid)
        span = self.vmax - self.vmin
        position = (grid - self.vmin) / span if span > 0 else np.full_like(grid, 0.5)
        if self.absolute and self.info.kind == "diverging":
            position = 0.5 + position / 2  # zero keeps its neutral colour
        index = np.rint(position.clip(0, 1) * (TABLE_ENTRIES - 1)).astype(np.intp)
        colours: Colours = table(self.info)[index]
        return colours

    def strength(self, grid: Grid) -> Grid:
        """Return the share in 0…1 of the largest value that the scale shows: (H, W) -> (H, W)."""
        largest = max(abs(self.vmin), abs(self.vmax))
        return np.abs(grid).clip(0, largest) / largest if largest > 0 else np.zeros_like(grid)


def scale_of(relevances: Sequence[Relevance], style: Style) -> Scale:
    """Return one scale for all of ``relevances``, as ``style`` chooses it."""
    return scale_of_grids([shown_grid(relevance, style.sign) for relevance in relevances], style)


def scale_of_grids(grids: Sequence[Grid], style: Style) -> Scale:
    """Return one scale for all of ``grids``, as `shown_grid` makes them."""
    lowest, highest = min(float(grid.min()) for grid in grids), max(float(grid.max()) for grid in grids)
    info = COLORMAPS[style.colormap]
    if style.normalize is Normalize.MINMAX:
        return Scale(lowest, highest, info, absolute=False)
    largest = style.vmax or max(highest, -lowest) or 1.0  # maps of zeros only need a scale too
    if style.normalize is Normalize.ABSOLUTE:
        return Scale(0.0, largest, info, absolute=True)
    return Scale(-largest, largest, info, absolute=False)


def shown_grid(relevance: Relevance, sign: Sign) -> Grid:
    """Return the values that are drawn: relevance of this sign with its channels summed.

    The units of a dense layer, (n,), are laid out row by row.
    """
    grid = _grid(relevance.astype(np.float64))
    match sign:
        case Sign.ALL:
            return grid
        case Sign.POSITIVE:
            return grid.clip(min=0)
        case Sign.NEGATIVE:
            return grid.clip(max=0)


def _grid(values: Grid) -> Grid:
    if values.ndim == 3:
        return np.asarray(values.sum(0))  # (C, H, W) -> (H, W)
    if values.ndim == 2:
        return values
    rows = max(1, int(np.sqrt(values.size)))
    columns = -(-values.size // rows)
    return np.pad(values, (0, rows * columns - values.size)).reshape(rows, columns)  # (n,) -> (rows, columns)
