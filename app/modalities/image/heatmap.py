"""Relevance → colours → PNG: the map alone, over the picture, or beside it with a colour bar."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from app.errors import InternalError, InvalidParameterError
from app.modalities.image.decoding import Picture, Rectangle
from app.modalities.image.png import encode

Grid = npt.NDArray[np.float64]
"""(H, W) relevance, channels summed."""
Colours = npt.NDArray[np.uint8]
"""(entries, 3) table or (H, W, 3) picture."""

TABLE_ENTRIES = 255
"""Odd, so that one entry is exactly the middle: zero."""
MAX_INPUT_SIDE = 2048
SMALLEST, LARGEST = 32, 1024
SMALLEST_VMAX, LARGEST_VMAX = 1e-30, 1e30
"""float32's range with room to divide in; beyond it the colours' arithmetic overflows."""
SMALLEST_PANEL = 128
"""Below it the numbers of a colour bar would not fit beside it."""
LARGEST_TILE = 256
"""Of a contact sheet: more are on it than anybody wants to see larger."""
MARGIN, TITLE, BAR = 16, 24, 16
INK, FRAME = (32, 32, 32), (120, 120, 120)
DIMMED = 0.35
"""What is left of the picture's contrast where the model did not look."""
CHUNK = "lrp"


class Normalize(StrEnum):
    """What the ends of the colour map stand for."""

    SYMMETRIC = "symmetric"
    MINMAX = "minmax"
    ABSOLUTE = "absolute"


class Sign(StrEnum):
    """Which relevance is shown."""

    ALL = "all"
    POSITIVE = "positive"
    NEGATIVE = "negative"


class View(StrEnum):
    """How the map is shown."""

    HEATMAP = "heatmap"
    OVERLAY = "overlay"
    SIDE_BY_SIDE = "side_by_side"


class Interpolation(StrEnum):
    """How the map is enlarged."""

    NEAREST = "nearest"
    BICUBIC = "bicubic"


Size = Literal["model", "input"] | int


@dataclass(frozen=True)
class ColormapInfo:
    """One colour map; ``table`` is its name in the package that the colours come from."""

    name: str
    kind: Literal["diverging", "sequential"]
    colour_blind_safe: bool
    description: str
    table: str


COLORMAPS: Mapping[str, ColormapInfo] = {
    info.name: info
    for info in (
        ColormapInfo("RdBu_r", "diverging", True, "Blue, white, red; the default.", "colorbrewer:RdBu_r"),
        ColormapInfo("vik", "diverging", True, "Blue, white, brown-red; perceptually even.", "crameri:vik"),
        ColormapInfo("broc", "diverging", True, "Blue, white, olive; perceptually even.", "crameri:broc"),
        ColormapInfo("berlin", "diverging", True, "Blue, black, red: for dark pages.", "crameri:berlin"),
        ColormapInfo("PuOr_r", "diverging", True, "Purple, white, orange.", "colorbrewer:PuOr_r"),
        ColormapInfo("coolwarm", "diverging", True, "Blue, grey, red; soft.", "matplotlib:coolwarm"),
        ColormapInfo(
            "seismic", "diverging", False, "Dark blue, white, dark red; harsh.", "matplotlib:seismic"
        ),
        ColormapInfo("viridis", "sequential", True, "Purple to yellow.", "bids:viridis"),
        ColormapInfo("cividis", "sequential", True, "Blue to yellow.", "cividis:cividis"),
        ColormapInfo("inferno", "sequential", True, "Black over red to pale yellow.", "bids:inferno"),
        ColormapInfo("batlow", "sequential", True, "Blue over green to pink.", "crameri:batlow"),
        ColormapInfo("gray", "sequential", True, "Black to white.", "matlab:gray"),
    )
}


@dataclass(frozen=True)
class Style:
    """How relevance is drawn; meaning and defaults as in the HTTP contract."""

    normalize: Normalize = Normalize.SYMMETRIC
    vmax: float | None = None
    sign: Sign = Sign.ALL
    colormap: str = "RdBu_r"
    view: View = View.HEATMAP
    size: Size = 256
    interpolation: Interpolation = Interpolation.NEAREST

    def __post_init__(self) -> None:
        if self.colormap not in COLORMAPS:
            near = get_close_matches(self.colormap, COLORMAPS, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COLORMAPS)}"
            raise InvalidParameterError("colormap", f"no colour map {self.colormap!r}; {advice}")
        if self.vmax is not None and self.normalize is Normalize.MINMAX:
            raise InvalidParameterError("vmax", "fixes a scale around zero, which normalize=minmax has not")
        if self.vmax is not None and not SMALLEST_VMAX <= self.vmax <= LARGEST_VMAX:  # NaN neither
            raise InvalidParameterError("vmax", f"must be from {SMALLEST_VMAX:g} to {LARGEST_VMAX:g}")


