"""The view ``overlay``: the map over the picture."""

import numpy as np
from PIL import Image

from app.modalities.drawing.scale import Scale
from app.modalities.image.drawing.backdrop import Backdrop
from app.modalities.image.drawing.grid import Grid
from app.modalities.image.drawing.heatmap import resized
from app.modalities.image.drawing.layout import placed
from app.modalities.image.drawing.style import Style
from app.modalities.image.picture import Rectangle

DIMMED = 0.35
"""Share of the picture's contrast that is kept outside the rectangle that the model saw."""


def draw_overlay(
    grid: Grid, scale: Scale, style: Style, backdrop: Backdrop, rectangle: Rectangle
) -> Image.Image:
    """Draw ``grid`` over the ``rectangle`` of the picture, the more opaque the larger the relevance."""
    size, box = placed(backdrop.size, rectangle, max(backdrop.shown.size))
    values = resized(grid, style, (box.width, box.height))
    # The root keeps weak relevance visible; full relevance hides two thirds of the picture, not all.
    opacity = np.rint(np.sqrt(scale.strength(values)) * 0.85 * 255).astype(np.uint8)
    colours, mask = (
        Image.fromarray(levels).resize((box.width, box.height), Image.Resampling.NEAREST)
        for levels in (scale.colours(values), opacity)
    )
    overlay = Image.blend(Image.new("RGB", size, (200, 200, 200)), backdrop.shown, DIMMED)
    seen = Image.new("L", size)
    seen.paste(255, box.box)
    overlay.paste(backdrop.shown.convert("L").convert("RGB"), mask=seen)
    overlay.paste(colours, (box.left, box.top), mask)
    return overlay
