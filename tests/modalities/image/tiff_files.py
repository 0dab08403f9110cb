"""A writer of TIFF files in any layout of the specification (TIFF 6.0), independent of libraries that read them.

What it writes is known sample by sample, so that a reader is compared with the samples themselves.
"""

import lzma
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 4, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
CHUNKY, PLANAR = 1, 2
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
NONE, LZW, DEFLATE, PACKBITS, OLD_DEFLATE, LZMA = 1, 5, 8, 32773, 32946, 34925
HORIZONTAL, FLOATING = 2, 3
SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 3, 4, 5, 7, 16
FORMATS: Final = {1: "B", SHORT: "H", LONG: "L", LONG8: "Q"}


@dataclass(frozen=True)
class Layout:
    """How samples are written; the defaults are those of the specification."""

    photometric: int = BLACK_IS_ZERO
    bits: int = 8
    sample_format: int = UNSIGNED
    planes: int = CHUNKY
    extra: tuple[int, ...] = ()
    compression: int = NONE
    predictor: int = 1
    order: str = "<"
    tile: tuple[int, int] | None = None
    """Height and width."""
    strip_rows: int = 1000
    fill_order: int = 1
    big: bool = False

    def __str__(self) -> str:
        """Return what is not the default, for the name of a test."""
        default = Layout()
        said = {key: value for key, value in vars(self).items() if value != vars(default)[key]}
        return ",".join(f"{key}={value}" for key, value in said.items()) or "defaults"


def tiff_file(samples: Samples, layout: Layout, tags: dict[int, tuple[int, Any]] | None = None) -> bytes:
    """Write ``samples``, (H, W, S), whose values fit the layout's bits and format; ``tags`` are added."""
    height, width, count = samples.shape
    segments = _segments(samples, layout)
    entries: dict[int, tuple[int, Any]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [layout.bits] * count),
        259: (SHORT, [layout.compression]),
        262: (SHORT, [layout.photometric]),
        277: (SHORT, [count]),
        284: (SHORT, [layout.planes]),
    }
    if layout.sample_format != UNSIGNED:
        entries[339] = SHORT, [layout.sample_format] * count
    if layout.extra:
        entries[338] = SHORT, list(layout.extra)
    if layout.predictor != 1:
        entries[317] = SHORT, [layout.predictor]
    if layout.fill_order != 1:
        entries[266] = SHORT, [layout.fill_order]
    if layout.tile:
        entries[322], entries[323] = (LONG, [layout.tile[1]]), (LONG, [layout.tile[0]])
    else:
        entries[278] = LONG, [min(layout.strip_rows, height)]
    return _file(segments, entries | (tags or {}), layout)


def _segments(samples: Samples, layout: Layout) -> list[bytes]:
    """Return the strips or tiles, plane after plane where planes are apart."""
    planes = (
        [samples] if layout.planes == CHUNKY else [samples[..., i : i + 1] for i in range(samples.shape[2])]
    )
    return [_encoded(part, layout) for plane in planes for part in _parts(plane, layout)]


def _parts(plane: Samples, layout: Layout) -> list[Samples]:
    if layout.tile is None:
        return [plane[top : top + layout.strip_rows] for top in range(0, len(plane), layout.strip_rows)]
    rows, columns = layout.tile
    pad = [(0, -plane.shape[0] % rows), (0, -plane.shape[1] % columns), (0, 0)]
    whole = np.pad(plane, pad)
    return [
        whole[top : top + rows, left : left + columns]
        for top in range(0, whole.shape[0], rows)
        for left in range(0, whole.shape[1], columns)
    ]


def _encoded(part: Samples, layout: Layout) -> bytes:
    stored = _stored(part, layout)
    if layout.predictor == HORIZONTAL:
        stored[:, 1:] = stored[:, 1:] - stored[:, :-1]
    data = pack(stored.reshape(len(stored), -1), layout.bits, layout.order)
    if layout.predictor == FLOATING:
        data = _float_predicted(stored)
    data = COMPRESSED[layout.compression](data)
    return reverse_bits(data) if layout.fill_order == 2 else data


