"""Pictures that every reader opens, with the pixels that went in."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from app.modalities.drawing.png import encode

SIDES = st.integers(1, 70)


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


@given(st.data(), SIDES, SIDES, SIDES, SIDES)
def test_pixels_are_repeated_as_pillow_does(
    data: st.DataObject, rows: int, columns: int, width: int, height: int
) -> None:
    pixels = data.draw(arrays(np.uint8, (rows, columns, 3)))
    image = opened(encode(pixels, (width, height), {}))
    wanted = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
    assert (image.mode, image.size) == ("RGB", (width, height))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(wanted))


def test_a_photo_keeps_its_pixels(cat: Image.Image) -> None:
    np.testing.assert_array_equal(np.asarray(opened(encode(np.asarray(cat), cat.size, {}))), np.asarray(cat))


@pytest.mark.parametrize("words", ["", "plain", "ä → 猫"])
def test_words_come_back_as_they_went_in(words: str) -> None:
    image = opened(encode(np.zeros((1, 1, 3), np.uint8), (1, 1), {"lrp": words}))
    assert isinstance(image, Image.Image)
    assert image.info["lrp"] == words


def test_an_enlarged_map_is_hardly_larger_than_the_map() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    small, large = (len(encode(pixels, (side, side), {})) for side in (32, 256))
    assert large < 2 * small
