"""The view ``side_by_side``: picture, map and colour bar."""

import math
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from app.modalities.drawing.scale import Scale, labelled_ticks
from app.modalities.image.drawing.backdrop import Backdrop
from app.modalities.image.drawing.captions import Captions, shortened
from app.modalities.image.drawing.colour_bar import BAR, FRAME, INK, TICK_ROOM, draw_bar
from app.modalities.image.drawing.grid import Grid
from app.modalities.image.drawing.heatmap import enlarged
from app.modalities.image.drawing.layout import MARGIN, fitted, placed
from app.modalities.image.drawing.style import Style
from app.modalities.image.picture import Rectangle


def draw_side_by_side(
    grid: Grid,
    scale: Scale,
    style: Style,
    backdrop: Backdrop,
    rectangle: Rectangle,
    captions: Captions,
) -> Image.Image:
    """Draw the picture with the ``rectangle`` that the model saw outlined, ``grid``, and its colour bar."""
    side = max(backdrop.shown.size)
    left = _outlined(backdrop, rectangle, side)
    middle = enlarged(grid, scale, style, fitted((grid.shape[1], grid.shape[0]), side))
    height = max(11, side // 20)
    font = ImageFont.load_default(height)
    title = int(height * 1.9)
    ticks = labelled_ticks(scale)
    labels = max(int(font.getlength(text)) for _, text in ticks)
    columns = [
        (image, caption, _column(image, caption, font, side))
        for image, caption in ((left, captions.picture), (middle, captions.relevance))
    ]
    bar_left = MARGIN + sum(column + MARGIN for _, _, column in columns)
    bar = max(BAR, side // 20)
    width = bar_left + bar + TICK_ROOM + labels + MARGIN
    sheet = Image.new("RGB", (width, title + side + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    x = MARGIN
    for image, caption, column in columns:
        y = title + (side - image.height) // 2
        sheet.paste(image, (x, y))
        draw.rectangle((x - 1, y - 1, x + image.width, y + image.height), outline=FRAME)
        draw.text((x, y - height // 2), shortened(caption, font, column), INK, font, anchor="ls")
        x += column + MARGIN
    draw_bar(sheet, scale, (bar_left, title, bar, side), ticks, font)
    return sheet


def _column(image: Image.Image, caption: str, font: Any, side: int) -> int:
    """Return the width of a panel with its caption, which is shortened only where it is wider than ``side``."""
    wanted: float = font.getlength(caption)
    return max(image.width, min(side, math.ceil(wanted)))


def _outlined(backdrop: Backdrop, rectangle: Rectangle, side: int) -> Image.Image:
    """Draw the picture with a frame around what the model saw, where that is not the whole picture."""
    size, box = placed(backdrop.size, rectangle, side)
    image = backdrop.shown.copy()
    if box.width < size[0] or box.height < size[1]:
        draw = ImageDraw.Draw(image)
        left, top, right, bottom = box.box
        draw.rectangle((left, top, right - 1, bottom - 1), outline="black", width=3)
        if min(box.width, box.height) > 2:  # the rectangle of a picture one pixel high has no inside
            draw.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="white", width=1)
    return image
