"""The figure of a table's explanation: its scores, and the PNG, drawn when it is asked for."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from PIL import Image

from app.modalities.drawing.png import CHUNK, as_json, encode_drawing
from app.modalities.drawing.scale import OnScale, Scale
from app.modalities.drawing.style import ColourStyle
from app.modalities.table.scores import ScoredFeature

SIZE_OFFSET = 16
"""Bytes of a PNG before its width and height."""


class Content(Protocol):
    """What a figure shows."""

    def draw(self, scale: Scale, style: ColourStyle) -> Image.Image:
        """Return the drawing."""


@dataclass(frozen=True, eq=False)
class TableFigure(OnScale):
    """Relevance of features, and its drawing."""

    features: tuple[ScoredFeature, ...]
    """In the order of the spec; empty for a hidden layer and for several maps together."""
    content: Content
    scale: Scale
    style: ColourStyle
    metadata: Mapping[str, Any]
    """JSON in the PNG's iTXt chunk ``lrp``."""

    @cached_property
    def png(self) -> bytes:
        """The drawing as PNG."""
        image = self.content.draw(self.scale, self.style)
        return encode_drawing(np.asarray(image), {CHUNK: as_json(self.metadata)})

    @property
    def width(self) -> int:
        """Pixels of the drawing from left to right."""
        return self._size[0]

    @property
    def height(self) -> int:
        """Pixels of the drawing from top to bottom."""
        return self._size[1]

    @property
    def _size(self) -> tuple[int, int]:
        width, height = struct.unpack_from(">2I", self.png, SIZE_OFFSET)
        return width, height
