"""Every layout of PNG, GIF, BMP, WebP and JPEG is the picture that was written, or is refused by name."""

import io
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bmp_files import OS2, V3, V3_ALPHA, V4, V5, bmp_file
from gif_files import gif_file, gif_frame
from numpy.typing import NDArray
from pictures import LIMIT, chelsea, pixels, saved
from PIL import Image
from png_files import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, SIGNATURE, chunk, png_file

from app.errors import UnreadableImageError
from app.modalities.image.decoding import decode
from app.modalities.image.jpeg import PADDINGS

Array = NDArray[Any]
HEIGHT, WIDTH = 20, 37
PICTURES = Path(__file__).parent / "pictures"
WHITE = 255


def levels(count: int, bits: int = 8) -> Array:
    """Gradients, (H, W, count), all different."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    slopes = [(7, 3), (5, 11), (2, 9), (3, 8)][:count]
    eight = np.stack([(x * right + y * down + 40 * i) % 256 for i, (right, down) in enumerate(slopes)], -1)
    return (
        eight >> (8 - bits)
        if bits < 8
        else eight * 257 + (x * 31 + y)[..., None] % 251 - eight
        if bits == 16
        else eight
    )


def difference(file: bytes, expected: Array) -> float:
    got = pixels(decode(file, LIMIT)).astype(float)
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max())


def on_white(colour: Array, opacity: Array) -> Array:
    """Composite colours, (H, W, 1 or 3), by opacities in 0…1, (H, W, 1)."""
    return np.broadcast_to(colour * opacity + WHITE * (1 - opacity), (*colour.shape[:2], 3))


# --- what was found ----------------------------------------------------------------------------


@pytest.mark.parametrize("right", sorted(PICTURES.glob("*.right.png")), ids=lambda path: path.name)
def test_a_picture_that_was_once_read_wrongly_is_right(right: Path) -> None:
    file = right.with_name(right.name.removesuffix(".right.png")).read_bytes()
    with Image.open(right) as expected:
        assert difference(file, np.asarray(expected.convert("RGB"))) <= (2 if "12bit" in right.name else 1)


# --- PNG ---------------------------------------------------------------------------------------

DEPTHS = [
    *((GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((kind, bits) for kind in (RGB, GREY_ALPHA, RGBA) for bits in (8, 16)),
]
SAMPLES = {GREY: 1, PALETTE: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}


@pytest.mark.parametrize(("kind", "bits"), DEPTHS)
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("interlaced", [False, True])
def test_samples_of_a_png_are_the_picture_that_was_written(
    kind: int, bits: int, transparent: bool, interlaced: bool
) -> None:
    samples = levels(SAMPLES[kind], bits)
    chunks: list[bytes] = []
    shown, opacity = samples * 255 / (2**bits - 1), np.ones((HEIGHT, WIDTH, 1))
    if kind == PALETTE:
        palette = np.random.default_rng(0).integers(0, 256, (2**bits, 3))
        chunks.append(chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
        shown = palette[samples[..., 0]]
        if transparent:
            alphas = np.arange(2**bits) * 255 // (2**bits - 1)
            chunks.append(chunk(b"tRNS", alphas.astype(np.uint8).tobytes()))
            opacity = alphas[samples] / 255
    elif kind in (GREY_ALPHA, RGBA):
        shown, opacity = shown[..., :-1], shown[..., -1:] / 255
    elif transparent:
        key = samples[HEIGHT // 2, WIDTH // 2]
        chunks.append(chunk(b"tRNS", key.astype(">u2").tobytes()))
        opacity = (samples != key).any(-1, keepdims=True).astype(float)
        assert 0 < (opacity == 0).sum() < opacity.size / 1.5
    file = png_file(samples, bits, kind, chunks, interlaced=interlaced)
    assert difference(file, on_white(shown, opacity)) <= 1.1


@pytest.mark.parametrize("kind", [GREY, RGB])
def test_colours_that_differ_from_the_transparent_one_in_their_lower_byte_are_not_transparent(
    kind: int,
) -> None:
    key = 0x1234
    samples = np.full((1, 3, SAMPLES[kind]), key)
    samples[0, 1], samples[0, 2] = key + 1, key - 0x100
    file = png_file(samples, 16, kind, [chunk(b"tRNS", struct.pack(">H", key) * SAMPLES[kind])])
    assert pixels(decode(file, LIMIT))[0, :, 0].tolist() == [255, 0x12, 0x11]


@pytest.mark.parametrize(("kind", "bits"), [(GREY, 2), (GREY, 4), (GREY, 8), (RGB, 8)])
def test_only_the_lowest_bits_of_a_transparent_colour_count(kind: int, bits: int) -> None:
    samples = np.full((1, 1, SAMPLES[kind]), 1)
    file = png_file(samples, bits, kind, [chunk(b"tRNS", struct.pack(">H", 0xFF00 | 1) * SAMPLES[kind])])
    assert pixels(decode(file, LIMIT)).min() == WHITE


PICTURE = png_file(levels(3), 8, RGB)


def with_chunk(kind: bytes, content: bytes, *, broken: bool = True) -> bytes:
    """Put a chunk behind the header; a broken one has a wrong checksum."""
    extra = bytearray(chunk(kind, content))
    extra[-1] ^= broken
    return PICTURE[:33] + bytes(extra) + PICTURE[33:]


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"gAMA", b"eXIf", b"prVt"])
def test_a_wrong_checksum_in_a_chunk_that_does_not_change_the_picture_is_no_reason_to_refuse(
    kind: bytes,
) -> None:
    assert difference(with_chunk(kind, b"Title\0" + bytes(40)), levels(3)) == 0


def test_a_wrong_checksum_of_a_profile_is_a_warning() -> None:
    picture = decode(with_chunk(b"iCCP", b"Title\0" + bytes(40)), LIMIT)
    assert np.array_equal(pixels(picture), levels(3))
    assert ["profile" in warning for warning in picture.warnings] == [True]


def test_chunks_with_wrong_checksums_may_be_behind_the_pixels_and_several() -> None:
    bad = chunk(b"tEXt", b"a\0b")[:-1] + b"?"
    file = PICTURE[:33] + bad + bad + PICTURE[33:-12] + bad + PICTURE[-12:]
    assert difference(file, levels(3)) == 0


@pytest.mark.parametrize("kind", [b"tRNS", b"PLTE", b"IHDR", b"IDAT", b"IEND"])
def test_a_wrong_checksum_in_a_chunk_that_does_is_one(kind: bytes) -> None:
    file = with_chunk(kind, bytes(6)) if kind in (b"tRNS", b"PLTE") else bytearray(PICTURE)
    if isinstance(file, bytearray):
        at = file.index(kind)
        file[at + 4 + int.from_bytes(file[at - 4 : at], "big")] ^= 1
    with pytest.raises(UnreadableImageError, match="checksum"):
        decode(bytes(file), LIMIT)


@pytest.mark.parametrize(("bits", "kind"), [(16, PALETTE), (3, GREY), (8, 5)])
def test_a_png_of_a_depth_or_kind_that_there_is_not_is_refused(bits: int, kind: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, bits, kind, 0, 0, 0))
    with pytest.raises(UnreadableImageError):
        decode(SIGNATURE + header + chunk(b"IDAT", bytes(9)) + chunk(b"IEND"), LIMIT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("exif_says", [None, 3])
def test_an_orientation_in_xmp_is_ignored(kind: str, exif_says: int | None) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    plain = saved(chelsea(), kind, quality=100)
    exif = Image.Exif()
    if exif_says:
        exif[0x0112] = exif_says
    if kind == "PNG":
        at = plain.index(b"IDAT") - 4
        file = plain[:at] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + plain[at:]
        file = file if exif_says is None else file[:33] + chunk(b"eXIf", exif.tobytes()[6:]) + file[33:]
    elif kind == "TIFF":
        file = saved(chelsea(), kind, tiffinfo={700: xmp, **({0x0112: exif_says} if exif_says else {})})
    else:
        file = saved(chelsea(), kind, quality=100, xmp=xmp, exif=exif)
    expected = pixels(decode(plain, LIMIT))
    assert difference(file, expected[::-1, ::-1] if exif_says else expected) <= (3 if kind == "JPEG" else 0)


# --- GIF ---------------------------------------------------------------------------------------

COLOURS = [(int(r), int(g), int(b)) for r, g, b in np.random.default_rng(1).integers(0, 255, (256, 3))]
OTHERS = COLOURS[::-1]
STEPS = [(level, level, level) for level in range(256)]


@pytest.mark.parametrize("palette", [COLOURS, STEPS], ids=["colours", "steps"])
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("transparent", [None, 0, 7])
@pytest.mark.parametrize("place", [(0, 0), (3, 4)])
@pytest.mark.parametrize("margin", [0, 5])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_gif_is_its_first_frame_and_white_where_nothing_covers_the_canvas(
    palette: list[tuple[int, int, int]],
    local: bool,
    transparent: int | None,
    place: tuple[int, int],
    margin: int,
    interlaced: bool,
) -> None:
    indices = levels(1)[..., 0]
    left, top = place
    canvas = WIDTH + left + margin, HEIGHT + top + margin
    frame = gif_frame(indices, place, palette if local else None, transparent, interlaced=interlaced)
    expected = np.full((canvas[1], canvas[0], 3), WHITE)
    shown = np.array(palette)[indices]
    shown[indices == transparent] = WHITE
    expected[top : top + HEIGHT, left : left + WIDTH] = shown
    file = gif_file(canvas, OTHERS if local else palette, frame, gif_frame(indices // 2), background=9)
    assert difference(file, expected) == 0


# --- BMP ---------------------------------------------------------------------------------------


# The oldest header has neither a direction nor a number of colours.
HEADERS = [(OS2, False, "all"), *itertools.product([V3, V4, V5], [False, True], ["all", "two", "half"])]


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize(("header_bytes", "top_down", "used"), HEADERS)
@pytest.mark.parametrize("kind", ["colours", "steps", "white steps", "black and white"])
def test_the_palette_of_a_bmp_is_looked_up(
    bits: int, header_bytes: int, top_down: bool, used: str, kind: str
) -> None:
    count = {"all": 2**bits, "two": 2, "half": 2 ** (bits - 1)}[used]
    palette = {
        "colours": COLOURS[:count],
        "steps": STEPS[:count],
        "white steps": STEPS[::-1][:count],
        "black and white": [(0, 0, 0), (255, 255, 255), *COLOURS][:count],
    }[kind]
    indices = levels(1)[..., 0] % count
    file = bmp_file(indices, bits, palette=palette, header_bytes=header_bytes, top_down=top_down)
    assert difference(file, np.array(palette)[indices]) == 0


WORDS = [
    (16, (), {"r": (10, 5), "g": (5, 5), "b": (0, 5)}),
    (16, (0x7C00, 0x3E0, 0x1F, 0), {"r": (10, 5), "g": (5, 5), "b": (0, 5)}),
    (16, (0xF800, 0x7E0, 0x1F, 0), {"r": (11, 5), "g": (5, 6), "b": (0, 5)}),
    (24, (), {"r": (16, 8), "g": (8, 8), "b": (0, 8)}),
    (32, (), {"r": (16, 8), "g": (8, 8), "b": (0, 8)}),
    (32, (0xFF0000, 0xFF00, 0xFF, 0), {"r": (16, 8), "g": (8, 8), "b": (0, 8)}),
    (32, (0xFF000000, 0xFF0000, 0xFF00, 0), {"r": (24, 8), "g": (16, 8), "b": (8, 8)}),
    (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), {"r": (16, 8), "g": (8, 8), "b": (0, 8), "a": (24, 8)}),
    (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), {"r": (0, 8), "g": (8, 8), "b": (16, 8), "a": (24, 8)}),
    (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), {"r": (24, 8), "g": (16, 8), "b": (8, 8), "a": (0, 8)}),
]


@pytest.mark.parametrize(
    ("bits", "masks", "fields", "header_bytes"),
    [
        (*word, header)
        for word, header in itertools.product(WORDS, [V3, V3_ALPHA, V4, V5])
        if header != V3 or "a" not in word[2]  # the shortest header has no alpha
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("top_down", [False, True])
def test_bit_fields_of_a_bmp_are_taken_apart(
    bits: int, masks: tuple[int, ...], fields: dict[str, tuple[int, int]], header_bytes: int, top_down: bool
) -> None:
    words, channels = np.zeros((HEIGHT, WIDTH), np.int64), {}
    for (name, (shift, length)), level in zip(fields.items(), np.moveaxis(levels(4), 2, 0), strict=False):
        words |= (level >> (8 - length)) << shift
        channels[name] = (level >> (8 - length)) * 255 / (2**length - 1)
    colour = np.stack([channels["r"], channels["g"], channels["b"]], -1)
    expected = on_white(colour, channels.get("a", np.full((HEIGHT, WIDTH), 255))[..., None] / 255)
    file = bmp_file(words, bits, masks=masks, header_bytes=header_bytes, top_down=top_down)
    assert difference(file, expected) <= 1.01


def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque() -> None:
    masks = 0xFF0000, 0xFF00, 0xFF, 0xFF000000
    colours = levels(3)
    words = colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]
    assert difference(bmp_file(words, 32, masks=masks, header_bytes=V5), colours) == 0


@pytest.mark.parametrize("header_bytes", [V3, V4, V5])
@pytest.mark.parametrize("fourth", [0, 255, "levels"])
def test_the_fourth_byte_of_a_bmp_without_bit_fields_is_no_alpha(
    header_bytes: int, fourth: int | str
) -> None:
    """It is unused, as Windows documents, whatever its value is; Pillow and browsers agree for the header V3."""
    colours = levels(3)
    byte = levels(4)[..., 3] if isinstance(fourth, str) else np.full((HEIGHT, WIDTH), fourth)
    words = byte.astype(np.int64) << 24 | colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]
    assert difference(bmp_file(words, 32, header_bytes=header_bytes), colours) == 0


@pytest.mark.parametrize(
    ("bits", "masks", "named"),
    [(32, (0xFF, 0xFF00, 0xFF0000, 0), "bit fields"), (16, (0xF00, 0xF0, 0xF, 0xF000), "bit fields"),
     (16, (0x1F, 0x7E0, 0xF800, 0), "bit fields"), (32, (0x3FF00000, 0xFFC00, 0x3FF, 0), "bit fields")],
)  # fmt: skip
def test_unusual_bit_fields_are_refused_by_name(bits: int, masks: tuple[int, ...], named: str) -> None:
    with pytest.raises(UnreadableImageError, match=named):
        decode(bmp_file(np.zeros((2, 2), int), bits, masks=masks, header_bytes=V4), LIMIT)


# --- WebP --------------------------------------------------------------------------------------


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def three_bytes(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("flags", [0x02, 0x12])
def test_the_canvas_of_a_webp_that_its_first_frame_does_not_cover_is_white(mode: str, flags: int) -> None:
    image = chelsea().convert(mode)
    still = saved(image, "WEBP", lossless=True)[12:]
    place = three_bytes(4 // 2) + three_bytes(6 // 2) + three_bytes(89) + three_bytes(59)
    frames = [(b"ANMF", place + three_bytes(100) + b"\0" + still)] * 2
    canvas = bytes((flags, 0, 0, 0)) + three_bytes(99) + three_bytes(69)
    file = riff((b"VP8X", canvas), (b"ANIM", struct.pack("<IH", 0xFF203040, 0)), *frames)
    expected = np.full((70, 100, 3), WHITE)
    expected[6:66, 4:94] = pixels(chelsea())
    assert difference(file, expected) == 0


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_with_alpha_is_laid_on_white(lossless: bool) -> None:
    image = chelsea().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    expected = on_white(pixels(image)[..., :3].astype(float), pixels(image)[..., 3:] / 255)
    file = saved(image, "WEBP", lossless=lossless, exact=True, quality=100)
    difference_ = np.abs(pixels(decode(file, LIMIT)).astype(float) - expected)
    assert difference_.max() <= 1.01 if lossless else difference_.mean() < 4


# --- JPEG --------------------------------------------------------------------------------------


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return saved(image, "JPEG", **{"quality": 100, "subsampling": 0, **options})


def without_segment(file: bytes, code: int) -> bytes:
    at = file.index(bytes((0xFF, code)))
    return file[:at] + file[at + 2 + int.from_bytes(file[at + 2 : at + 4], "big") :]


def adobe(transform: int) -> bytes:
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes((transform,))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 2}, {"keep_rgb": True}, {"restart_marker_rows": 1}], ids=str
)
def test_a_jpeg_is_close_to_what_was_saved(progressive: bool, options: dict[str, Any]) -> None:
    got = pixels(decode(jpeg(chelsea(), progressive=progressive, **options), LIMIT)).astype(float)
    assert np.abs(got - pixels(chelsea())).mean() < 3


def test_an_extended_jpeg_of_8_bits_is_what_a_baseline_one_is() -> None:
    file = jpeg(chelsea())
    extended = file.replace(b"\xff\xc0", b"\xff\xc1", 1)  # it may have more tables, and need not
    assert difference(extended, pixels(decode(file, LIMIT))) == 0


def test_a_jpeg_without_any_marker_of_colour_is_told_by_its_components() -> None:
    plain, coded = jpeg(chelsea()), jpeg(chelsea(), keep_rgb=True)
    assert (
        np.abs(pixels(decode(without_segment(plain, 0xE0), LIMIT)).astype(int) - pixels(chelsea())).max() <= 8
    )
    assert (
        np.abs(pixels(decode(without_segment(coded, 0xEE), LIMIT)).astype(int) - pixels(chelsea())).max() <= 3
    )


def test_inverted_cmyk_as_adobe_writes_it_is_read() -> None:
    file = jpeg(chelsea().convert("CMYK"))
    assert b"\xff\xee\x00\x0eAdobe" in file
    assert np.abs(pixels(decode(file, LIMIT)).astype(int) - pixels(chelsea())).max() <= 8


def test_ycck_is_read() -> None:
    # Pillow writes 255 - value, without a transform: so these become Y, Cb, Cr of the inks, and no black.
    ink = Image.merge("RGB", [channel.point(lambda value: 255 - value) for channel in chelsea().split()])
    bands = [channel.point(lambda value: 255 - value) for channel in ink.convert("YCbCr").split()]
    file = jpeg(Image.merge("CMYK", [*bands, Image.new("L", ink.size, 0)]))
    file = file.replace(adobe(0), adobe(2))
    assert np.abs(pixels(decode(file, LIMIT)).astype(int) - pixels(chelsea())).max() <= 8


def test_cmyk_of_which_nothing_says_whether_it_is_inverted_is_refused_by_name() -> None:
    with pytest.raises(UnreadableImageError, match="CMYK without Adobe's marker"):
        decode(without_segment(jpeg(chelsea().convert("CMYK")), 0xEE), LIMIT)


@pytest.mark.parametrize(
    ("code", "bits", "components", "named"),
    [
        (0xC3, 8, 3, "lossless"),
        (0xC9, 8, 3, "arithmetic"),
        (0xC1, 12, 1, "12-bit grey"),
        (0xC5, 8, 1, "hierarchical"),
        (0xC0, 8, 2, "2 components"),
    ],
)
def test_a_jpeg_of_a_rare_process_is_refused_by_name(
    code: int, bits: int, components: int, named: str
) -> None:
    content = struct.pack(">BHHB", bits, 8, 8, components) + b"".join(
        bytes((i + 1, 0x11, 0)) for i in range(components)
    )
    frame = bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content
    with pytest.raises(UnreadableImageError, match=named):
        decode(
            b"\xff\xd8" + frame + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(99) + b"\xff\xd9", LIMIT
        )


FORMS: list[dict[str, Any]] = [
    {}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 2}, {"quality": 30},
    {"optimize": True}, {"progressive": True, "quality": 20},
]  # fmt: skip


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("left_over", [0, 1])
def test_a_jpeg_without_its_end_marker_is_taken(options: dict[str, Any], mode: str, left_over: int) -> None:
    file = jpeg(chelsea().convert(mode), **options)
    assert file.endswith(b"\xff\xd9")
    assert difference(file[: len(file) - 2 + left_over], pixels(decode(file, LIMIT))) == 0


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("missing", [8, 16, 40, 100, 400, 700])
def test_a_jpeg_without_all_pixels_is_refused(options: dict[str, Any], mode: str, missing: int) -> None:
    file = jpeg(chelsea().convert(mode), **options)[:-2]
    with pytest.raises(UnreadableImageError):
        decode(file[:-missing], LIMIT)


def test_a_progressive_jpeg_that_ends_between_two_scans_is_refused() -> None:
    file = jpeg(chelsea(), progressive=True)
    scans = [at for at in range(len(file)) if file[at : at + 2] in (b"\xff\xda", b"\xff\xc4") and at > 700]
    refused = 0
    for at in scans:
        with pytest.raises(UnreadableImageError):
            decode(file[:at], LIMIT)
        refused += 1
    assert refused > 5


def test_a_segment_that_is_longer_than_the_file_is_refused_after_one_look() -> None:
    file = jpeg(chelsea())[:-2] + b"\xff\xe1\xff\xff"
    with pytest.raises(UnreadableImageError, match="cut short"):
        decode(file, LIMIT)


def test_what_is_put_in_place_of_missing_data_has_no_marker() -> None:
    assert all(b"\xff" not in padding for padding in PADDINGS)


def test_a_jpeg_without_end_and_with_too_many_pixels_is_not_decoded() -> None:
    file = bytearray(jpeg(Image.new("L", (100, 100)))[:-2])
    assert decode(bytes(file), 10_000).width == 100
    with pytest.raises(Exception, match="million"):
        decode(bytes(file), 9_999)


def test_no_metadata_of_any_kind_stays() -> None:
    out = io.BytesIO()
    decode(jpeg(chelsea(), xmp=b"<secret/>", comment=b"secret"), LIMIT).image.save(out, "PNG")
    assert b"secret" not in out.getvalue()
