"""What the colours mean."""

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from app.errors import InternalError, InvalidParameterError
from app.heatmap import COLORMAPS, Interpolation, Normalize, Sign, Style, View, parse_size, render
from app.images import Fit, Picture, fit_to_model

RELEVANCE = np.zeros((3, 32, 32), np.float32)
RELEVANCE[0, 3, 4], RELEVANCE[1, 10, 20] = 2.0, -1.0


def drawn(style: Style, cat: Image.Image, relevance: np.ndarray = RELEVANCE) -> Image.Image:
    picture = Picture(cat, "PNG")
    seen = fit_to_model(picture, Fit.CROP, 32)
    heatmap = render(relevance, style, picture, seen.rectangle, {"a": "ä"})
    image = Image.open(io.BytesIO(heatmap.png))
    image.load()
    assert image.size == (heatmap.width, heatmap.height)
    return image


def pixels(style: Style, cat: Image.Image, relevance: np.ndarray = RELEVANCE) -> np.ndarray:
    return np.asarray(drawn(style, cat, relevance).convert("RGB")).astype(int)


def test_zero_is_the_middle_and_the_largest_value_an_end(cat: Image.Image) -> None:
    shown = pixels(Style(size="model"), cat)
    assert abs(shown[0, 0] - 247).max() <= 1  # near-white
    assert shown[3, 4, 0] > shown[3, 4, 2]  # red speaks for the class
    assert shown[10, 20, 2] > shown[10, 20, 0]  # blue against it


def test_nearest_pixels_are_crisp(cat: Image.Image) -> None:
    small, large = pixels(Style(size="model"), cat), pixels(Style(size=256), cat)
    np.testing.assert_array_equal(large, small.repeat(8, 0).repeat(8, 1))


def test_vmax_fixes_the_scale(cat: Image.Image) -> None:
    one = pixels(Style(size="model", vmax=4.0), cat)
    two = pixels(Style(size="model", vmax=4.0), cat, RELEVANCE * 2)
    assert (pixels(Style(size="model"), cat) == pixels(Style(size="model"), cat, RELEVANCE * 2)).all()
    assert (one != two).any()


def test_signs_can_be_shown_alone(cat: Image.Image) -> None:
    positive = pixels(Style(size="model", sign=Sign.POSITIVE), cat)
    assert (positive[10, 20] == positive[0, 0]).all()
    assert (positive[3, 4] != positive[0, 0]).any()


def test_a_constant_map_is_drawn_without_a_scale(cat: Image.Image) -> None:
    for normalize, value in itertools.product(Normalize, (0.0, 1.0)):
        pixels(Style(size="model", normalize=normalize), cat, np.full((32, 32), value, np.float32))


def test_what_is_not_finite_is_never_drawn(cat: Image.Image) -> None:
    with pytest.raises(InternalError):
        drawn(Style(), cat, np.full((32, 32), np.nan, np.float32))


def test_overlay_and_map_are_as_large_as_the_upload_if_asked(cat: Image.Image) -> None:
    for view in (View.HEATMAP, View.OVERLAY):
        assert drawn(Style(view=view, size="input"), cat).size == cat.size


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("size", ["model", "input", 32, 300])
def test_every_combination_is_drawn(
    cat: Image.Image, view: View, interpolation: Interpolation, size: int
) -> None:
    assert min(drawn(Style(view=view, interpolation=interpolation, size=size), cat).size) >= 21


def test_the_chunk_holds_the_metadata_and_nothing_else_goes_out(cat: Image.Image) -> None:
    dressed = cat.copy()
    dressed.info["icc_profile"] = b"secret"
    image = drawn(Style(view=View.OVERLAY), dressed)
    assert json.loads(image.info["lrp"]) == {"a": "ä"}
    assert set(image.info) == {"lrp"}


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_colour_map_exists(cat: Image.Image, name: str) -> None:
    assert drawn(Style(colormap=name), cat).size == (256, 256)


@pytest.mark.parametrize("text", ["31", "1025", "big", "-1", "", "1e2"])
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="size"):
        parse_size(text)


def test_a_misspelt_colour_map_is_corrected() -> None:
    with pytest.raises(InvalidParameterError, match="viridis"):
        Style(colormap="virids")


def test_units_of_a_dense_layer_are_laid_out_and_have_no_place_in_the_picture(cat: Image.Image) -> None:
    units = np.arange(256, dtype=np.float32)
    assert drawn(Style(size="model"), cat, units).size == (16, 16)
    with pytest.raises(InvalidParameterError, match="dense"):
        drawn(Style(view=View.OVERLAY), cat, units)
