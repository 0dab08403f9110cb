"""TIFF files whose samples Pillow mistakes: signed ones, those of 12 bits, in separate planes, and more.

Pillow decompresses: strips and tiles are handed to it as those of an 8-bit grey picture that is as wide as a row
has bytes. NumPy undoes the predictor, takes the samples apart and reduces them to 8 bits.

Why not tifffile: a second parser of hostile files would have to be bounded, and for LZW it needs a third library.
"""

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from app.errors import UnreadableImageError
from app.modalities.image.colour import Colours
from app.modalities.image.layouts import ALPHA, PREMULTIPLIED, Layout
from app.modalities.image.tiff import (
    BITS,
    CHANNELS,
    COMPRESSION,
    DIFFERENCES,
    HEIGHT,
    ICC_PROFILE,
    PHOTOMETRIC,
    PREDICTOR,
    SAMPLES,
    STRIP_BYTES,
    STRIP_ROWS,
    STRIPS,
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    TILES,
    WIDTH,
    has_predictor,
    size_of,
)  # fmt: skip

BAND_BYTES: Final = 2**22
"""Decompressed at once, unless a single strip is larger."""
STRIP_LIMIT_BYTES: Final = 2**27
"""Of a strip or a row of tiles, decompressed: a strip of 16 million pixels of 8 bytes."""

