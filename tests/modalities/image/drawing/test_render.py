"""Every view of a heatmap."""

import io
import json

import numpy as np
import pytest
from drawn import RELEVANCE, SPEC, drawn, pixels
from PIL import Image

from app.errors import InternalError, InvalidParameterError
from app.modalities.drawing.style import Normalize, Sign
from app.modalities.image.decoding import decode
from app.modalities.image.drawing.backdrop import backdrop_of
from app.modalities.image.drawing.render import render
from app.modalities.image.drawing.style import Interpolation, Size, Style, View
from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.picture import Picture


def test_nearest_pixels_are_crisp(cat: Image.Image) -> None:
    small, large = pixels(Style(size="model"), cat), pixels(Style(size=256), cat)
    np.testing.assert_array_equal(large, small.repeat(8, 0).repeat(8, 1))


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


def test_units_of_a_dense_layer_are_laid_out_and_have_no_place_in_the_picture(cat: Image.Image) -> None:
    units = np.arange(256, dtype=np.float32)
    assert drawn(Style(size="model"), cat, units).size == (16, 16)
    with pytest.raises(InvalidParameterError, match="dense"):
        drawn(Style(view=View.OVERLAY), cat, units)


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", ["model", "input", 32, 1024])
@pytest.mark.parametrize("upload", [(1, 1), (65_535, 1), (1, 65_535)])
def test_uploads_of_every_shape_are_drawn(upload: tuple[int, int], size: Size, fit: Fit, view: View) -> None:
    picture = Picture(Image.new("RGB", upload), "PNG")
    style = Style(view=view, size=size)
    rectangle = fit_to_model(picture, fit, SPEC).rectangle
    heatmap = render(RELEVANCE, style, backdrop_of(picture, style, SPEC), rectangle, {})
    assert max(heatmap.width, heatmap.height) < 4096


def test_smooth_curves_show_no_relevance_of_the_other_sign(cat: Image.Image) -> None:
    smooth = pixels(Style(sign=Sign.POSITIVE, interpolation=Interpolation.BICUBIC), cat)
    assert (smooth[..., 0] >= smooth[..., 2]).all()


def test_relevance_outside_the_rectangle_is_neutral_and_inside_it_is_the_map(cat: Image.Image) -> None:
    shown = pixels(Style(size="input"), cat, np.ones((32, 32)))
    assert (shown[:, 75:375] == (103, 0, 31)).all()  # the centre square of 451×300
    assert (shown[:, :75] == (247, 247, 247)).all()
    assert (shown[:, 375:] == (247, 247, 247)).all()


def test_nothing_of_an_uploads_metadata_goes_out(cat: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    upload = io.BytesIO()
    cat.save(upload, "JPEG", exif=exif, icc_profile=b"SECRET", comment=b"SECRET", xmp=b"SECRET")
    picture = decode(upload.getvalue(), 25_000_000)
    rectangle = fit_to_model(picture, Fit.CROP, SPEC).rectangle
    for view in View:
        style = Style(view=view, size="input")
        png = render(RELEVANCE, style, backdrop_of(picture, style, SPEC), rectangle, {}).png
        assert b"SECRET" not in png
        assert {png.count(name) for name in (b"eXIf", b"iCCP", b"tEXt", b"zTXt")} == {0}
        assert png.count(b"iTXt") == 1


@pytest.mark.parametrize("view", [View.HEATMAP, View.OVERLAY])
def test_a_very_large_upload_is_drawn_at_2048_in_its_own_shape(view: View) -> None:
    upload = Image.new("RGB", (3000, 1500))
    assert drawn(Style(view=view, size="input"), upload).size == (2048, 1024)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_enough_to_draw_nothing(cat: Image.Image, value: float) -> None:
    relevance = RELEVANCE.copy()
    relevance[2, 31, 31] = value
    for view in View:
        with pytest.raises(InternalError):
            drawn(Style(view=view), cat, relevance)


@pytest.mark.parametrize("normalize", Normalize)
@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("sign", Sign)
def test_every_scale_is_drawn_in_every_view(
    cat: Image.Image, view: View, normalize: Normalize, sign: Sign
) -> None:
    for size in ("model", 100):
        for relevance in (RELEVANCE, np.zeros((32, 32))):
            drawn(Style(view=view, normalize=normalize, sign=sign, size=size), cat, relevance)
