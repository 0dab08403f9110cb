"""A writer of ICC profiles (ICC.1:2001-04) and the conversions that they stand for."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
"""Display P3's primaries as columns: linear RGB to XYZ of white D50."""
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
D50 = 0.9642, 1.0, 0.8249


def rgb_profile(primaries: Array, gamma: float, **options: Any) -> bytes:
    """Write a profile of three primaries and one gamma."""
    columns = {
        name: _xyz(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)
    }
    return profile(
        b"RGB ", b"XYZ ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(gamma)), **options
    )


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma)})


def cmyk_profile(corners: Array) -> bytes:
    """Write a profile of the colours in CIELab, (2, 2, 2, 2, 3), at the corners of C, M, Y, K."""
    encoded = np.rint(corners * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8)
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = (
        b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + identity * 4 + encoded.tobytes() + identity * 3
    )
    return profile(b"CMYK", b"Lab ", {b"A2B0": table}, kind=b"prtr")


def profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    """Write a profile of these tags, and those that every one has."""
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, 5) + b"test\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": _xyz(*D50),
        **tags,
    }
    at = 128 + 4 + 12 * len(tags)
    table, content = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = at + len(content)
    header = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, kind, space, pcs)
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(*D50)[8:]
    return header.ljust(128, b"\0") + table + content


def srgb_of_xyz(xyz: Array) -> Array:
    """Convert XYZ of white D50 to sRGB, 0…255."""
    linear = (xyz @ np.linalg.inv(SRGB).T).clip(0, 1)
    return 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


def xyz_of_lab(lab: Array) -> Array:
    """Convert CIELab to XYZ, both of white D50: (…, 3) -> (…, 3)."""
    middle = (lab[..., 0] + 16) / 116
    f = np.stack([middle + lab[..., 1] / 500, middle, middle - lab[..., 2] / 200], -1)
    xyz: Array = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return xyz


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def curve(points: Sequence[int]) -> bytes:
    return b"curv" + bytes(4) + struct.pack(f">I{len(points)}H", len(points), *points)
