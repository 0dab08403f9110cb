"""The colour maps."""

import numpy as np
import pytest
from drawn import drawn, pixels
from PIL import Image

from app.modalities.drawing.colormaps import COLORMAPS
from app.modalities.image.drawing.style import Style


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_colour_map_exists(cat: Image.Image, name: str) -> None:
    assert drawn(Style(colormap=name), cat).size == (256, 256)


@pytest.mark.parametrize("name", COLORMAPS)
def test_zero_is_exactly_the_middle_of_every_colour_map(cat: Image.Image, name: str) -> None:
    ramp = pixels(Style(size="model", colormap=name), cat, np.linspace(-1, 1, 255).reshape(1, 255))
    zero = pixels(Style(size="model", colormap=name), cat, np.array([[-1.0, 0.0, 1.0]]))
    np.testing.assert_array_equal(zero[0], ramp[0, [0, 127, 254]])
