"""ICC profiles: colours are those that the profile says, and one that is broken costs nothing but a warning."""

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from bmp_files import V5, bmp_file
from pictures import LIMIT, chelsea, pixels, saved
from PIL import Image, ImageCms
from png_files import GREY, GREY_ALPHA, RGB, RGBA, chunk, png_file
from profiles import (
    D50,
    P3,
    SRGB,
    Array,
    cmyk_profile,
    curve,
    grey_profile,
    profile,
    rgb_profile,
    srgb_of_xyz,
    xyz_of_lab,
)
from tiff_files import BLACK_IS_ZERO as TIFF_GREY
from tiff_files import CHUNKY, CMYK, PLANAR, SIGNED, UNDEFINED, UNSIGNED, Layout, tiff_file
from tiff_files import RGB as TIFF_RGB

from app.modalities.image.colour import MAX_PROFILE_BYTES
from app.modalities.image.decoding import decode
from app.modalities.image.picture import Picture

GAMMA = 2.2
COLOURS = np.mgrid[0:256:51, 0:256:51, 0:256:51].reshape(3, 12, 18).transpose(1, 2, 0)
"""From all over RGB, (12, 18, 3)."""
LOSSLESS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "keep_rgb": True}}
GREYS = np.arange(256).reshape(16, 16, 1)


def shown(values: Array, primaries: Array = P3, gamma: float = GAMMA) -> Array:
    """Return what colours of 0…255 in that space are in sRGB, 0…255."""
    return srgb_of_xyz(((values / 255) ** gamma) @ primaries.T)


def difference(picture: Picture, expected: Array) -> float:
    return float(np.abs(pixels(picture).astype(float) - expected).max())


def png_with(icc: bytes, values: Array = COLOURS, bits: int = 8, kind: int = RGB) -> bytes:
    """Write a PNG with a profile."""
    return png_file(values, bits, kind, [chunk(b"iCCP", b"test\0\0" + zlib.compress(icc))])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "BMP"])
@pytest.mark.parametrize(
    ("primaries", "gamma"), [(P3, 2.2), (SRGB, 1.0), (P3, 1.8)], ids=["P3", "linear", "P3 1.8"]
)
def test_a_profile_is_applied(kind: str, primaries: Array, gamma: float) -> None:
    icc = rgb_profile(primaries, gamma)
    blocks = COLOURS.repeat(8, 0).repeat(8, 1)  # of JPEG, so that it is exact
    image = Image.fromarray(blocks.astype(np.uint8))
    if kind == "BMP":
        words = (pixels(image).astype(np.int64) * [65536, 256, 1]).sum(-1)
        file = bmp_file(words, 24, header_bytes=V5, profile=icc)
    else:
        file = saved(image, kind, icc_profile=icc, **LOSSLESS.get(kind, {}))
    picture = decode(file, LIMIT)
    assert picture.warnings == ()
    assert difference(picture, shown(pixels(image), primaries, gamma)) <= (
        12 if kind == "JPEG" and gamma == 1 else 3
    )


@pytest.mark.parametrize(("bits", "kind"), [(8, RGB), (16, RGB), (8, RGBA), (16, RGBA)])
def test_a_profile_is_applied_before_the_picture_is_laid_on_white(bits: int, kind: int) -> None:
    opacity = np.full((*COLOURS.shape[:2], 1), 102)
    samples = np.concatenate([COLOURS, opacity], -1) if kind == RGBA else COLOURS
    share = 0.4 if kind == RGBA else 1.0
    file = png_with(rgb_profile(P3, GAMMA), samples * (257 if bits == 16 else 1), bits, kind)
    assert difference(decode(file, LIMIT), shown(COLOURS) * share + 255 * (1 - share)) <= 2


@pytest.mark.parametrize("transparent", [False, True])
def test_the_colours_of_a_palette_are_those_of_the_profile(transparent: bool) -> None:
    image = Image.fromarray(COLOURS.astype(np.uint8)).quantize(200)
    expected = shown(pixels(image.convert("RGB")))
    options: dict[str, Any] = {"transparency": 5} if transparent else {}
    if transparent:
        expected[pixels(image) == 5] = 255
    file = saved(image, "PNG", icc_profile=rgb_profile(P3, GAMMA), **options)
    assert difference(decode(file, LIMIT), expected) <= 2


