"""Every TIFF layout is the picture whose samples were written, or is refused by name; never another picture."""

import io
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pictures import LIMIT, chelsea, pixels, saved
from PIL import Image
from profiles import srgb_of_xyz, xyz_of_lab
from tiff_files import (
    ASSOCIATED,
    BLACK_IS_ZERO,
    CHUNKY,
    CIELAB,
    CMYK,
    DEFLATE,
    FLOAT,
    FLOATING,
    HORIZONTAL,
    LONG,
    LZMA,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    PALETTE,
    PLANAR,
    RGB,
    SHORT,
    SIGNED,
    UNASSOCIATED,
    UNDEFINED,
    UNSIGNED,
    UNSPECIFIED,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
    reverse_bits,
    tiff_file,
    wrapped,
)  # fmt: skip

from app.errors import TooLargeError, UnreadableImageError
from app.modalities.image.decoding import decode

HEIGHT, WIDTH = 20, 37
Array = NDArray[Any]
CHANNELS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}
NAMES = {WHITE_IS_ZERO: "white-is-zero", BLACK_IS_ZERO: "grey", RGB: "RGB", CMYK: "CMYK"}


def levels(count: int) -> Array:
    """Gradients of 8 bits, (H, W, count), all different."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    slopes = [(7, 3), (5, 11), (2, 9), (3, 8), (11, 2), (13, 1)][:count]
    return np.stack([(x * right + y * down + 40 * i) % 256 for i, (right, down) in enumerate(slopes)], -1)


def written(layout: Layout) -> tuple[Array, Array]:
    """Return samples in a layout, and the picture that they are: (H, W, S) as stored, (H, W, 3) in 0…255."""
    channels, highest = CHANNELS[layout.photometric], 2**layout.bits - 1
    unsigned = (levels(channels + len(layout.extra)) * highest + 127) // 255
    if ASSOCIATED in layout.extra:  # no colour is brighter than its opacity
        unsigned[..., :channels] = np.minimum(
            unsigned[..., :channels], unsigned[..., channels : channels + 1]
        )
    shown = unsigned * 255 / highest
    colour = shown[..., :channels]
    if layout.photometric == WHITE_IS_ZERO:
        colour = 255 - colour
    if layout.photometric == CMYK:
        colour = (255 - colour[..., :3]) * (255 - colour[..., 3:]) / 255
    if layout.extra[:1] in ((ASSOCIATED,), (UNASSOCIATED,)):
        opacity = shown[..., channels : channels + 1] / 255
        colour = colour * (opacity if UNASSOCIATED in layout.extra else 1) + 255 * (1 - opacity)
    stored = unsigned - (highest + 1) // 2 if layout.sample_format == SIGNED else unsigned
    return stored, np.broadcast_to(colour, (HEIGHT, WIDTH, 3))


def forms(layout: Layout) -> Iterator[Layout]:
    """Yield the layout in all compressions, byte orders, strips and tiles."""
    for compression, order, tile, strip_rows in itertools.product(
        (NONE, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, LZMA), "<>", (None, (16, 16)), (7, 1000)
    ):
        if tile is None or strip_rows == 1000:
            yield replace(layout, compression=compression, order=order, tile=tile, strip_rows=strip_rows)
            if compression in (LZW, DEFLATE) and layout.bits in (8, 16):
                yield replace(
                    layout, compression=compression, order=order, tile=tile, strip_rows=strip_rows,
                    predictor=HORIZONTAL,
                )  # fmt: skip


def difference(file: bytes, expected: Array) -> float:
    return float(np.abs(pixels(decode(file, LIMIT)).astype(float) - expected).max())


def header(width: int, height: int, bits: list[int], compression: int, photometric: int) -> dict[int, Any]:
    """Return the tags of a picture in one strip."""
    return {
        256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, bits), 259: (SHORT, [compression]),
        262: (SHORT, [photometric]), 277: (SHORT, [len(bits)]), 278: (LONG, [height]),
    }  # fmt: skip


LAYOUTS = [
    Layout(photometric, bits, sample_format, planes, extra)
    for photometric, bits, sample_format, planes, extra in itertools.product(
        CHANNELS, (1, 2, 4, 8, 12, 16), (UNSIGNED, SIGNED), (CHUNKY, PLANAR),
        ((), (UNSPECIFIED,), (ASSOCIATED,), (UNASSOCIATED,), (UNASSOCIATED, UNSPECIFIED)),
    )
    if (planes == CHUNKY or CHANNELS[photometric] + len(extra) > 1)
    and (sample_format == UNSIGNED or bits >= 8)
    and (ASSOCIATED not in extra or (sample_format == UNSIGNED and photometric in (BLACK_IS_ZERO, RGB)))
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_samples_of_a_tiff_are_the_picture_that_was_written(layout: Layout) -> None:
    samples, expected = written(layout)
    wrong = {
        str(form): worst
        for form in forms(layout)
        if (worst := difference(tiff_file(samples, form), expected))
        > (2 if ASSOCIATED in form.extra else 1.01)
    }
    assert not wrong


@pytest.mark.parametrize("layout", [one for one in LAYOUTS if one.bits in (8, 16)], ids=str)
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_the_writer_of_these_tests_agrees_with_tifffile(layout: Layout, compression: int) -> None:
    samples, _ = written(layout)
    read = tifffile.imread(
        io.BytesIO(tiff_file(samples, replace(layout, compression=compression, strip_rows=7)))
    )
    if layout.planes == PLANAR:
        read = np.moveaxis(read, 0, -1)
    assert np.array_equal(read.reshape(samples.shape), samples)


@pytest.mark.parametrize(
    "layout", [Layout(RGB, 16), Layout(BLACK_IS_ZERO, 8), Layout(RGB, 16, planes=PLANAR)], ids=str
)
@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE])
def test_a_bigtiff_is_the_picture_that_was_written(layout: Layout, compression: int) -> None:
    samples, expected = written(layout)
    assert difference(tiff_file(samples, replace(layout, compression=compression, big=True)), expected) <= 1


OPTIONS: list[dict[str, Any]] = [
    {},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"tile": (16, 32)},
    {"bigtiff": True},
    {"byteorder": ">"},
]
WRITTEN_BY_TIFFFILE = [
    (dtype, options)
    for dtype, options in itertools.product(["uint8", "int8", "uint16", "int16"], OPTIONS)
    if "predictor" not in options or dtype.startswith("uint")  # it has no predictor for signed samples
]


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize(("dtype", "options"), WRITTEN_BY_TIFFFILE, ids=str)
def test_what_tifffile_writes_is_read(planes: str, dtype: str, options: dict[str, Any]) -> None:
    layout = Layout(RGB, int(dtype[-2:].strip("t")), SIGNED if dtype.startswith("int") else UNSIGNED)
    samples, expected = written(layout)
    image = samples.astype(dtype)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.ascontiguousarray(np.moveaxis(image, -1, 0) if planes == "separate" else image),
        photometric="rgb",
        planarconfig=planes,
        **options,
    )
    assert difference(buffer.getvalue(), expected) <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_is_looked_up(bits: int) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (2**bits, 3))
    colour_map = SHORT, (palette.T.ravel() * 257).tolist()
    indices = levels(1) >> (8 - bits)
    for form in forms(Layout(PALETTE, bits)):
        if form.predictor == 1:
            assert difference(tiff_file(indices, form, {320: colour_map}), palette[indices[..., 0]]) == 0, (
                form
            )


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
def test_ycbcr_that_is_not_subsampled_is_converted(compression: int) -> None:
    samples = np.stack(
        [levels(1)[..., 0] // 2 + 60, 100 + levels(1)[..., 0] // 8, 140 - levels(2)[..., 1] // 8], -1
    )
    y, blue, red = (samples[..., i].astype(float) for i in range(3))  # JFIF's form, with all levels used
    expected = np.stack(
        [
            y + 1.402 * (red - 128),
            y - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
            y + 1.772 * (blue - 128),
        ],
        -1,
    )
    tags: dict[int, Any] = {530: (SHORT, [1, 1]), 532: (5, _rationals(0, 255, 128, 255, 128, 255))}
    file = tiff_file(samples, Layout(YCBCR, compression=compression), tags)
    assert difference(file, expected.clip(0, 255)) <= 2


def _rationals(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") + (1).to_bytes(4, "little") for number in numbers)


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
def test_cielab_is_converted(compression: int) -> None:
    lightness = 60 + levels(1)[..., 0] // 2
    a, b = levels(3)[..., 1] // 12 - 10, levels(3)[..., 2] // 12 - 10
    expected = srgb_of_xyz(xyz_of_lab(np.stack([lightness * 100 / 255, a, b], -1)))
    samples = np.stack([lightness, a % 256, b % 256], -1)
    assert difference(tiff_file(samples, Layout(CIELAB, compression=compression)), expected) <= 3


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
@pytest.mark.parametrize("fill_order", [1, 2])
def test_fax_is_read_in_both_senses_and_both_orders_of_bits(
    photometric: int, compression: str, fill_order: int
) -> None:
    black = levels(1)[..., 0] > 128
    with tifffile.TiffFile(
        io.BytesIO(saved(Image.fromarray(~black), "TIFF", compression=compression))
    ) as file:
        page = file.pages.first
        start, length = page.dataoffsets[0], page.databytecounts[0]
        number, writes = int(page.compression), int(page.photometric)
        file.filehandle.seek(start)
        strip = file.filehandle.read(length)
    if fill_order == 2:
        strip = reverse_bits(strip)
    tags = header(WIDTH, HEIGHT, [1], number, photometric) | {266: (SHORT, [fill_order])}
    shown = ~black if photometric == writes else black
    assert difference(wrapped([strip], tags), np.repeat(shown[..., None] * 255, 3, -1)) == 0


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
def test_reversed_bits_are_read(photometric: int, compression: int) -> None:
    layout = Layout(photometric, 1, compression=compression, fill_order=2)
    samples, expected = written(layout)
    assert difference(tiff_file(samples, layout), expected) == 0


@pytest.mark.parametrize(
    ("mode", "photometric"), [("L", BLACK_IS_ZERO), ("RGB", RGB), ("RGB", YCBCR), ("CMYK", CMYK)]
)
def test_a_jpeg_in_a_tiff_is_read(mode: str, photometric: int) -> None:
    plain = chelsea()
    image = plain.convert(mode)
    if mode == "CMYK":  # as TIFF has it: 255 is full ink; Pillow's writer of JPEG inverts
        image = Image.merge("CMYK", [channel.point(lambda value: 255 - value) for channel in image.split()])
    options: dict[str, Any] = {"keep_rgb": True} if photometric == RGB else {}
    strip = saved(image, "JPEG", quality=100, subsampling=0, **options)
    tags = header(90, 60, [8] * len(mode), 7, photometric) | {530: (SHORT, [1, 1])}
    expected = pixels(plain.convert("L").convert("RGB") if mode == "L" else plain)
    assert difference(wrapped([strip], tags), expected) <= 8


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "RGBA"])
def test_zstandard_is_read(mode: str) -> None:
    image = chelsea().convert(mode)  # opaque
    expected = pixels(image.convert("RGB"))
    assert difference(saved(image, "TIFF", compression="zstd"), expected) == 0


def test_a_jpeg_in_a_tiff_of_the_old_style_is_read() -> None:
    strip = saved(chelsea(), "JPEG", quality=100, subsampling=0)
    tags = header(90, 60, [8] * 3, 6, YCBCR) | {
        513: (LONG, [8]),
        514: (LONG, [len(strip)]),
        530: (SHORT, [1, 1]),
    }
    assert difference(wrapped([strip], tags), pixels(chelsea())) <= 8


@pytest.mark.parametrize(
    ("layout", "named"),
    [
        (Layout(BLACK_IS_ZERO, 32), "32-bit grey"),
        (Layout(BLACK_IS_ZERO, 32, SIGNED), "32-bit signed grey"),
        (Layout(BLACK_IS_ZERO, 32, FLOAT), "32-bit floating-point grey"),
        (Layout(RGB, 32, FLOAT, compression=DEFLATE), "32-bit floating-point RGB, deflate"),
        (Layout(BLACK_IS_ZERO, 32, FLOAT, compression=DEFLATE, predictor=FLOATING), "predictor 3"),
        (Layout(BLACK_IS_ZERO, 16, FLOAT), "16-bit floating-point grey"),
        (Layout(RGB, 8, extra=(UNSPECIFIED, UNASSOCIATED)), "several kinds of extra samples"),
        (Layout(WHITE_IS_ZERO, 8, extra=(ASSOCIATED,)), "premultiplied alpha"),
        (Layout(PALETTE, 8, extra=(UNASSOCIATED,)), "palette with alpha"),
        (Layout(9, 8), "colour space 9"),
        (Layout(32803, 16), "colour space 32803"),
        (Layout(BLACK_IS_ZERO, 8, fill_order=2), "reversed bits"),
    ],
    ids=str,
)
def test_what_is_not_known_to_be_read_rightly_is_refused_by_name(layout: Layout, named: str) -> None:
    count = CHANNELS.get(layout.photometric, 1) + len(layout.extra)
    samples = np.zeros((4, 4, count), int)
    with pytest.raises(UnreadableImageError, match=rf"{named}.*Save it"):
        decode(tiff_file(samples, layout, {320: (SHORT, [0] * 768)}), LIMIT)


@pytest.mark.parametrize(("tag", "named"), [((259, 50002), "compression 50002"), ((258, 5), "5-bit")])
def test_a_compression_or_depth_without_a_name_is_refused_by_number(tag: tuple[int, int], named: str) -> None:
    file = tiff_file(np.zeros((4, 4, 1), int), Layout(), {tag[0]: (SHORT, [tag[1]])})
    with pytest.raises(UnreadableImageError, match=named):
        decode(file, LIMIT)


def test_samples_that_are_not_described_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match="undescribed samples"):
        decode(tiff_file(np.zeros((4, 4, 4), int), Layout(RGB)), LIMIT)


def test_16_bit_signed_samples_are_not_called_32_bit() -> None:
    samples, expected = written(Layout(BLACK_IS_ZERO, 16, SIGNED))
    assert difference(tiff_file(samples, Layout(BLACK_IS_ZERO, 16, SIGNED)), expected) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("planes", [CHUNKY, PLANAR])
def test_orientation_holds_for_samples_that_are_taken_apart_here(orientation: int, planes: int) -> None:
    samples, _ = written(Layout(RGB, 8))
    plain = pixels(decode(tiff_file(samples, Layout(RGB, 8), {274: (SHORT, [orientation])}), LIMIT))
    layout = Layout(RGB, 16, planes=planes)
    turned = pixels(decode(tiff_file(samples * 257, layout, {274: (SHORT, [orientation])}), LIMIT))
    assert np.array_equal(turned, plain)


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_samples_that_are_missing_are_refused(compression: int, tile: tuple[int, int] | None) -> None:
    layout = Layout(RGB, 16, planes=PLANAR, compression=compression, tile=tile)
    samples, _ = written(layout)
    file = tiff_file(samples, layout)
    places = slice(8, len(file) // 2)
    with pytest.raises(UnreadableImageError):
        decode(file[: places.start] + file[places.stop :], LIMIT)


def test_a_strip_that_unfolds_to_too_much_is_refused_before_it_is_unfolded() -> None:
    side = 5000
    tags = header(side, side, [16] * 4, DEFLATE, RGB) | {338: (SHORT, [2]), 339: (SHORT, [2] * 4)}
    with pytest.raises(UnreadableImageError, match="too large strips"):
        decode(wrapped([b"x"], tags), LIMIT)


def test_strips_that_overlap_are_refused() -> None:
    strip = zlib.compress(np.random.default_rng(0).bytes(20_000))
    tags = header(100, 100, [16], DEFLATE, WHITE_IS_ZERO) | {278: (LONG, [1])}
    tags |= {273: (LONG, [8] * 100), 279: (LONG, [len(strip)] * 100)}
    with pytest.raises(UnreadableImageError, match="overlap"):
        decode(wrapped([strip], tags, keep=True), LIMIT)


def test_more_samples_than_a_picture_has_are_refused() -> None:
    layout = Layout(RGB, 16, SIGNED, extra=(UNSPECIFIED,) * 4)
    with pytest.raises(UnreadableImageError, match="samples"):
        decode(tiff_file(np.zeros((2, 2, 7), int), layout), LIMIT)


def test_the_limit_of_pixels_holds_for_samples_that_are_taken_apart_here() -> None:
    layout = Layout(RGB, 16, planes=PLANAR)
    samples, _ = written(layout)
    with pytest.raises(TooLargeError):
        decode(tiff_file(samples, layout), HEIGHT * WIDTH - 1)


@pytest.mark.parametrize("icc", [True, False])
def test_xmp_does_not_turn_a_tiff(icc: bool) -> None:
    xmp = b'<x tiff:Orientation="6"/>'
    samples, expected = written(Layout(RGB, 8))
    file = tiff_file(samples, Layout(RGB, 8), {700: (UNDEFINED, xmp)} if icc else {700: (1, xmp)})
    assert difference(file, expected) == 0
