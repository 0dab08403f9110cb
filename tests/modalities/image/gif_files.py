"""A writer of GIF files: canvas, frames anywhere on it, palettes, transparency, interlacing."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Palette = Sequence[tuple[int, int, int]]


def gif_file(canvas: tuple[int, int], palette: Palette | None, *frames: bytes, background: int = 0) -> bytes:
    """Write a canvas (width, height); a palette has 256 colours."""
    flags = 0xF7 if palette else 0x70
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", *canvas, flags, background, 0)
        + _colours(palette)
        + b"".join(frames)
        + b";"
    )


def gif_frame(
    indices: NDArray[Any],
    place: tuple[int, int] = (0, 0),
    palette: Palette | None = None,
    transparent: int | None = None,
    *,
    interlaced: bool = False,
) -> bytes:
    """Write a frame of palette indices, (H, W), whose left and top are ``place``."""
    control = b""
    if transparent is not None:
        control = b"!\xf9\x04" + struct.pack("<BHB", 1, 0, transparent) + b"\0"
    height, width = indices.shape
    flags = (0x87 if palette else 0) | (0x40 if interlaced else 0)
    if interlaced:
        indices = np.concatenate([indices[0::8], indices[4::8], indices[2::4], indices[1::2]])
    return (
        control + b"," + struct.pack("<HHHHB", *place, width, height, flags) + _colours(palette)
        + b"\x08" + _sub_blocks(_lzw(indices.astype(np.uint8).tobytes())) + b"\0"
    )  # fmt: skip


def _colours(palette: Palette | None) -> bytes:
    return b"".join(map(bytes, palette or ()))


def _lzw(data: bytes) -> bytes:
    """Compress nothing, but validly: 9-bit codes, the table cleared before they grow."""
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    each = (np.array([*codes, 257])[:, None] >> np.arange(9)) & 1
    return np.packbits(each.astype(np.uint8).ravel(), bitorder="little").tobytes()


def _sub_blocks(data: bytes) -> bytes:
    return b"".join(
        bytes((len(data[at : at + 255]),)) + data[at : at + 255] for at in range(0, len(data), 255)
    )
