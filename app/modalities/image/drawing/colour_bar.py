"""The colour bar beside a map, with its ticks."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from app.modalities.drawing.scale import Scale

BAR = 16
"""Smallest width in pixels."""
INK, FRAME = (32, 32, 32), (120, 120, 120)
TICK_ROOM = 8
"""Pixels between a bar and the numbers beside it."""


def draw_bar(
    sheet: Image.Image,
    scale: Scale,
    place: tuple[int, int, int, int],
    ticks: list[tuple[float, str]],
    font: Any,
) -> None:
    """Draw the colour bar of ``scale`` on ``sheet`` at ``place``: (left, top, width, height)."""
    draw = ImageDraw.Draw(sheet)
    x, y, width, height = place
    values = np.linspace(scale.vmax, scale.vmin, height)[:, None]  # (height, 1), the highest on top
    sheet.paste(Image.fromarray(scale.colours(values)).resize((width, height)), (x, y))
    draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FRAME)
    span = scale.vmax - scale.vmin
    for value, text in ticks:
        share = (scale.vmax - value) / span if span > 0 else 0.5
        tick = y + round(share * (height - 1))
        draw.line((x + width, tick, x + width + 3, tick), FRAME)
        inside = min(max(tick, y + int(font.size / 2)), y + height - int(font.size / 2))
        draw.text((x + width + TICK_ROOM - 1, inside), text, INK, font, anchor="lm")
