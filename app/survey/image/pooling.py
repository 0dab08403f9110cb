"""Maps at one scale and place: relevance added up in cells of a grid, so that many maps fit in memory."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.survey.arrays import Floats, Rows

CELLS = 16
"""Cells along the longer side of a picture, or fewer where it has fewer pixels."""


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of cells for a picture of this size, nearly square ones."""
    longest = max(height, width)
    cells = min(CELLS, longest)
    return max(1, round(cells * height / longest)), max(1, round(cells * width / longest))


def pooled(maps: npt.NDArray[Any], grid: tuple[int, int]) -> Floats:
    """Return the relevance in each cell, channels summed: (n, C, H, W) -> (n, rows, columns)."""
    summed: Floats = maps.sum(1, dtype=np.float32)  # (n, H, W)
    for axis, count in enumerate(grid, 1):
        summed = np.add.reduceat(summed, edges(summed.shape[axis], count)[:-1], axis)
    return summed


def edges(length: int, cells: int) -> Rows:
    """Return where the cells of an axis begin and, last, end: (cells + 1,)."""
    return np.linspace(0, length, cells + 1).round().astype(np.intp)


def pixels_of(cells: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return which pixels lie in chosen cells: (rows, columns) -> (height, width)."""
    down, across = (
        np.diff(edges(length, count)) for length, count in zip((height, width), cells.shape, strict=True)
    )
    return cells.repeat(down, 0).repeat(across, 1)


def shares(vectors: Floats) -> Floats:
    """Return the share of the positive relevance in each cell, (n, …); zeros where there is none."""
    positive = vectors.clip(min=0)
    total = positive.sum(axis=tuple(range(1, positive.ndim)), keepdims=True)
    divided: Floats = np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)
    return divided
