"""TIFF files: their directory and layout."""

import io
from typing import Final

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from app.modalities.image.layouts import (
    ALPHA,
    MORE_UNUSED,
    NO_EXTRA,
    PREMULTIPLIED,
    REVERSED_BITS,
    UNUSED,
    Layout,
)

SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0")
BIG_TIFF: Final = b"II+\0"
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS, STRIP_BYTES, PLANES, PREDICTOR = 273, 274, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES, EXTRA, FORMAT, SUBSAMPLING = 322, 323, 324, 325, 338, 339, 530
ICC_PROFILE: Final = 34675
DIFFERENCES: Final = 2
"""Predictor that stores each sample as the difference to the pixel on its left."""

UNDECLARED: Final = -1
COLOURS: Final = {
    UNDECLARED: "undeclared colours", 0: "white-is-zero grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK",
    6: "YCbCr", 8: "CIELab",
}  # fmt: skip
CHANNELS: Final = {"RGB": 3, "CMYK": 4, "YCbCr": 3, "CIELab": 3}
"""Samples of a pixel's colour, where they are not one."""
COMPRESSIONS: Final = {
    1: "uncompressed", 2: "CCITT RLE", 3: "CCITT group 3", 4: "CCITT group 4", 5: "LZW", 6: "old-style JPEG",
    7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate", 34925: "LZMA", 50000: "Zstandard",
    50001: "WebP",
}  # fmt: skip
SAMPLE_FORMATS: Final = {1: "unsigned", 2: "signed", 3: "floating-point"}
EXTRAS: Final = {0: UNUSED, 1: PREMULTIPLIED, 2: ALPHA}
MOST_SAMPLES: Final = 6
"""Of a pixel, as many as Pillow takes."""


def read_directory(data: bytes) -> ImageFileDirectory_v2:
    """Parse the first directory of a file that starts with one of `SIGNATURES`, as Pillow does."""
    directory = ImageFileDirectory_v2(data[: 16 if data.startswith(BIG_TIFF) else 8])
    stream = io.BytesIO(data)
    stream.seek(directory.next)
    directory.load(stream)
    return directory


def size_of(directory: ImageFileDirectory_v2) -> tuple[int, int]:
    """Return width and height in pixels, as stored; (0, 0) if they are missing."""
    return int(directory.get(WIDTH, 0)), int(directory.get(HEIGHT, 0))


def orientation_of(directory: ImageFileDirectory_v2) -> int:
    """Return the EXIF orientation; 1 without one."""
    return int(directory.get(ORIENTATION, 1))


def layout_of(directory: ImageFileDirectory_v2) -> Layout:
    """Return the layout of the directory's picture."""
    photometric = int(directory.get(PHOTOMETRIC, UNDECLARED))
    colours = COLOURS.get(photometric, f"colour space {photometric}")
    bits, formats = set(directory.get(BITS, (1,))), set(directory.get(FORMAT, (1,)))
    depth = bits.pop() if len(bits) == 1 else 0
    subsampled = colours == "YCbCr" and tuple(directory.get(SUBSAMPLING, (2, 2))) != (1, 1)
    compression = _compression(directory, depth)
    return Layout(
        "TIFF",
        "subsampled YCbCr" if subsampled and not compression.endswith("JPEG") else colours,
        depth,
        compression,
        _extra(directory, colours),
        SAMPLE_FORMATS.get(formats.pop(), "undefined") if len(formats) == 1 else "mixed",
        "separate" if directory.get(PLANES, 1) == 2 and directory.get(SAMPLES, 1) > 1 else "interleaved",
    )


def _compression(directory: ImageFileDirectory_v2, bits: int) -> str:
    number, predictor = directory.get(COMPRESSION, 1), directory.get(PREDICTOR, 1)
    name = COMPRESSIONS.get(number, f"compression {number}")
    if has_predictor(name) and predictor != 1 and not (predictor == DIFFERENCES and bits in (8, 16)):
        name += f" with predictor {predictor}"
    return name + (REVERSED_BITS if directory.get(FILL_ORDER, 1) == 2 else "")


def has_predictor(compression: str) -> bool:
    """Whether the predictor's tag has a meaning: the others ignore it."""
    return compression in ("LZW", "deflate", "LZMA", "Zstandard")


def _extra(directory: ImageFileDirectory_v2, colours: str) -> str:
    """Name what a pixel has besides its colour: at most one alpha, as the first, and unused samples."""
    kinds = directory.get(EXTRA, ())
    count = directory.get(SAMPLES, len(directory.get(BITS, (1,))))
    if count != CHANNELS.get(colours, 1) + len(kinds) or count > MOST_SAMPLES:
        return "undescribed samples"
    if any(kind != 0 for kind in kinds[1:]):
        return "several kinds of extra samples"
    if not kinds:
        return NO_EXTRA
    return EXTRAS.get(kinds[0], f"extra samples {kinds[0]}") + (MORE_UNUSED if len(kinds) > 1 else "")