def _stored(part: Samples, layout: Layout) -> Samples:
    """Return the bit patterns as unsigned numbers."""
    if layout.sample_format == FLOAT:
        return np.ascontiguousarray(part.astype(f"f{layout.bits // 8}")).view(f"u{layout.bits // 8}")
    width = 8 if layout.bits <= 8 else 16 if layout.bits <= 16 else 32
    return (
        part.astype(f"i{width // 8}").view(f"u{width // 8}")
        if layout.sample_format == SIGNED
        else part.astype(f"u{width // 8}")
    )


def pack(rows: Samples, bits: int, order: str = "<") -> bytes:
    """Pack unsigned numbers, (H, N), row by row; those of other than whole bytes from the highest bit on."""
    if bits % 8 == 0 and bits != 24:
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    each = (
        rows[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1, dtype=np.uint32)
    ) & 1  # (H, N, bits)
    return np.packbits(each.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def _float_predicted(stored: Samples) -> bytes:
    """Adobe's floating point predictor for one sample a pixel: bytes of each row apart, then differences."""
    rows = stored.reshape(len(stored), -1)
    size = rows.dtype.itemsize
    apart = rows.astype(f">u{size}").view(np.uint8).reshape(len(rows), -1, size).transpose(0, 2, 1)
    flat = apart.reshape(len(rows), -1).copy()
    flat[:, 1:] = flat[:, 1:] - flat[:, :-1]
    return flat.tobytes()


def reverse_bits(data: bytes) -> bytes:
    return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)), bitorder="little").tobytes()


def _lzw(data: bytes) -> bytes:
    """Compress nothing, but validly: 9-bit codes, the table cleared before they grow."""
    codes: list[int] = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    return pack(np.array([[*codes, 257]], np.uint32), 9)


def _packbits(data: bytes) -> bytes:
    """Write literal runs alone."""
    pieces = [data[start : start + 128] for start in range(0, len(data), 128)]
    return b"".join(bytes((len(piece) - 1,)) + piece for piece in pieces)


COMPRESSED: Final[dict[int, Callable[[bytes], bytes]]] = {
    NONE: bytes,
    LZW: _lzw,
    DEFLATE: zlib.compress,
    OLD_DEFLATE: zlib.compress,
    PACKBITS: _packbits,
    LZMA: lzma.compress,
}


def wrapped(segments: Sequence[bytes], tags: dict[int, tuple[int, Any]], *, keep: bool = False) -> bytes:
    """Write strips that are compressed already; ``keep`` their places and lengths that ``tags`` say."""
    return _file(list(segments), tags, Layout(), keep=keep)


def _file(
    segments: list[bytes], tags: dict[int, tuple[int, Any]], layout: Layout, *, keep: bool = False
) -> bytes:
    order, big = layout.order, layout.big
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    begin = len(head) + (12 if big else 4)
    places = []
    body = b""
    for segment in segments:
        places.append(begin + len(body))
        body += segment + b"\0" * (len(segment) % 2)
    tiled = layout.tile is not None
    where = {324 if tiled else 273: (LONG, places)}
    where |= {325 if tiled else 279: (LONG, [len(segment) for segment in segments])}
    entries = where | tags if keep else tags | where
    at = begin + len(body)
    head += struct.pack(order + ("HHQ" if big else "L"), *((8, 0, at) if big else (at,)))
    return head + body + _directory(entries, at, order, big)


def _directory(entries: dict[int, tuple[int, Any]], at: int, order: str, big: bool) -> bytes:
    word, number = ("Q", "Q") if big else ("L", "H")
    width = struct.calcsize(order + word)
    behind = at + struct.calcsize(order + number) + len(entries) * (4 + 2 * width) + width
    out, values = struct.pack(order + number, len(entries)), b""
    for tag, (kind, said) in sorted(entries.items()):
        content = (
            said if isinstance(said, bytes) else struct.pack(f"{order}{len(said)}{FORMATS[kind]}", *said)
        )
        field = content.ljust(width, b"\0")
        if len(content) > width:
            field = struct.pack(order + word, behind + len(values))
            values += content + b"\0" * (len(content) % 2)
        out += struct.pack(order + "HH" + word, tag, kind, _count(kind, said)) + field
    return out + bytes(width) + values


def _count(kind: int, said: Any) -> int:
    """Return the number of values; rationals come as bytes, 8 each."""
    return len(said) // 8 if kind == RATIONAL else len(said)
