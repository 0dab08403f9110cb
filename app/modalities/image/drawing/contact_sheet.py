"""The contact sheet: several maps on one scale, a row for each rule and a column for each class."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from app.modalities.image.drawing.captions import shortened
from app.modalities.image.drawing.colour_bar import BAR, INK, TICK_ROOM, draw_bar, labelled_ticks
from app.modalities.image.drawing.heatmap import Drawing, Heatmap, enlarged, to_heatmap
from app.modalities.image.drawing.layout import MARGIN, fitted, tile_side
from app.modalities.image.drawing.scale import Relevance, Scale, shown_grid
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

    ``seen``, what the model saw, is in the corner. ``metadata`` as in `drawing.render.render`. A map's
    size is ``style.size``, up to `LARGEST_TILE` pixels.
    """
    side = tile_side(style)
    letters = max(11, side // 10)
    font = ImageFont.load_default(letters)
    line = int(letters * 1.6)
    left = MARGIN + max(side, *(int(font.getlength(name)) for name in rows)) + MARGIN
    bar = left + len(columns) * (side + MARGIN)
    ticks = labelled_ticks(scale)
    width = bar + BAR + TICK_ROOM + max(int(font.getlength(text)) for _, text in ticks) + MARGIN
    top = MARGIN + side + line
    sheet = Image.new("RGB", (width, top + len(rows) * (side + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    sheet.paste(seen.resize((side, side), Image.Resampling.NEAREST), (MARGIN, MARGIN))
    for column, caption in enumerate(columns):
        x = left + column * (side + MARGIN)
        draw.text((x, top - line // 3), shortened(caption, font, side), INK, font, anchor="ls")
    for row, (name, maps) in enumerate(rows.items()):
        y = top + row * (side + MARGIN)
        draw.text((MARGIN, y + side // 2), name, INK, font, anchor="lm")
        for column, relevance in enumerate(maps):
            grid = shown_grid(relevance, style.sign)
            tile = enlarged(grid, scale, style, fitted((grid.shape[1], grid.shape[0]), side))
            sheet.paste(tile, (left + column * (side + MARGIN), y))
    draw_bar(sheet, scale, (bar, top, BAR, len(rows) * (side + MARGIN) - MARGIN), ticks, font)
    return to_heatmap(Drawing.of(sheet), style, scale, metadata)
