"""A writer of BMP files with any header, depth, palette and bit fields."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

OS2, V3, V3_ALPHA, V4, V5 = 12, 40, 56, 108, 124
"""Sizes of headers."""


def bmp_file(
    words: NDArray[Any],
    bits: int,
    *,
    palette: Sequence[tuple[int, int, int]] = (),
    header_bytes: int = V3,
    masks: tuple[int, ...] = (),
    top_down: bool = False,
    profile: bytes = b"",
) -> bytes:
    """Write one number for each pixel, (H, W), with red, green, blue and alpha where ``masks`` says."""
    height, width = words.shape
    rows = [_packed(row, bits) for row in (words if top_down else words[::-1])]
    pixels = b"".join(row + bytes(-len(row) % 4) for row in rows)
    entry = (lambda rgb: bytes(rgb[::-1])) if header_bytes == OS2 else (lambda rgb: bytes((*rgb[::-1], 0)))
    colours = b"".join(map(entry, palette))
    behind = b"" if header_bytes >= V3_ALPHA else b"".join(struct.pack("<I", mask) for mask in masks[:3])
    start = 14 + header_bytes + len(behind) + len(colours)
    if header_bytes == OS2:
        header = struct.pack("<IHHHH", OS2, width, height, 1, bits)
    else:
        used = len(palette)
        header = struct.pack(
            "<IiiHHIIiiII", header_bytes, width, -height if top_down else height, 1, bits, 3 if masks else 0,
            len(pixels), 2835, 2835, used, 0,
        )  # fmt: skip
        header += b"".join(struct.pack("<I", mask) for mask in masks) if header_bytes >= V3_ALPHA else b""
        header = header.ljust(min(header_bytes, 56), b"\0")
        if header_bytes >= V4:
            header += (b"DEBM" if profile else b"BGRs").ljust(header_bytes - 56, b"\0")
        if profile:
            header = header[:112] + struct.pack("<II", start - 14 + len(pixels), len(profile)) + header[120:]
    head = b"BM" + struct.pack("<IHHI", start + len(pixels) + len(profile), 0, 0, start)
    return head + header + behind + colours + pixels + profile


def _packed(row: NDArray[Any], bits: int) -> bytes:
    if bits < 8:
        each = (row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
        return np.packbits(each.astype(np.uint8).ravel()).tobytes()
    return row.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
