"""Picture, map and colour bar."""

import numpy as np
import pytest
from drawn import RELEVANCE, SPEC, pixels
from PIL import Image

from app.modalities.image.drawing.backdrop import backdrop_of
from app.modalities.image.drawing.captions import Captions
from app.modalities.image.drawing.render import render
from app.modalities.image.drawing.style import Size, Style, View
from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.picture import Picture


@pytest.mark.parametrize(("size", "side"), [("model", 128), (64, 128), (256, 256), ("input", 1024)])
def test_the_map_beside_the_picture_has_the_side_that_was_asked_for(
    cat: Image.Image, size: Size, side: int
) -> None:
    style = Style(view=View.SIDE_BY_SIDE, size=size)
    shown = pixels(style, cat, np.ones((32, 32)))
    red = (shown == (103, 0, 31)).all(axis=2)
    height, width = red.sum(axis=0).max(), red.sum(axis=1).max()
    assert height == side
    assert side <= width <= side + max(16, side // 20)  # in one row the bar's end has the same colour
    assert shown.shape[0] > side
    assert shown.shape[1] > 2 * side


@pytest.mark.parametrize("size", ["model", 256])
def test_the_caption_of_a_picture_one_pixel_wide_has_room(size: Size) -> None:
    def width(upload: Image.Image, caption: str) -> int:
        picture, style = Picture(upload, "PNG"), Style(view=View.SIDE_BY_SIDE, size=size)
        rectangle = fit_to_model(picture, Fit.CROP, SPEC).rectangle
        captions = Captions(caption, "why?")
        return render(RELEVANCE, style, backdrop_of(picture, style, SPEC), rectangle, {}, captions).width

    thin, wide = Image.new("RGB", (1, 300)), Image.new("RGB", (300, 300))
    assert width(thin, "airplane 54%") - width(thin, "") > 50
    assert width(thin, "m" * 200) == width(wide, "")  # as a square picture's panel, and no wider
    assert width(wide, "airplane 54%") == width(wide, "")
