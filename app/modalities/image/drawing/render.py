"""The heatmap of one explanation, in each of its views."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from app.errors import InternalError, InvalidParameterError
from app.modalities.drawing.scale import Scale, scale_of_values
from app.modalities.image.drawing.backdrop import Backdrop
from app.modalities.image.drawing.captions import DEFAULT_CAPTIONS, Captions
from app.modalities.image.drawing.grid import Grid, Relevance, shown_grid
from app.modalities.image.drawing.heatmap import Drawing, Heatmap, coloured, enlarged, to_heatmap
from app.modalities.image.drawing.layout import fitted, placed
from app.modalities.image.drawing.overlay import draw_overlay
from app.modalities.image.drawing.side_by_side import draw_side_by_side
from app.modalities.image.drawing.style import Style, View
from app.modalities.image.picture import Rectangle


def render(
    relevance: Relevance,
    style: Style,
    backdrop: Backdrop,
    rectangle: Rectangle,
    metadata: Mapping[str, Any],
    captions: Captions = DEFAULT_CAPTIONS,
    scale: Scale | None = None,
) -> Heatmap:
    """Draw ``relevance``, (C, H, W), (H, W) or (n,), of the ``rectangle`` of an upload.

    Channels are summed; the units of a dense layer are laid out row by row. ``backdrop`` is what the same
    ``style`` shows of the upload. ``scale`` is the map's own if none is given. ``metadata`` is written into the
    PNG as the iTXt chunk ``lrp``; the upload's own metadata is not. Raises `InternalError` for relevance that is
    not finite.
    """
    if not np.isfinite(relevance).all():
        raise InternalError("the relevance is not finite")
    grid = shown_grid(relevance, style.sign)
    scale = scale or scale_of_values([grid], style)
    has_place = relevance.ndim > 1
    if not has_place and (style.view is View.OVERLAY or style.size == "input"):
        raise InvalidParameterError(
            "view", "the units of a dense layer have no place in the picture; use view=heatmap and a size"
        )
    match style.view:
        case View.HEATMAP:
            drawing = _draw_map(grid, scale, style, backdrop, rectangle)
        case View.OVERLAY:
            drawing = Drawing.of(draw_overlay(grid, scale, style, backdrop, rectangle))
        case View.SIDE_BY_SIDE:
            drawing = Drawing.of(draw_side_by_side(grid, scale, style, backdrop, rectangle, captions))
    return to_heatmap(drawing, style, scale, metadata)


def _draw_map(grid: Grid, scale: Scale, style: Style, backdrop: Backdrop, rectangle: Rectangle) -> Drawing:
    shape = grid.shape[1], grid.shape[0]
    match style.size:
        case "model":
            return Drawing(scale.colours(grid), shape)
        case "input":
            size, box = placed(backdrop.size, rectangle, backdrop.side)
            neutral = Image.fromarray(scale.colours(np.zeros((1, 1)))).resize(size)
            neutral.paste(enlarged(grid, scale, style, (box.width, box.height)), (box.left, box.top))
            return Drawing.of(neutral)
        case _:
            size = fitted(shape, backdrop.side)
            return Drawing(coloured(grid, scale, style, size), size)
