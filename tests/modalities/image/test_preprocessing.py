"""The network's input."""

import numpy as np
import pytest
from pictures import SPEC, WIDE_GREY
from PIL import Image

from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.preprocessing import from_pixels, normalise, to_input
from app.modalities.image.spec import ImageSpec


def test_the_tensor_is_normalised_channels_first() -> None:
    image = Image.new("RGB", (32, 32), (255, 0, 51))
    image.putpixel((3, 1), (0, 255, 255))
    x = to_input(image, ImageSpec(3, 32, 32, mean=(0.5, 0.25, 0.2), std=(0.5, 0.25, 0.1)))
    assert x.shape == (3, 32, 32)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[:, 0, 0], [1.0, -1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(x[:, 1, 3], [-1.0, 3.0, 8.0], rtol=1e-6)


def test_one_channel_is_normalised_too() -> None:
    image = Image.new("L", (64, 48), 51)
    image.putpixel((3, 1), 255)
    x = to_input(image, WIDE_GREY)
    assert x.shape == (1, 48, 64)
    assert x.dtype == np.float32
    np.testing.assert_allclose([x[0, 0, 0], x[0, 1, 3]], [-1.0, 3.0], atol=1e-6)


@pytest.mark.parametrize("spec", [SPEC, WIDE_GREY])
def test_pixels_become_a_picture_and_the_same_input_again(spec: ImageSpec) -> None:
    shape = (spec.channels, spec.height, spec.width)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32) / np.float32(255)
    seen = fit_to_model(from_pixels(pixels), Fit.CROP, spec).image
    np.testing.assert_array_equal(to_input(seen, spec), normalise(pixels, spec))
