"""PNG files: checksums, and colours that stand for transparency."""

import io
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import UnreadableImageError
from app.modalities.image.file_checks import PNG_SIGNATURE
from app.modalities.image.layouts import ALPHA, NO_EXTRA, Layout

COLOURS: Final = {0: "grey", 2: "RGB", 3: "palette", 4: "grey", 6: "RGB"}
WITH_ALPHA: Final = (4, 6)
ANCILLARY: Final = 0x20
"""Bit of a chunk's first letter that says that the picture is complete without the chunk."""
PROFILE: Final = b"iCCP"
SHOWN: Final = (b"tRNS", b"fcTL", b"fdAT")
"""Ancillary chunks that change what is seen."""


def layout_of(data: bytes) -> Layout:
    """Return the layout that the header of a PNG with at least one chunk says."""
    bits, colour_type = data[24], data[25]
    colours = COLOURS.get(colour_type, f"colour type {colour_type}")
    return Layout("PNG", colours, bits, "deflate", ALPHA if colour_type in WITH_ALPHA else NO_EXTRA)


def without_broken_chunks(data: bytes) -> tuple[bytes, set[bytes]]:
    """Return a PNG without the chunks of text and the like whose checksum is wrong, and the names of these.

    The chunks must have been counted before. Raises `UnreadableImageError` if the checksum of a chunk is wrong
    without which the picture would be another one.
    """
    kept, dropped, start, position = [], set(), 0, len(PNG_SIGNATURE)
    view = memoryview(data)
    while position < len(data):
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            if not kind[0] & ANCILLARY or kind in SHOWN:
                raise UnreadableImageError(
                    "This PNG file is damaged: a checksum is wrong. Send the file again."
                )
            kept.append(view[start:position])
            dropped.add(kind)
            start = end
        position = end
        if kind == b"IEND":
            break
    return (b"".join((*kept, view[start:])) if kept else data), dropped


def scale_key(opened: Image.Image, layout: Layout) -> None:
    """Bring the transparent colour of an opened PNG of up to 8 bits to the scale of its 8-bit pixels.

    Of each value only the lowest bits count (PNG, 11.3.2.1). Pillow leaves values as the file has them.
    """
    key, highest = opened.info.get("transparency"), 2**layout.bits - 1
    if layout.bits > 8 or layout.colours == "palette" or key is None or opened.mode == "1":
        return
    if isinstance(key, tuple):
        opened.info["transparency"] = tuple(value & highest for value in key)
    else:
        opened.info["transparency"] = (key & highest) * 255 // highest


def opacity_of_key(data: bytes, layout: Layout, key: int | tuple[int, int, int]) -> Image.Image:
    """Return the opacity of a 16-bit PNG in which the colour ``key`` is transparent."""
    opaque = _sixteen_bits(data, "I;16B") != key if layout.colours == "grey" else _differs(data, key)
    return Image.fromarray(opaque.astype(np.uint8) * 255)


def _differs(data: bytes, key: Any) -> npt.NDArray[np.bool_]:
    """Return where an RGB picture is not ``key``, (H, W); upper and lower bytes are compared in turn."""
    differs: npt.NDArray[np.bool_] = (_sixteen_bits(data, "RGB;16B") != np.array(key) >> 8).any(-1)
    differs |= (_sixteen_bits(data, "RGB;16L") != np.array(key) & 0xFF).any(-1)
    return differs


def _sixteen_bits(data: bytes, raw_mode: str) -> npt.NDArray[Any]:
    """Decode 16-bit samples, of RGB one byte each: the first, or as if they were little-endian the second."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as opened:
        opened.tile = [tile._replace(args=raw_mode) for tile in opened.tile]
        return np.asarray(opened)