@pytest.mark.parametrize(("bits", "kind"), [(8, GREY), (16, GREY), (8, GREY_ALPHA), (16, GREY_ALPHA)])
@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_a_profile_of_grey_is_applied_to_grey(bits: int, kind: int, gamma: float) -> None:
    samples = np.concatenate([GREYS, np.full_like(GREYS, 255)], -1) if kind == GREY_ALPHA else GREYS
    file = png_with(grey_profile(gamma), samples * (257 if bits == 16 else 1), bits, kind)
    picture = decode(file, LIMIT)
    assert picture.warnings == ()
    assert difference(picture, shown(GREYS.repeat(3, -1), SRGB, gamma)) <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_profile_of_rgb_is_applied_to_grey_as_to_equal_channels(kind: str) -> None:
    file = saved(Image.fromarray(GREYS[..., 0].astype(np.uint8)), kind, icc_profile=rgb_profile(SRGB, 1.8))
    tolerance = 6 if kind == "JPEG" else 2
    assert difference(decode(file, LIMIT), shown(GREYS.repeat(3, -1), SRGB, 1.8)) <= tolerance


CORNERS = np.zeros((2, 2, 2, 2, 3))
CORNERS[..., 0, :] = [[[[100, 0, 0], [88, -6, 60]], [[50, 60, 0], [48, 55, 40]]],
                      [[[55, -30, -45], [50, -50, 25]], [[25, 20, -40], [22, 0, 0]]]]  # fmt: skip
CORNERS[..., 1, :] = [10, 0, 0]


@pytest.mark.parametrize("kind", ["TIFF", "TIFF16", "TIFF planar", "JPEG"])
def test_a_profile_of_cmyk_is_applied_to_cmyk(kind: str) -> None:
    inks = np.array(list(np.ndindex(2, 2, 2, 2))).reshape(4, 4, 4)
    lab = CORNERS[tuple(inks[..., i] for i in range(4))]
    black = xyz_of_lab(np.array([10.0, 0, 0]))  # the darkest that these inks get becomes black
    expected = srgb_of_xyz((xyz_of_lab(lab) - black) / (np.array(D50) - black) * D50)
    icc, samples = cmyk_profile(CORNERS), inks * 255
    if kind == "JPEG":
        image = Image.frombytes(
            "CMYK", (32, 32), samples.astype(np.uint8).repeat(8, 0).repeat(8, 1).tobytes()
        )
        file = saved(image, "JPEG", quality=100, icc_profile=icc)
        expected = expected.repeat(8, 0).repeat(8, 1)
    elif kind == "TIFF":
        file = tiff_file(samples, Layout(CMYK), {34675: (UNDEFINED, icc)})
    else:
        planes = PLANAR if kind.endswith("planar") else CHUNKY
        file = tiff_file(samples * 257, Layout(CMYK, 16, planes=planes), {34675: (UNDEFINED, icc)})
    picture = decode(file, LIMIT)
    assert picture.warnings == ()
    assert difference(picture, expected) <= 3


@pytest.mark.parametrize("sample_format", [UNSIGNED, SIGNED])
@pytest.mark.parametrize("photometric", [TIFF_RGB, TIFF_GREY])
def test_a_profile_is_applied_to_samples_that_are_taken_apart_here(
    sample_format: int, photometric: int
) -> None:
    values = COLOURS if photometric == TIFF_RGB else GREYS
    icc = rgb_profile(P3, GAMMA) if photometric == TIFF_RGB else grey_profile(1.8)
    expected = shown(COLOURS) if photometric == TIFF_RGB else shown(GREYS.repeat(3, -1), SRGB, 1.8)
    samples = values * 257 - (32768 if sample_format == SIGNED else 0)
    layout = Layout(photometric, 16, sample_format, PLANAR if photometric == TIFF_RGB else CHUNKY)
    assert difference(decode(tiff_file(samples, layout, {34675: (UNDEFINED, icc)}), LIMIT), expected) <= 2


def test_the_profile_of_srgb_changes_no_level() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = decode(saved(chelsea(), "PNG", icc_profile=icc), LIMIT)
    assert np.array_equal(pixels(picture), pixels(chelsea()))


def broken_profiles() -> dict[str, bytes]:
    whole = rgb_profile(P3, GAMMA)
    tag_at = 132 + 12 * 3  # behind those that every profile has
    return {
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "header alone": whole[:128],
        "cut short": whole[:300],
        "without primaries": profile(b"RGB ", b"XYZ ", {}),
        "of a link": rgb_profile(P3, GAMMA, kind=b"link"),
        "of an abstract space": rgb_profile(P3, GAMMA, kind=b"abst"),
        "of grey": grey_profile(GAMMA),
        "of CMYK": cmyk_profile(CORNERS),
        "of no known space": profile(b"HSV ", b"XYZ ", {}),
        "tags outside": whole[: tag_at + 4] + struct.pack(">II", 2**31, 20) + whole[tag_at + 12 :],
        "too many tags": whole[:128] + struct.pack(">I", 2**31) + whole[132:],
        "too large": whole + bytes(MAX_PROFILE_BYTES),
        "steps": profile(b"RGB ", b"Lab ", {b"D2B0": b"mpet" + bytes(40), b"A2B0": b"mpet" + bytes(40)}),
    }


