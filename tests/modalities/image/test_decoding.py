"""Uploads: every form of the same pixels is the same picture, and no bytes raise anything but our errors."""

import contextlib
import re
import struct
import tracemalloc
import warnings
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import LIMIT, SAVED_AS, chelsea, pixels, saved
from PIL import Image, ImageFile, PngImagePlugin

from app.errors import EmptyImageError, RequestError, TooLargeError, UnreadableImageError
from app.modalities.image.decoding import FORMATS, decode
from app.modalities.image.file_checks import (
    GIF_BLOCKS,
    JPEG_SCANS,
    JPEG_SEGMENTS,
    METADATA_BYTES,
    PNG_CHUNKS,
    PNG_COMPRESSED_CHUNKS,
    PNG_OTHER_CHUNKS,
    TIFF_VALUES,
)

PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112
WIDTH, HEIGHT, STRIPS, STRIP_BYTES, X_RESOLUTION, COLOURS = 256, 257, 273, 279, 282, 320
TILE_WIDTH, TILE_HEIGHT, TILES = 322, 323, 324
TIFF_HEADS = [b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0"]


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def segment(code: int, content: bytes) -> bytes:
    """One of a JPEG."""
    return bytes((0xFF, code)) + struct.pack(">H", len(content) + 2) + content


def tiff(tags: dict[int, Any], head: bytes = b"II*\0", at: int = 0) -> bytes:
    """A TIFF of ``tags``: one number each, or a kind and how many ones. ``at`` bytes will go behind its head."""
    order, big = "<" if head.startswith(b"I") else ">", head == b"II+\0"
    word = "Q" if big else "L"
    width = struct.calcsize(order + word)
    begin = struct.pack(order + ("HHQ" if big else "L"), *((8, 0, 16 + at) if big else (8 + at,)))
    entry_at = len(head + begin) + at + (8 if big else 2)
    behind = entry_at + len(tags) * (4 + 2 * width) + width
    entries, values = b"", b""
    for tag, said in sorted(tags.items()):
        kind, count = said if isinstance(said, tuple) else (4, 1)
        content = b"\1" * ({1: 1, 4: 4, 5: 8}[kind] * count)
        if not isinstance(said, tuple):
            content = struct.pack(order + "L", said)
        if len(content) > width:
            values, content = values + content, struct.pack(order + word, behind + len(values))
        entries += struct.pack(order + "HH" + word, tag, kind, count) + content.ljust(width, b"\0")
    number = struct.pack(order + ("Q" if big else "H"), len(tags))
    return head + begin + number + entries + bytes(width) + values


def png_header(width: int, height: int) -> bytes:
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


class Watched(bytes):
    """A file that counts how often somebody looks into it."""

    looks = 0

    def __getitem__(self, where: Any) -> Any:
        self.looks += 1
        return super().__getitem__(where)


@dataclass
class Pillow:
    """What was asked of the library: files opened, and formats decoded."""

    opened: int = 0
    decoded: list[str | None] = field(default_factory=list)


@pytest.fixture
def pillow(monkeypatch: pytest.MonkeyPatch) -> Pillow:
    """A record: an error raised inside the library would be taken for the decoder's own."""
    record, opens, load = Pillow(), Image.open, ImageFile.ImageFile.load

    def recorded_open(*args: Any, **options: Any) -> ImageFile.ImageFile:
        record.opened += 1
        return opens(*args, **options)

    def recorded_load(self: ImageFile.ImageFile) -> Any:
        record.decoded.append(self.format)
        return load(self)

    monkeypatch.setattr(Image, "open", recorded_open)
    monkeypatch.setattr(ImageFile.ImageFile, "load", recorded_load)
    return record


# --- rows 1 to 4: bombs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest", [b"", chunk(b"IEND"), chunk(b"IDAT", b"x"), chunk(b"IDAT", b"x") + chunk(b"IEND")]
)
def test_a_png_header_of_50000_by_50000_is_too_large_before_decoding(rest: bytes, pillow: Pillow) -> None:
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        decode(png_header(50_000, 50_000) + rest, LIMIT)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 20e6
    assert pillow.opened == 0


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP", "TIFF", "WEBP", "PNG"])
def test_more_pixels_than_the_limit_are_refused_before_decoding(kind: str, pillow: Pillow) -> None:
    with pytest.raises(TooLargeError, match="Scale it down"):
        decode(saved(Image.new("L", (101, 100)), kind), 10_000)
    assert pillow.decoded == []