@dataclass(frozen=True)
class Backdrop:
    """What is drawn of an upload: ``image``, as large as it is shown, if at all; ``size`` is its own."""

    size: tuple[int, int]
    image: Image.Image | None


@dataclass(frozen=True)
class Captions:
    """Words over the panels of a side-by-side view."""

    picture: str = "picture"
    relevance: str = "relevance"


@dataclass(frozen=True)
class Drawing:
    """``pixels``, which are repeated to fill ``size`` (width, height)."""

    pixels: Colours
    size: tuple[int, int]


@dataclass(frozen=True)
class Heatmap:
    """A drawn map: ``vmin`` and ``vmax`` are what its lowest and highest colour stand for."""

    png: bytes
    width: int
    height: int
    colormap: str
    vmin: float
    vmax: float


@dataclass(frozen=True)
class Scale:
    """Relevance -> colours: ``vmin`` and ``vmax`` are what the lowest and the highest stand for."""

    vmin: float
    vmax: float
    info: ColormapInfo
    absolute: bool

    def colours(self, grid: Grid) -> Colours:
        """(H, W) -> (H, W, 3)."""
        if self.absolute:
            grid = np.abs(grid)
        span = self.vmax - self.vmin
        position = (grid - self.vmin) / span if span > 0 else np.full_like(grid, 0.5)
        if self.absolute and self.info.kind == "diverging":
            position = 0.5 + position / 2  # zero keeps its neutral colour
        index = np.rint(position.clip(0, 1) * (TABLE_ENTRIES - 1)).astype(np.intp)
        colours: Colours = _table(self.info.table)[index]
        return colours

    def strength(self, grid: Grid) -> Grid:
        """How much each value stands out, in 0…1: (H, W) -> (H, W)."""
        largest = max(abs(self.vmin), abs(self.vmax))
        return np.abs(grid).clip(0, largest) / largest if largest > 0 else np.zeros_like(grid)


def colormaps() -> tuple[ColormapInfo, ...]:
    """All colour maps, the default first."""
    return tuple(COLORMAPS.values())


def legend(info: ColormapInfo, entries: int = 33) -> list[str]:
    """``entries`` colours of a map from its lower end to its upper, evenly spaced, as ``#rrggbb``."""
    rows = np.rint(np.linspace(0, TABLE_ENTRIES - 1, entries)).astype(np.intp)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in _table(info.table)[rows]]


def parse_size(text: str) -> Size:
    """``model``, ``input`` or a side in pixels; raises `InvalidParameterError`."""
    if text == "model" or text == "input":
        return text  # type: ignore[return-value] # mypy does not narrow a str to literals
    if re.fullmatch(r"[0-9]{1,4}", text) and SMALLEST <= int(text) <= LARGEST:
        return int(text)
    raise InvalidParameterError("size", f"must be model, input or a side from {SMALLEST} to {LARGEST} pixels")


def parse_view(text: str) -> View:
    """A view by name; raises `InvalidParameterError`."""
    try:
        return View(text)
    except ValueError:
        raise InvalidParameterError("view", f"no view {text!r}; there are {', '.join(View)}") from None