def in_files() -> list[tuple[str, str]]:
    """Names of broken profiles, each with the formats that can hold it."""
    limited = {"empty": ["PNG"], "too large": ["TIFF", "WEBP"]}  # JPEG's length of a profile has 16 bits
    every = ["TIFF", "WEBP", "PNG", "JPEG"]
    return [(name, kind) for name in broken_profiles() for kind in limited.get(name, every)]


@pytest.mark.parametrize(("name", "kind"), in_files())
def test_a_broken_profile_is_ignored_with_a_warning(name: str, kind: str) -> None:
    icc = broken_profiles()[name]
    if kind == "PNG":
        file = png_with(icc, pixels(chelsea()))
    else:
        file = saved(chelsea(), kind, icc_profile=icc, **({"lossless": True} if kind == "WEBP" else {}))
    picture = decode(file, LIMIT)
    assert len(picture.warnings) == 1
    assert "profile" in picture.warnings[0]
    plain = decode(saved(chelsea(), kind), LIMIT) if kind == "JPEG" else chelsea()
    assert np.array_equal(pixels(picture), pixels(plain))


def test_a_profile_that_does_not_unfold_is_ignored_with_a_warning() -> None:
    file = png_file(COLOURS, 8, RGB, [chunk(b"iCCP", b"test\0\0no deflate")])
    picture = decode(file, LIMIT)
    assert difference(picture, COLOURS) == 0
    assert len(picture.warnings) == 1


def test_a_profile_of_which_a_part_is_missing_is_ignored_with_a_warning() -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    file = saved(chelsea(), "JPEG", icc_profile=rgb_profile(P3, GAMMA) + noise)
    at = file.index(b"ICC_PROFILE\0\2")
    cut = file[: at - 4] + file[at - 2 + int.from_bytes(file[at - 2 : at], "big") :]
    assert len(decode(cut, LIMIT).warnings) == 1


def hostile_profiles() -> dict[str, bytes]:
    """Profiles that make LittleCMS do most for their size."""
    whole = rgb_profile(P3, GAMMA)
    points = (MAX_PROFILE_BYTES - 1000) // 2
    zigzag = curve([0, 65535] * (points // 2))
    columns = {
        name: whole[(at := int.from_bytes(_entry(whole, name)[:4], "big")) : at + 20]
        for name in (b"rXYZ", b"gXYZ", b"bXYZ")
    }
    shared = profile(b"RGB ", b"XYZ ", {**columns, b"rTRC": zigzag, b"gTRC": b"", b"bTRC": b""})
    entry = _entry(shared, b"rTRC")
    for name in (b"gTRC", b"bTRC"):
        shared = shared.replace(name + _entry(shared, name), name + entry)
    side = 110
    cube = (
        b"mft1"
        + bytes(4)
        + bytes((3, 3, side, 0))
        + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    )
    cube += bytes(range(256)) * 3 + np.random.default_rng(0).bytes(3 * side**3) + bytes(range(256)) * 3
    return {
        "long curves": shared,
        "long grey curve": profile(b"GRAY", b"XYZ ", {b"kTRC": zigzag}),
        "large cube": profile(b"RGB ", b"Lab ", {b"A2B0": cube}),
        "CMYK of 30 steps": _cmyk_cube(30),
    }


def _cmyk_cube(side: int) -> bytes:
    table = (
        b"mft1"
        + bytes(4)
        + bytes((4, 3, side, 0))
        + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    )
    table += bytes(range(256)) * 4 + np.random.default_rng(0).bytes(3 * side**4) + bytes(range(256)) * 3
    return profile(b"CMYK", b"Lab ", {b"A2B0": table}, kind=b"prtr")


def _entry(icc: bytes, name: bytes) -> bytes:
    """Return place and length of a tag, as the table has them."""
    at = icc.index(name, 132)
    return icc[at + 4 : at + 12]


@pytest.mark.parametrize("name", hostile_profiles())
def test_the_worst_profile_costs_no_more_than_a_large_picture(name: str) -> None:
    icc = hostile_profiles()[name]
    assert len(icc) <= MAX_PROFILE_BYTES
    mode = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}[icc[16:20]]
    file = saved(chelsea().convert(mode), "TIFF", icc_profile=icc)
    started = time.process_time()
    decode(file, LIMIT)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_no_profile_stays_with_the_picture(kind: str) -> None:
    image = decode(saved(chelsea(), kind, icc_profile=rgb_profile(P3, GAMMA)), LIMIT).image
    assert image.info == {}
    out = io.BytesIO()
    image.save(out, "PNG")
    assert b"iCCP" not in out.getvalue()
