"""Uploads become the same pixels whatever their form, or are refused."""

import contextlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import BadRequestError, RequestError, TooLargeError, UnreadableImageError
from app.images import Fit, decode, fit_to_model, to_tensor

LIMIT = 25_000_000


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def test_too_many_pixels_are_refused_before_any_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    for data in (png_header(50_000, 50_000) + chunk(b"IDAT", b""), encode(Image.new("1", (5100, 5100)))):
        with pytest.raises(TooLargeError):
            decode(data, LIMIT)


def test_a_png_of_endless_chunks_is_refused() -> None:
    with pytest.raises(UnreadableImageError):
        decode(png_header(1, 1) + 400_000 * chunk(b"tEXt", b""), LIMIT)


def test_a_text_bomb_is_refused() -> None:
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(200 * 2**20), 9))
    with pytest.raises(UnreadableImageError):
        decode(png_header(1, 1) + bomb + chunk(b"IEND", b""), LIMIT)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_cut_short_is_refused(cat: Image.Image, form: str) -> None:
    data = encode(cat, form)
    with pytest.raises(UnreadableImageError):
        decode(data[: len(data) // 2], LIMIT)


def test_nothing_is_a_bad_request() -> None:
    with pytest.raises(BadRequestError):
        decode(b"", LIMIT)


@pytest.mark.parametrize("form", ["EPS", "ICO", "PDF"])
def test_other_formats_are_refused(cat: Image.Image, form: str) -> None:
    with pytest.raises(UnreadableImageError):
        decode(encode(cat, form), LIMIT)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    picture = decode(buffer.getvalue(), LIMIT)
    assert picture.image.getpixel((5, 5)) == (254, 0, 0) or picture.image.getpixel((5, 5)) == (255, 0, 0)
    assert any("frame" in warning for warning in picture.warnings)


@pytest.mark.parametrize(
    "dress",
    [
        lambda grey: encode(grey),
        lambda grey: encode(grey.convert("RGB")),
        lambda grey: encode(grey.convert("RGBA")),
        lambda grey: encode(grey.convert("LA")),
        lambda grey: encode(grey.convert("P")),
        lambda grey: encode(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)),
        lambda grey: encode(grey.convert("RGB").convert("CMYK"), "TIFF"),
    ],
    ids=["L", "RGB", "RGBA", "LA", "P", "I;16", "CMYK"],
)
def test_every_mode_gives_the_plain_rgb_picture(
    cat: Image.Image, dress: Callable[[Image.Image], bytes]
) -> None:
    grey = cat.convert("L")
    assert decode(dress(grey), LIMIT).image.tobytes() == grey.convert("RGB").tobytes()


def test_exif_orientation_is_applied(cat: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    cat.save(buffer, "PNG", exif=exif)
    picture = decode(buffer.getvalue(), LIMIT)
    assert picture.image.tobytes() == cat.transpose(Image.Transpose.ROTATE_270).tobytes()


def test_transparency_becomes_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode(encode(clear), LIMIT).image.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("size", [(1, 1), (65_535, 1), (1, 3000)])
@pytest.mark.parametrize("fit", Fit)
def test_any_shape_becomes_the_models_square(size: tuple[int, int], fit: Fit) -> None:
    seen = fit_to_model(decode(encode(Image.new("RGB", size)), LIMIT), fit, 32)
    assert seen.image.size == (32, 32)


def test_a_picture_of_the_models_size_passes_unchanged(cat: Image.Image) -> None:
    small = cat.resize((32, 32))
    for fit in Fit:
        assert fit_to_model(decode(encode(small), LIMIT), fit, 32).image.tobytes() == small.tobytes()


def test_a_tensor_is_normalised_by_channel() -> None:
    tensor = to_tensor(Image.new("RGB", (2, 1), (255, 0, 51)), (0.5, 0.0, 0.1), (0.5, 1.0, 0.1))
    assert tensor.shape == (3, 1, 2)
    torch.testing.assert_close(tensor[:, 0, 0], torch.tensor([1.0, 0.0, 1.0]))


CUTS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(form=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]), cuts=CUTS)
def test_mutated_pictures_raise_nothing_but_our_errors(form: str, cuts: list[tuple[float, bytes]]) -> None:
    data = bytearray(encode(Image.effect_noise((24, 24), 60).convert("RGB"), form))
    for place, content in cuts:
        at = int(place * (len(data) - 1))
        data[at : at + len(content)] = content
    with contextlib.suppress(RequestError):
        assert decode(bytes(data), LIMIT).image.mode == "RGB"