def backdrop_of(picture: Picture, style: Style) -> Backdrop:
    """What ``style`` shows of ``picture``; all else of it is not needed any more."""
    size = picture.image.size
    match style.view:
        case View.HEATMAP:
            return Backdrop(size, None)
        case View.OVERLAY:
            side = longest_side(style, size)
        case View.SIDE_BY_SIDE:
            side = _panel_side(style)
    return Backdrop(
        size, picture.image.resize(_fitted(size, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    )


def render(
    relevance: npt.NDArray[np.floating[Any]],
    style: Style,
    backdrop: Backdrop,
    rectangle: Rectangle,
    metadata: Mapping[str, Any],
    captions: Captions = Captions(),
    scale: Scale | None = None,
) -> Heatmap:
    """Draw ``relevance``, (C, H, W), (H, W) or (n,), found in the ``rectangle`` of an upload.

    Channels are summed; the units of a dense layer are laid out row by row. ``backdrop`` is what the same
    ``style`` shows of the upload. ``scale`` is the map's own if none is given. ``metadata`` goes into the PNG as
    the iTXt chunk ``lrp``, and nothing of the upload's own does. Raises `InternalError` for relevance that is
    not finite: that is never drawn.
    """
    whole = _grid(relevance)
    if not np.isfinite(whole).all():
        raise InternalError("the relevance is not finite")
    grid = _with_sign(whole, style.sign)
    scale = scale or _scale([grid], style)
    has_place = relevance.ndim > 1
    if not has_place and (style.view is View.OVERLAY or style.size == "input"):
        raise InvalidParameterError(
            "view", "the units of a dense layer have no place in the picture; use view=heatmap and a size"
        )
    match style.view:
        case View.HEATMAP:
            drawing = _heatmap(grid, scale, style, backdrop, rectangle)
        case View.OVERLAY:
            drawing = _whole(_overlay(grid, scale, style, backdrop, rectangle))
        case View.SIDE_BY_SIDE:
            drawing = _whole(_side_by_side(grid, scale, style, backdrop, rectangle, captions))
    return _finished(drawing, style, scale, metadata)


def scale_of(relevances: Sequence[npt.NDArray[np.floating[Any]]], style: Style) -> Scale:
    """One scale that all of ``relevances`` fit on, as ``style`` wants it."""
    return _scale([_with_sign(_grid(relevance), style.sign) for relevance in relevances], style)


def _scale(grids: Sequence[Grid], style: Style) -> Scale:
    lowest, highest = min(float(grid.min()) for grid in grids), max(float(grid.max()) for grid in grids)
    info = COLORMAPS[style.colormap]
    if style.normalize is Normalize.MINMAX:
        return Scale(lowest, highest, info, absolute=False)
    largest = style.vmax or max(highest, -lowest) or 1.0  # maps of nothing but zeros need a scale too
    if style.normalize is Normalize.ABSOLUTE:
        return Scale(0.0, largest, info, absolute=True)
    return Scale(-largest, largest, info, absolute=False)


def contact_sheet(
    rows: Mapping[str, Sequence[npt.NDArray[np.floating[Any]]]],
    columns: Sequence[str],
    style: Style,
    scale: Scale,
    seen: Image.Image,
    metadata: Mapping[str, Any],
) -> Heatmap:
    """Draw maps on one ``scale``: a row for each rule by name, a column for each caption, a colour bar.

    ``seen`` is what the model saw; it stands in the corner. ``metadata`` as in `render`. A map's size is
    ``style.size``, up to 256 pixels.
    """
    side = min(LARGEST_TILE, _side(style.size, model=SMALLEST, input_=LARGEST_TILE))
    letters = max(11, side // 10)
    font = ImageFont.load_default(letters)
    line = int(letters * 1.6)
    left = MARGIN + max(side, *(int(font.getlength(name)) for name in rows)) + MARGIN
    bar = left + len(columns) * (side + MARGIN)
    ticks = _labelled_ticks(scale)
    width = bar + BAR + 8 + max(int(font.getlength(text)) for _, text in ticks) + MARGIN
    top = MARGIN + side + line
    sheet = Image.new("RGB", (width, top + len(rows) * (side + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    sheet.paste(seen.resize((side, side), Image.Resampling.NEAREST), (MARGIN, MARGIN))
    for column, caption in enumerate(columns):
        x = left + column * (side + MARGIN)
        draw.text((x, top - line // 3), _shortened(caption, font, side), INK, font, anchor="ls")
    for row, (name, maps) in enumerate(rows.items()):
        y = top + row * (side + MARGIN)
        draw.text((MARGIN, y + side // 2), name, INK, font, anchor="lm")
        for column, relevance in enumerate(maps):
            grid = _with_sign(_grid(relevance), style.sign)
            tile = _enlarged(grid, scale, style, _fitted((grid.shape[1], grid.shape[0]), side))
            sheet.paste(tile, (left + column * (side + MARGIN), y))
    _draw_bar(sheet, draw, scale, (bar, top, BAR, len(rows) * (side + MARGIN) - MARGIN), ticks, font)
    return _finished(_whole(sheet), style, scale, metadata)


def _grid(relevance: npt.NDArray[np.floating[Any]]) -> Grid:
    values = relevance.astype(np.float64)
    if values.ndim == 3:
        return np.asarray(values.sum(0))  # (C, H, W) -> (H, W)
    if values.ndim == 2:
        return values
    rows = max(1, int(np.sqrt(values.size)))
    columns = -(-values.size // rows)
    return np.pad(values, (0, rows * columns - values.size)).reshape(rows, columns)  # (n,) -> (rows, columns)


def _with_sign(grid: Grid, sign: Sign) -> Grid:
    match sign:
        case Sign.ALL:
            return grid
        case Sign.POSITIVE:
            return grid.clip(min=0)
        case Sign.NEGATIVE:
            return grid.clip(max=0)


@lru_cache(maxsize=len(COLORMAPS))
def _table(name: str) -> Colours:
    from cmap import Colormap  # 50 ms that only a first picture pays

    return np.asarray(np.rint(Colormap(name).lut(TABLE_ENTRIES)[:, :3] * 255), np.uint8)


def _heatmap(grid: Grid, scale: Scale, style: Style, backdrop: Backdrop, rectangle: Rectangle) -> Drawing:
    shape = grid.shape[1], grid.shape[0]
    match style.size:
        case "model":
            return Drawing(scale.colours(grid), shape)
        case "input":
            size, box = _placed(backdrop.size, rectangle, _input_side(backdrop.size))
            neutral = Image.fromarray(scale.colours(np.zeros((1, 1)))).resize(size)
            neutral.paste(_enlarged(grid, scale, style, (box.width, box.height)), (box.left, box.top))
            return _whole(neutral)
        case side:
            size = _fitted(shape, side)
            return Drawing(_coloured(grid, scale, style, size), size)


def _overlay(grid: Grid, scale: Scale, style: Style, backdrop: Backdrop, rectangle: Rectangle) -> Image.Image:
    shown = _shown(backdrop)
    size, box = _placed(backdrop.size, rectangle, longest_side(style, backdrop.size))
    colours = _enlarged(grid, scale, style, (box.width, box.height))
    # The root keeps weak relevance visible; full relevance hides two thirds of the picture, not all.
    opacity = np.rint(np.sqrt(scale.strength(grid)) * 0.85 * 255).astype(np.uint8)
    mask = Image.fromarray(opacity).resize((box.width, box.height), _resampling(style))
    dimmed = Image.blend(Image.new("RGB", size, (200, 200, 200)), shown, DIMMED)
    looked_at = Image.new("L", size)
    looked_at.paste(255, box.box)
    dimmed.paste(shown.convert("L").convert("RGB"), mask=looked_at)
    dimmed.paste(colours, (box.left, box.top), mask)
    return dimmed


def _side_by_side(
    grid: Grid,
    scale: Scale,
    style: Style,
    backdrop: Backdrop,
    rectangle: Rectangle,
    captions: Captions,
) -> Image.Image:
    side = _panel_side(style)
    left = _outlined(backdrop, rectangle, side)
    middle = _enlarged(grid, scale, style, _fitted((grid.shape[1], grid.shape[0]), side))
    height = max(11, side // 20)
    font = ImageFont.load_default(height)
    title = int(height * 1.9)
    ticks = _labelled_ticks(scale)
    labels = max(int(font.getlength(text)) for _, text in ticks)
    columns = [
        (image, caption, _column(image, caption, font, side))
        for image, caption in ((left, captions.picture), (middle, captions.relevance))
    ]
    bar_left = MARGIN + sum(column + MARGIN for _, _, column in columns)
    bar = max(BAR, side // 20)
    width = bar_left + bar + 8 + labels + MARGIN
    sheet = Image.new("RGB", (width, title + side + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    x = MARGIN
    for image, caption, column in columns:
        y = title + (side - image.height) // 2
        sheet.paste(image, (x, y))
        draw.rectangle((x - 1, y - 1, x + image.width, y + image.height), outline=FRAME)
        draw.text((x, y - height // 2), _shortened(caption, font, column), INK, font, anchor="ls")
        x += column + MARGIN
    _draw_bar(sheet, draw, scale, (bar_left, title, bar, side), ticks, font)
    return sheet


def _column(image: Image.Image, caption: str, font: Any, side: int) -> int:
    """Pixels across for a panel and its caption, which is shortened only where it is longer than ``side``."""
    wanted: float = font.getlength(caption)
    return max(image.width, min(side, math.ceil(wanted)))


def _draw_bar(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    scale: Scale,
    place: tuple[int, int, int, int],
    ticks: list[tuple[float, str]],
    font: Any,
) -> None:
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
        draw.text((x + width + 7, inside), text, INK, font, anchor="lm")


def _labelled_ticks(scale: Scale) -> list[tuple[float, str]]:
    return [(value, f"{value:+.2g}" if value else "0") for value in _ticks(scale)]


def _ticks(scale: Scale) -> list[float]:
    """The ends, and zero where it is not close to one of them."""
    span = scale.vmax - scale.vmin
    clear = scale.vmin + 0.1 * span < 0 < scale.vmax - 0.1 * span
    return sorted({scale.vmin, scale.vmax, *((0.0,) if clear else ())})


def _outlined(backdrop: Backdrop, rectangle: Rectangle, side: int) -> Image.Image:
    """The picture with a frame around what the model saw, where that is not all of it."""
    size, box = _placed(backdrop.size, rectangle, side)
    image = _shown(backdrop).copy()
    if box.width < size[0] or box.height < size[1]:
        draw = ImageDraw.Draw(image)
        left, top, right, bottom = box.box
        draw.rectangle((left, top, right - 1, bottom - 1), outline="black", width=3)
        if min(box.width, box.height) > 2:  # the rectangle of a picture one pixel high has no inside
            draw.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline="white", width=1)
    return image


def _enlarged(grid: Grid, scale: Scale, style: Style, size: tuple[int, int]) -> Image.Image:
    """The map in colours at ``size`` (width, height)."""
    return Image.fromarray(_coloured(grid, scale, style, size)).resize(size, Image.Resampling.NEAREST)


def _coloured(grid: Grid, scale: Scale, style: Style, size: tuple[int, int]) -> Colours:
    """The map in colours, for `_enlarged` to repeat its pixels. Values are interpolated, never colours."""
    if style.interpolation is Interpolation.NEAREST:
        return scale.colours(grid)
    smooth = Image.fromarray(grid.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    # Cubic curves overshoot: relevance that no pixel has must not show, least of all one of the other sign.
    within = np.asarray(smooth, np.float64).clip(grid.min(), grid.max())
    return scale.colours(within)


def _resampling(style: Style) -> Image.Resampling:
    return Image.Resampling[style.interpolation.name]


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """``size`` with its longest side at ``longest``, its shape kept, no side under one pixel."""
    scale = longest / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _placed(upload: tuple[int, int], rectangle: Rectangle, side: int) -> tuple[tuple[int, int], Rectangle]:
    """The size of an ``upload`` with its longest side at ``side``, and where ``rectangle`` then lies."""
    size = _fitted(upload, side)
    across, down = size[0] / upload[0], size[1] / upload[1]
    left, top, right, bottom = rectangle.box
    x, y = round(left * across), round(top * down)
    return size, Rectangle(x, y, max(1, round(right * across) - x), max(1, round(bottom * down) - y))


def _side(size: Size, *, model: int, input_: int) -> int:
    """Pixels of a size, where its two names stand for these."""
    return {"model": model, "input": input_}[size] if isinstance(size, str) else size


def _input_side(upload: tuple[int, int]) -> int:
    return min(MAX_INPUT_SIDE, max(upload))


def longest_side(style: Style, upload: tuple[int, int]) -> int:
    """Pixels of the longest side of a map over an upload of this (width, height)."""
    return _side(style.size, model=SMALLEST, input_=_input_side(upload))


def _panel_side(style: Style) -> int:
    return max(SMALLEST_PANEL, _side(style.size, model=SMALLEST_PANEL, input_=LARGEST))


def _shown(backdrop: Backdrop) -> Image.Image:
    assert backdrop.image is not None, "it was made for another style"
    return backdrop.image


def _shortened(text: str, font: Any, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _whole(image: Image.Image) -> Drawing:
    return Drawing(np.asarray(image), image.size)


def _finished(drawing: Drawing, style: Style, scale: Scale, metadata: Mapping[str, Any]) -> Heatmap:
    text = json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    png = encode(drawing.pixels, drawing.size, {CHUNK: text})
    return Heatmap(png, *drawing.size, style.colormap, scale.vmin, scale.vmax)