def test_26_megapixels_are_too_many_and_the_limit_itself_is_not(pillow: Pillow) -> None:
    assert decode(saved(Image.new("L", (100, 100))), 10_000).width == 100
    pillow.decoded.clear()
    with pytest.raises(TooLargeError, match="25 million"):
        decode(saved(Image.new("1", (6500, 4000))), LIMIT)
    assert pillow.decoded == []


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_side_that_is_too_long_is_refused_before_decoding(kind: str, pillow: Pillow) -> None:
    with pytest.raises(TooLargeError, match="65535 pixels"):
        decode(saved(Image.new("1", (1, 65_536)), kind), LIMIT)
    assert pillow.decoded == []


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF"])
def test_what_pillow_calls_a_bomb_is_too_large(kind: str) -> None:
    file = bytearray(saved(Image.new("L", (1, 1)), kind))
    if kind == "BMP":
        file[18:26] = struct.pack("<ii", 60_000, 60_000)
    elif kind == "GIF":
        file[6:10] = struct.pack("<HH", 60_000, 60_000)
    else:
        for tag in (256, 257):  # ImageWidth, ImageLength: type 4 (32 bits), one value
            at = file.index(struct.pack("<H", tag), struct.unpack("<I", file[4:8])[0])
            file[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 60_000)
    with pytest.raises(TooLargeError):
        decode(bytes(file), LIMIT)


@pytest.mark.parametrize(
    "file",
    [
        png_header(5, 5) + chunk(b"abCd") * (PNG_OTHER_CHUNKS + 1) + chunk(b"IEND"),
        png_header(5, 5) + chunk(b"abCd") * 400_000 + chunk(b"IEND"),
        png_header(5, 5) + chunk(b"IDAT") * (PNG_CHUNKS + 1) + chunk(b"IEND"),
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * (JPEG_SEGMENTS + 1),
        b"\xff\xd8" + b"\xff\xda\x00\x02" * (JPEG_SCANS + 1),
        b"\xff\xd8" + b"\xff" * 8_000_000 + b"\xd9",
        b"\xff\xd8\xff\xfe\x00\x02" + b"\x00" * 8_000_000 + b"\xff\xd9",
        b"GIF89a" + bytes(7) + b"!\xfe" + b"\x01a" * (GIF_BLOCKS + 1),
        b"GIF89a" + bytes(7) + b"!\xfe\x00" * (GIF_BLOCKS + 1),
        b"GIF89a" + bytes(7) + b"?" * (GIF_BLOCKS + 1),
        b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, 400_000) + bytes(20 * 400_000),
        png_header(5, 5) + chunk(b"iCCP") * (PNG_COMPRESSED_CHUNKS + 1) + chunk(b"IEND"),
        b"\xff\xd8" + segment(0xC0, bytes(65_000)) * 9,
        b"\xff\xd8" + segment(0xDB, bytes(65_000)) * 9,
        b"\xff\xd8" + segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 9,
        b"\xff\xd8" + segment(0xED, b"Photoshop 3.0\0" + bytes(65_000)) * 9,
    ],
    ids=lambda file: f"{file[:6]!r}, {len(file)} bytes",
)
def test_a_file_of_too_many_parts_is_refused_before_pillow_parses_it(file: bytes, pillow: Pillow) -> None:
    watched = Watched(file)
    with pytest.raises(UnreadableImageError, match="too many"):
        decode(watched, LIMIT)
    assert pillow.opened == 0
    assert watched.looks < 140_000  # of up to 8 million bytes: about 30 ms