MODES: Final = {1: "L", 3: "RGB", 4: "CMYK"}
"""Pillow's modes by the number of channels."""

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Grid:
    """How the samples of a picture lie in strips or tiles."""

    width: int
    height: int
    rows: int
    """Of a strip or tile."""
    columns: int
    """Of a tile; of a strip the width."""
    padded: bool
    """Whether the last row of segments has as many rows as the others, as tiles have."""
    samples: int
    """Of a pixel, in each segment."""
    bits: int

    @property
    def across(self) -> int:
        """Segments side by side."""
        return -(-self.width // self.columns)

    @property
    def down(self) -> int:
        """Rows of segments."""
        return -(-self.height // self.rows)

    @property
    def segment_row_bytes(self) -> int:
        """Bytes of a row of one segment."""
        return -(-self.columns * self.samples * self.bits // 8)

    def rows_between(self, first: int, last: int) -> int:
        """Rows of pixels that the rows ``first`` to ``last`` of segments hold."""
        rows = (last - first) * self.rows
        return rows if self.padded else min(rows, self.height - first * self.rows)


def decode_samples(data: bytes, directory: ImageFileDirectory_v2, layout: Layout) -> Colours:
    """Decode a picture of `Reader.SAMPLES`, reduced to 8 bits by its upper bits."""
    width, height = size_of(directory)
    channels = CHANNELS.get(layout.colours, 1)
    samples = int(directory.get(SAMPLES, 1))
    kept = channels + layout.extra.startswith((ALPHA, PREMULTIPLIED))
    planes = samples if layout.planes == "separate" else 1
    grid = _grid(directory, samples // planes, layout.bits)
    if grid.segment_row_bytes * grid.across * grid.rows_between(0, 1) > STRIP_LIMIT_BYTES:
        raise UnreadableImageError("This TIFF file has too large strips. Save it as PNG and send that.")
    levels = np.empty((height, width, kept), np.uint8)
    for plane in range(min(planes, kept)):
        places = slice(plane, plane + 1) if planes > 1 else slice(kept)
        for top, band in _bands(data, directory, layout, grid, plane):
            part = band[: height - top, :width, :kept]  # (rows, W, samples)
            levels[top : top + len(part), :, places] = _unsigned(part, layout)
    return _colours(levels, layout, channels, directory)


def _colours(levels: Levels, layout: Layout, channels: int, directory: ImageFileDirectory_v2) -> Colours:
    """Return 8-bit levels, (H, W, channels [+ 1]), as a picture and its opacity."""
    size = levels.shape[1], levels.shape[0]
    opacity: Image.Image | None = None
    if layout.extra.startswith(PREMULTIPLIED):
        raw_mode, mode = {1: ("La", "LA"), 3: ("RGBa", "RGBA")}[channels]
        *bands, opacity = (
            Image.frombuffer(raw_mode, size, levels, "raw", raw_mode, 0, 1).convert(mode).split()
        )
        image = Image.merge(mode[:-1], bands)
    else:
        colour = levels[..., :channels] if channels > 1 else levels[..., 0]
        if layout.colours == "white-is-zero grey":
            colour = 255 - colour
        image = Image.fromarray(np.ascontiguousarray(colour), MODES[channels])
        opacity = (
            Image.fromarray(np.ascontiguousarray(levels[..., -1])) if levels.shape[2] > channels else None
        )
    return Colours(image, opacity, directory.get(ICC_PROFILE), ICC_PROFILE in directory)


def _grid(directory: ImageFileDirectory_v2, samples: int, bits: int) -> _Grid:
    width, height = size_of(directory)
    if TILES in directory:
        rows, columns, padded = int(directory[TILE_HEIGHT]), int(directory[TILE_WIDTH]), True
    else:
        rows, columns, padded = min(int(directory.get(STRIP_ROWS, height)), height), width, False
    return _Grid(width, height, rows, columns, padded, samples, bits)


def _bands(
    data: bytes, directory: ImageFileDirectory_v2, layout: Layout, grid: _Grid, plane: int
) -> Iterator[tuple[int, Levels]]:
    """Yield bands of one plane from top to bottom: the first row, and levels (rows, columns, samples)."""
    step = max(1, BAND_BYTES // max(1, grid.segment_row_bytes * grid.across * grid.rows))
    for first in range(0, grid.down, step):
        last = min(first + step, grid.down)
        numbers = range((plane * grid.down + first) * grid.across, (plane * grid.down + last) * grid.across)
        rows = grid.rows_between(first, last)
        stored = _decompressed(data, directory, layout.compression, grid, numbers, rows)
        predicted = has_predictor(layout.compression) and directory.get(PREDICTOR, 1) == DIFFERENCES
        yield first * grid.rows, _levels(stored, layout, grid, directory.prefix == b"II", predicted)


def _levels(stored: Levels, layout: Layout, grid: _Grid, little_endian: bool, predicted: bool) -> Levels:
    """Return the upper 8 bits of each sample: (rows, across, bytes) -> (rows, columns, samples)."""
    rows = len(stored)
    upper: Levels
    count = grid.columns * grid.samples
    if layout.bits == 16 and predicted:
        words = stored.view("<u2" if little_endian else ">u2")
        words = words.reshape(rows, grid.across, grid.columns, grid.samples)
        upper = (np.add.accumulate(words, axis=2, dtype=np.uint16) >> 8).astype(np.uint8)
    elif layout.bits == 16:
        upper = stored[..., 1 if little_endian else 0 :: 2]
    elif layout.bits == 8:
        upper = stored.reshape(rows, grid.across, grid.columns, grid.samples)
        if predicted:
            upper = np.add.accumulate(upper, axis=2, dtype=np.uint8)
    elif layout.bits == 12:
        upper = _upper_of_twelve(stored)[..., :count]
    else:
        upper = _unpacked(stored, layout.bits)[..., :count]
    return upper.reshape(rows, grid.across * grid.columns, grid.samples)


def _unsigned(upper: Levels, layout: Layout) -> Levels:
    """Return the upper bits of samples as levels of 0…255."""
    if layout.samples == "signed":
        return upper ^ np.uint8(0x80)  # from two's complement to the distance from the lowest value
    return upper * np.uint8(255 // (2**layout.bits - 1)) if layout.bits < 8 else upper


def _upper_of_twelve(stored: Levels) -> Levels:
    """Return the upper 8 of each 12 bits: (…, bytes) -> (…, bytes * 2 / 3, rounded up to an even number)."""
    padded = np.pad(stored, [(0, 0), (0, 0), (0, -stored.shape[-1] % 3)])
    triples = padded.reshape(*padded.shape[:-1], -1, 3)
    pairs = np.stack([triples[..., 0], triples[..., 1] << 4 | triples[..., 2] >> 4], axis=-1)
    return pairs.reshape(*padded.shape[:-1], -1)


def _unpacked(stored: Levels, bits: int) -> Levels:
    """Return samples of 1, 2 or 4 bits, the highest bits first: (…, bytes) -> (…, bytes * 8 / bits)."""
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    each: Levels = (stored[..., None] >> shifts) & np.uint8(2**bits - 1)
    return each.reshape(*stored.shape[:-1], -1)


def _decompressed(
    data: bytes,
    directory: ImageFileDirectory_v2,
    compression: str,
    grid: _Grid,
    numbers: Sequence[int],
    rows: int,
) -> Levels:
    """Return the bytes of the segments with these numbers: (rows, across, bytes of a segment's row)."""
    tiled = TILES in directory
    places = directory[TILES if tiled else STRIPS]
    stacked_rows = rows * grid.across
    if compression == "uncompressed":
        length = grid.rows * grid.segment_row_bytes
        segments = [data[places[number] : places[number] + length] for number in numbers]
        stacked = np.frombuffer(b"".join(segments), np.uint8, stacked_rows * grid.segment_row_bytes)
    else:
        lengths = directory[TILE_BYTES if tiled else STRIP_BYTES]
        segments = [data[places[number] : places[number] + lengths[number]] for number in numbers]
        if sum(map(len, segments)) > len(data):
            raise UnreadableImageError("This TIFF file's strips overlap. Save it as PNG and send that.")
        file = _byte_picture(segments, directory[COMPRESSION], grid, stacked_rows)
        with Image.open(io.BytesIO(file), formats=["TIFF"]) as image:
            stacked = np.asarray(image)
    if grid.across == 1:
        return stacked.reshape(rows, 1, -1)
    tiles = stacked.reshape(-1, grid.across, grid.rows, grid.segment_row_bytes)
    return tiles.swapaxes(1, 2).reshape(
        rows, grid.across, -1
    )  # (down, across, rows, bytes) -> (rows, across, bytes)


def _byte_picture(segments: Sequence[bytes], compression: int, grid: _Grid, rows: int) -> bytes:
    """Write a TIFF of these compressed segments, one below the other, with one grey level for each byte."""
    lengths = [len(segment) for segment in segments]
    directory = ImageFileDirectory_v2()
    directory[WIDTH], directory[HEIGHT], directory[STRIP_ROWS] = grid.segment_row_bytes, rows, grid.rows
    directory[BITS], directory[COMPRESSION], directory[PHOTOMETRIC], directory[SAMPLES] = 8, compression, 1, 1
    directory[STRIPS] = tuple(itertools.accumulate(lengths[:-1], initial=0))
    directory[STRIP_BYTES] = tuple(lengths)
    head = b"II*\0" + (8).to_bytes(4, "little")
    return head + directory.tobytes(len(head)) + b"".join(segments)
