"""Heatmaps: relevance in colours, enlarged, and written as PNG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from app.modalities.drawing.colormaps import Colours
from app.modalities.drawing.png import CHUNK, SIGNATURE, as_json, encode
from app.modalities.drawing.scale import Scale
from app.modalities.image.drawing.grid import Grid
from app.modalities.image.drawing.style import Interpolation, Style


@dataclass(frozen=True)
class Drawing:
    """``pixels``, which are repeated to fill ``size`` (width, height)."""

    pixels: Colours
    size: tuple[int, int]

    @classmethod
    def of(cls, image: Image.Image) -> "Drawing":
        """Return the drawing of an image at its own size."""
        return cls(np.asarray(image), image.size)


@dataclass(frozen=True)
class Heatmap:
    """A PNG of relevance: ``vmin`` and ``vmax`` are what its lowest and highest colour stand for."""

    png: bytes
    width: int
    height: int
    colormap: str
    vmin: float
    vmax: float


def to_heatmap(drawing: Drawing, style: Style, scale: Scale, metadata: Mapping[str, Any]) -> Heatmap:
    """Write ``drawing`` as PNG with ``metadata`` as JSON in its iTXt chunk ``lrp``."""
    png = encode(drawing.pixels, drawing.size, {CHUNK: as_json(metadata)})
    return Heatmap(png, *drawing.size, style.colormap, scale.vmin, scale.vmax)


def enlarged(grid: Grid, scale: Scale, style: Style, size: tuple[int, int]) -> Image.Image:
    """Draw ``grid`` in colours at ``size`` (width, height)."""
    return Image.fromarray(coloured(grid, scale, style, size)).resize(size, Image.Resampling.NEAREST)


def coloured(grid: Grid, scale: Scale, style: Style, size: tuple[int, int]) -> Colours:
    """Return the colours of ``grid``, of its own shape or ``size``, to be enlarged by repeating pixels."""
    return scale.colours(resized(grid, style, size))


def resized(grid: Grid, style: Style, size: tuple[int, int]) -> Grid:
    """Return the values of ``grid`` at ``size`` (width, height), or fewer, to be enlarged by repeating them.

    Values are interpolated, never colours. Where they are more than ``size`` has pixels, they are averaged.
    """
    rows, columns = grid.shape
    if style.interpolation is Interpolation.NEAREST:
        size, filter_ = (min(size[0], columns), min(size[1], rows)), Image.Resampling.BOX
    else:
        filter_ = Image.Resampling.BICUBIC
    if size == (columns, rows):
        return grid
    values = Image.fromarray(grid.astype(np.float32)).resize(size, filter_)
    # Cubic curves overshoot: relevance that no pixel has, of the other sign even, must not be drawn.
    return np.asarray(values, np.float64).clip(grid.min(), grid.max())


def is_heatmap(file: BinaryIO) -> bool:
    """Return whether ``file`` is a PNG with the chunk `CHUNK` before its pixels, as `to_heatmap` writes it."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return False
    keyword = CHUNK.encode() + b"\0"
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        start = file.tell()
        if head[4:] == b"iTXt" and file.read(len(keyword)) == keyword:
            return True
        file.seek(start + int.from_bytes(head[:4], "big") + 4)  # data and checksum
    return False