@pytest.mark.parametrize("head", TIFF_HEADS)
@pytest.mark.parametrize(
    "tags",
    [
        {STRIPS: (4, TIFF_VALUES // 2 + 1), STRIP_BYTES: (4, TIFF_VALUES // 2)},
        {STRIPS: (1, 400_000)},
        {TILES: (4, TIFF_VALUES + 1)},
        {X_RESOLUTION: (5, 400_000)},
        {COLOURS: (1, 400_000)},
        {TILE_WIDTH: 46_000, TILE_HEIGHT: 46_000},
        {TILE_WIDTH: 16, TILE_HEIGHT: 2_000_000},
    ],
    ids=str,
)
def test_a_tiff_of_too_many_values_or_too_large_tiles_is_refused_before_pillow_parses_it(
    tags: dict[int, Any], head: bytes, pillow: Pillow
) -> None:
    with pytest.raises(UnreadableImageError, match="too many"):
        decode(tiff({WIDTH: 100, HEIGHT: 100, **tags}, head), LIMIT)
    assert pillow.opened == 0


@pytest.mark.parametrize("head", TIFF_HEADS)
@pytest.mark.parametrize("pointer", [34665, 34853, 40965])
def test_a_tiffs_exif_may_have_no_more_values_than_the_rest(
    pointer: int, head: bytes, pillow: Pillow
) -> None:
    head_bytes = 16 if head == b"II+\0" else 8
    inner = tiff({X_RESOLUTION: (5, 400_000)}, head)[head_bytes:]
    outer = tiff({WIDTH: 1, HEIGHT: 1, pointer: head_bytes}, head, at=len(inner))
    with pytest.raises(UnreadableImageError, match="too many"):
        decode(outer[:head_bytes] + inner + outer[head_bytes:], LIMIT)
    assert pillow.opened == 0


def test_a_tiff_of_ten_thousand_strips_of_one_row_is_taken() -> None:
    file = saved(Image.new("L", (1, 10_000)), "TIFF", compression="packbits", strip_size=1)
    assert decode(file, LIMIT).height == 10_000
    assert struct.pack("<HHI", STRIPS, 4, 10_000) in file


def test_a_big_endian_bigtiff_which_pillow_mistakes_for_another_is_refused(pillow: Pillow) -> None:
    with pytest.raises(UnreadableImageError, match="BigTIFF"):
        decode(b"MM\0+" + struct.pack(">HHQ", 8, 0, 16) + bytes(99), LIMIT)
    assert pillow.opened == 0


@pytest.mark.parametrize(("compression", "bits"), [(1, 8), (2, 4)])
@pytest.mark.parametrize("width", [9, 25_000_000])
def test_a_run_length_encoded_bmp_is_refused_in_words(
    compression: int, bits: int, width: int, pillow: Pillow
) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, bits, compression, 0, 0, 0, 0, 0)
    with pytest.raises(UnreadableImageError, match=r"RLE.*Save it again"):
        decode(b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + bytes(1024) + b"\1\0\0\0\0\1", LIMIT)
    assert pillow.opened == 0


def test_a_bmp_of_os2_has_no_compression_to_be_refused_for() -> None:
    header = struct.pack("<IHHHH", 12, 2, 1, 1, 24)
    pixel_rows = b"\0\0\0\0\1\0\0\0"  # where a later header has its compression
    file = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + header + pixel_rows
    assert decode(file, LIMIT).width == 2


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize(("values", "turned"), [(1, True), (METADATA_BYTES, False)])
def test_exif_turns_a_picture_unless_it_is_too_large_to_unpack(kind: str, values: int, turned: bool) -> None:
    where = 6 if values == 1 else 26  # the value itself, or where the values are
    entry = struct.pack("<HHIII", ORIENTATION, 3, values, where, 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + struct.pack("<H", 6) * values
    picture = decode(saved(chelsea(), kind, exif=exif), LIMIT)
    assert picture.width == (60 if turned else 90)


def test_ordinary_files_with_many_parts_are_taken() -> None:
    image = chelsea()
    text = PngImagePlugin.PngInfo()
    for number in range(200):
        text.add_text(f"key{number}", "value")
    assert np.array_equal(pixels(decode(saved(image, pnginfo=text), LIMIT)), pixels(image))
    progressive = decode(saved(image, "JPEG", progressive=True, restart_marker_rows=1), LIMIT)
    assert np.array_equal(pixels(progressive), pixels(decode(saved(image, "JPEG"), LIMIT)))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_a_compressed_bomb_in_a_text_or_profile_is_unreadable(kind: bytes) -> None:
    bomb = chunk(kind, b"a\0\0" + zlib.compress(bytes(100_000_000), 1))
    pixel = chunk(b"IDAT", zlib.compress(bytes(16 * 5)))
    with pytest.raises(UnreadableImageError):
        decode(png_header(5, 5) + bomb + pixel + chunk(b"IEND"), LIMIT)


# --- rows 5 and 6: not pictures -----------------------------------------------------------------


def test_no_bytes_are_a_bad_request() -> None:
    with pytest.raises(EmptyImageError, match="empty"):
        decode(b"", LIMIT)


@pytest.mark.parametrize("kind", SAVED_AS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_unreadable(kind: str, share: float) -> None:
    file = saved(chelsea(), kind, **SAVED_AS[kind])
    with pytest.raises(UnreadableImageError):
        decode(file[: int(len(file) * share)], LIMIT)


@pytest.mark.parametrize(
    "file", [b"\0", b"GIF", b"noise" * 999, PNG, b"\xff\xd8\xff", b"II*\0", b"BM", b"RIFF"]
)
def test_noise_and_bare_signatures_are_unreadable(file: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode(file, LIMIT)


@pytest.mark.parametrize(
    "file",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        b"8BPS\0\x01" + bytes(6) + b"\0\x03" + bytes(99),
        saved(Image.new("RGB", (16, 16)), "ICO"),
        saved(Image.new("RGB", (16, 16)), "PDF"),
    ],
    ids=["EPS", "SVG", "PSD", "ICO", "PDF"],
)
def test_the_parsers_of_other_formats_never_run(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()  # every plugin that there is
    asked: list[str] = []

    def recorded(name: str, factory: Any) -> Any:
        def make(*args: Any) -> Any:
            asked.append(name)
            return factory(*args)

        return make

    for name, (factory, accepts) in list(Image.OPEN.items()):
        monkeypatch.setitem(Image.OPEN, name, (recorded(name, factory), accepts))
    with pytest.raises(UnreadableImageError):
        decode(file, LIMIT)
    assert set(asked) <= set(FORMATS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(sorted(SAVED_AS)),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_are_pictures_or_our_errors(
    kind: str, cut: float, changes: list[tuple[float, int]]
) -> None:
    file = bytearray(saved(chelsea().resize((12, 9)), kind, **SAVED_AS[kind]))
    for where, value in changes:
        file[int(where**3 * len(file))] = value  # the third power: headers break more ways than pixels
    with contextlib.suppress(RequestError):
        picture = decode(bytes(file[: round(len(file) * (1 - cut**4))]), 1_000_000)
        assert picture.image.mode == "RGB"
        assert picture.width * picture.height <= 1_000_000


@pytest.mark.parametrize("file", [b"noise" * 999, png_header(9, 9), b"GIF89a" + bytes(9), b"II*\0" * 9])
def test_errors_speak_to_people(file: bytes) -> None:
    with pytest.raises(UnreadableImageError) as raised:
        decode(file, LIMIT)
    assert re.search(r"(Send|Save) .*\.$", raised.value.detail)
    assert not re.search(r"0x|/|Traceback|Error|BytesIO", raised.value.detail)


def test_pillows_warnings_are_neither_printed_nor_raised(capfd: pytest.CaptureFixture[str]) -> None:
    broken_exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", ORIENTATION, 3, 1000, 2**31)
    file = saved(chelsea(), "JPEG", exif=broken_exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(file, LIMIT).width == 90
        Image.MAX_IMAGE_PIXELS, before = 4000, Image.MAX_IMAGE_PIXELS
        try:
            assert decode(file, LIMIT).width == 90
        finally:
            Image.MAX_IMAGE_PIXELS = before
    assert capfd.readouterr() == ("", "")


# --- rows 7 to 10: every form of a picture ------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts_and_a_warning_says_so(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    picture = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options), LIMIT)
    assert picture.image.getpixel((4, 4)) == (255, 0, 0)
    assert len(picture.warnings) == 1
    assert "first" in picture.warnings[0]


def test_the_second_picture_in_a_jpeg_is_no_animation() -> None:
    picture = decode(saved(chelsea(), "MPO", save_all=True, append_images=[chelsea()]), LIMIT)
    assert picture.format == "JPEG"
    assert picture.warnings == ()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    picture = decode(saved(chelsea(), kind, **SAVED_AS[kind]), LIMIT)
    assert np.array_equal(pixels(picture), pixels(chelsea()))
    assert (picture.format, picture.width, picture.height, picture.warnings) == (kind, 90, 60, ())


@pytest.mark.parametrize(
    ("plain", "variant", "kind"),
    [
        (chelsea(), chelsea().convert("CMYK"), "TIFF"),
        (chelsea(), chelsea().convert("RGBA"), "PNG"),
        (chelsea().convert("L"), chelsea().convert("L"), "PNG"),
        (chelsea().convert("L"), chelsea().convert("LA"), "PNG"),
        (chelsea().convert("1"), chelsea().convert("1"), "PNG"),
        (chelsea().quantize(64), chelsea().quantize(64), "PNG"),
        (chelsea().quantize(64), chelsea().quantize(64), "GIF"),
    ],
    ids=["CMYK", "RGBA", "L", "LA", "1", "P", "P as GIF"],
)
def test_every_mode_is_the_plain_rgb_picture(plain: Image.Image, variant: Image.Image, kind: str) -> None:
    assert np.array_equal(pixels(decode(saved(variant, kind), LIMIT)), pixels(plain.convert("RGB")))


def test_a_cmyk_jpeg_is_close_to_the_plain_picture() -> None:
    file = saved(chelsea().convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert np.abs(pixels(decode(file, LIMIT)).astype(int) - pixels(chelsea())).max() <= 8


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_scaled_and_not_clipped(channels: int) -> None:
    plain = chelsea().convert("RGB" if channels == 3 else "RGBA")
    deep = (pixels(plain).astype(np.uint16) * 257).astype(">u2")  # (60, 90, channels)
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", 90, 60, 16, 2 if channels == 3 else 6, 0, 0, 0)
    file = PNG + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
    assert np.array_equal(pixels(decode(file, LIMIT)), pixels(chelsea()))


@pytest.mark.parametrize(("kind", "order"), [("PNG", "<"), ("TIFF", "<"), ("TIFF", ">")])
def test_16_bit_grey_is_scaled_and_not_clipped(kind: str, order: str) -> None:
    grey = np.asarray(chelsea().convert("L"))
    deep = Image.fromarray((grey.astype(np.uint16) * 257).astype(f"{order}u2"))
    picture = decode(saved(deep, kind), LIMIT)
    assert np.array_equal(pixels(picture), pixels(Image.fromarray(grey).convert("RGB")))


def test_32_bit_samples_are_refused_in_plain_words() -> None:
    with pytest.raises(UnreadableImageError, match="32-bit"):
        decode(saved(Image.new("F", (4, 4)), "TIFF"), LIMIT)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_composited_on_white(kind: str) -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    clear.putpixel((1, 0), (0, 0, 0, 51))
    options: dict[str, Any] = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image = decode(saved(clear, kind, **options), LIMIT).image
    assert [image.getpixel((x, 0)) for x in range(3)] == [(10, 20, 30), (204, 204, 204), (255, 255, 255)]


@pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7)), ("P", 7), ("I;16", 7)])
def test_a_transparent_colour_is_white(mode: str, key: Any) -> None:
    image = Image.new(mode, (2, 1), key)
    if mode == "P":
        image.putpalette(bytes(range(60)))
    picture = decode(saved(image, transparency=key), LIMIT)
    assert picture.image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(kind: str, orientation: int) -> None:
    # How a camera that is held that way stores an upright picture: the inverse of what EXIF demands.
    stored_by = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.new("RGB", (96, 64), "white")
    upright.paste("red", (0, 0, 48, 32))
    upright.paste("blue", (48, 32, 96, 64))
    stored = upright.transpose(stored_by[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else SAVED_AS[kind]
    picture = decode(saved(stored, kind, exif=exif, **options), LIMIT)
    assert (picture.width, picture.height) == (96, 64)
    assert np.abs(pixels(picture).astype(int) - pixels(upright)).max() <= (3 if kind == "JPEG" else 0)


def test_nothing_of_the_metadata_stays_with_the_picture() -> None:
    exif = Image.Exif()
    exif[0x010E] = "my home"
    file = saved(chelsea(), "JPEG", exif=exif, icc_profile=b"profile", comment=b"secret", xmp=b"<x/>")
    image = decode(file, LIMIT).image
    assert image.info == {}
    assert not image.getexif()
