"""Grids: relevance of an image, or of a layer, as it is drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.modalities.drawing.scale import Scale, of_sign, scale_of_values
from app.modalities.drawing.style import ColourStyle, Sign

Relevance = npt.NDArray[np.floating[Any]]
"""(C, H, W), (H, W) or (n,)."""
Grid = npt.NDArray[np.float64]
"""(H, W) relevance, channels summed."""


def scale_of(relevances: Sequence[Relevance], style: ColourStyle) -> Scale:
    """Return one scale for all of ``relevances``, as ``style`` chooses it."""
    return scale_of_values([shown_grid(relevance, style.sign) for relevance in relevances], style)


def shown_grid(relevance: Relevance, sign: Sign) -> Grid:
    """Return the values that are drawn: relevance of this sign with its channels summed.

    The units of a dense layer, (n,), are laid out row by row.
    """
    return of_sign(_grid(relevance.astype(np.float64)), sign)


def _grid(values: Grid) -> Grid:
    if values.ndim == 3:
        return np.asarray(values.sum(0))  # (C, H, W) -> (H, W)
    if values.ndim == 2:
        return values
    rows = max(1, int(np.sqrt(values.size)))
    columns = -(-values.size // rows)
    return np.pad(values, (0, rows * columns - values.size)).reshape(rows, columns)  # (n,) -> (rows, columns)
