"""The contact sheet: several maps on one scale, a row for each rule and a column for each class."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from app.modalities.drawing.scale import Scale, labelled_ticks
from app.modalities.image.drawing.captions import shortened
from app.modalities.image.drawing.colour_bar import BAR, INK, TICK_ROOM, draw_bar
from app.modalities.image.drawing.grid import Relevance, shown_grid
from app.modalities.image.drawing.heatmap import Drawing, Heatmap, enlarged, to_heatmap
from app.modalities.image.drawing.layout import MARGIN, fitted, tile_side
from app.modalities.image.drawing.style import Style


def contact_sheet(
    rows: Mapping[str, Sequence[Relevance]],
    columns: Sequence[str],
    style: Style,
    scale: Scale,
    seen: Image.Image,
    metadata: Mapping[str, Any],
) -> Heatmap:
    """Draw maps on one ``scale``: a row for each rule by name, a column for each caption, a colour bar.

    ``seen``, what the network saw, is in the corner. ``metadata`` as in `drawing.render.render`. A map's
    longest side is ``style.size``, within the limit of `tile_side`. All maps have the same shape.
    """
    side = tile_side(style, max(seen.size))
    grids = {name: [shown_grid(relevance, style.sign) for relevance in maps] for name, maps in rows.items()}
    first = next(iter(grids.values()))[0]
    tile, picture = fitted((first.shape[1], first.shape[0]), side), fitted(seen.size, side)
    across, down = max(tile[0], picture[0]), max(tile[1], picture[1])  # size of a cell
    letters = min(18, max(11, side // 10))
    font = ImageFont.load_default(letters)
    line = int(letters * 1.6)
    left = MARGIN + max(across, *(int(font.getlength(name)) for name in rows)) + MARGIN
    bar = left + len(columns) * (across + MARGIN)
    ticks = labelled_ticks(scale)
    width = bar + BAR + TICK_ROOM + max(int(font.getlength(text)) for _, text in ticks) + MARGIN
    top = MARGIN + picture[1] + line
    sheet = Image.new("RGB", (width, top + len(rows) * (down + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    sheet.paste(seen.resize(picture, Image.Resampling.NEAREST), (MARGIN, MARGIN))
    for column, caption in enumerate(columns):
        x = left + column * (across + MARGIN)
        draw.text((x, top - line // 3), shortened(caption, font, across), INK, font, anchor="ls")
    for row, (name, maps) in enumerate(grids.items()):
        y = top + row * (down + MARGIN)
        draw.text((MARGIN, y + down // 2), name, INK, font, anchor="lm")
        for column, grid in enumerate(maps):
            sheet.paste(enlarged(grid, scale, style, tile), (left + column * (across + MARGIN), y))
    draw_bar(sheet, scale, (bar, top, BAR, len(rows) * (down + MARGIN) - MARGIN), ticks, font)
    return to_heatmap(Drawing.of(sheet), style, scale, metadata)
