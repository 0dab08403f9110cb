"""What the colours mean."""

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from app.errors import InternalError, InvalidParameterError
from app.modalities.image.decoding import Fit, Picture, Rectangle, decode, fit_to_model
from app.modalities.image.heatmap import (
    COLORMAPS,
    Captions,
    Interpolation,
    Normalize,
    Sign,
    Size,
    Style,
    View,
    backdrop_of,
    parse_size,
    render,
)

RELEVANCE = np.zeros((3, 32, 32), np.float32)
RELEVANCE[0, 3, 4], RELEVANCE[1, 10, 20] = 2.0, -1.0


def drawn(style: Style, cat: Image.Image, relevance: np.ndarray = RELEVANCE) -> Image.Image:
    picture = Picture(cat, "PNG")
    seen = fit_to_model(picture, Fit.CROP, 32)
    heatmap = render(relevance, style, backdrop_of(picture, style), seen.rectangle, {"a": "ä"})
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


@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", ["model", "input", 32, 1024])
@pytest.mark.parametrize("upload", [(1, 1), (65_535, 1), (1, 65_535)])
def test_uploads_of_every_shape_are_drawn(upload: tuple[int, int], size: Size, fit: Fit, view: View) -> None:
    picture = Picture(Image.new("RGB", upload), "PNG")
    style = Style(view=view, size=size)
    heatmap = render(RELEVANCE, style, backdrop_of(picture, style), fit_to_model(picture, fit).rectangle, {})
    assert max(heatmap.width, heatmap.height) < 4096


def test_smooth_curves_show_no_relevance_of_the_other_sign(cat: Image.Image) -> None:
    smooth = pixels(Style(sign=Sign.POSITIVE, interpolation=Interpolation.BICUBIC), cat)
    assert (smooth[..., 0] >= smooth[..., 2]).all()


@pytest.mark.parametrize("vmax", [float("nan"), float("inf"), -1.0, 0.0, 1e-320, 1e308])
def test_a_scale_that_colours_cannot_have_is_refused(vmax: float) -> None:
    with pytest.raises(InvalidParameterError, match="vmax"):
        Style(vmax=vmax)


def test_the_ends_of_a_symmetric_scale_are_the_ends_of_the_colour_map(cat: Image.Image) -> None:
    relevance = np.linspace(-5, 5, 32 * 32).reshape(32, 32)
    shown = pixels(Style(size="model"), cat, relevance)
    assert tuple(shown[0, 0]) == (5, 48, 97)
    assert tuple(shown[-1, -1]) == (103, 0, 31)
    assert (pixels(Style(size="model", vmax=2.5), cat, relevance)[-8:] == (103, 0, 31)).all()


def test_absolute_relevance_is_neutral_at_zero_and_the_same_for_both_signs(cat: Image.Image) -> None:
    both = np.where(RELEVANCE < 0, 2 * RELEVANCE, RELEVANCE)
    for name, neutral in (("RdBu_r", (247, 247, 247)), ("gray", (0, 0, 0))):
        shown = pixels(Style(size="model", normalize=Normalize.ABSOLUTE, colormap=name), cat, both)
        assert tuple(shown[0, 0]) == neutral
        assert (shown[3, 4] == shown[10, 20]).all()
        assert tuple(shown[3, 4]) != neutral


def test_relevance_outside_the_rectangle_is_neutral_and_inside_it_is_the_map(cat: Image.Image) -> None:
    shown = pixels(Style(size="input"), cat, np.ones((32, 32)))
    assert (shown[:, 75:375] == (103, 0, 31)).all()  # the centre square of 451×300
    assert (shown[:, :75] == (247, 247, 247)).all()
    assert (shown[:, 375:] == (247, 247, 247)).all()


def test_an_overlay_depends_on_relevance_only_where_the_model_looked(cat: Image.Image) -> None:
    style = Style(view=View.OVERLAY, size="input")
    nothing, everything = (pixels(style, cat, np.full((32, 32), v)) for v in (0.0, 1.0))
    changed = (nothing != everything).any(axis=2)
    assert changed[:, 75:375].mean() > 0.99
    assert not changed[:, :75].any()
    assert not changed[:, 375:].any()


def test_nothing_of_an_uploads_metadata_goes_out(cat: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    upload = io.BytesIO()
    cat.save(upload, "JPEG", exif=exif, icc_profile=b"SECRET", comment=b"SECRET", xmp=b"SECRET")
    picture = decode(upload.getvalue(), 25_000_000)
    rectangle = fit_to_model(picture).rectangle
    for view in View:
        style = Style(view=view, size="input")
        png = render(RELEVANCE, style, backdrop_of(picture, style), rectangle, {}).png
        assert b"SECRET" not in png
        assert {png.count(name) for name in (b"eXIf", b"iCCP", b"tEXt", b"zTXt")} == {0}
        assert png.count(b"iTXt") == 1


@pytest.mark.parametrize("name", COLORMAPS)
def test_zero_is_exactly_the_middle_of_every_colour_map(cat: Image.Image, name: str) -> None:
    ramp = pixels(Style(size="model", colormap=name), cat, np.linspace(-1, 1, 255).reshape(1, 255))
    zero = pixels(Style(size="model", colormap=name), cat, np.array([[-1.0, 0.0, 1.0]]))
    np.testing.assert_array_equal(zero[0], ramp[0, [0, 127, 254]])


def test_minmax_spans_the_colour_map_from_the_lowest_to_the_highest_value(cat: Image.Image) -> None:
    style = Style(size="model", normalize=Normalize.MINMAX, colormap="gray")
    shown = pixels(style, cat, np.linspace(5, 7, 1024).reshape(32, 32))
    assert (shown[0, 0] == 0).all()
    assert (shown[-1, -1] == 255).all()
    assert (np.diff(shown[..., 0].ravel()) >= 0).all()


def test_negative_relevance_alone_hides_the_positive(cat: Image.Image) -> None:
    shown = pixels(Style(size="model", sign=Sign.NEGATIVE), cat)
    assert (shown[3, 4] == shown[0, 0]).all()
    assert tuple(shown[10, 20]) == (5, 48, 97)


def test_the_scale_that_is_said_is_the_one_that_is_drawn(cat: Image.Image) -> None:
    def scale(style: Style) -> tuple[float, float]:
        heatmap = render(
            RELEVANCE, style, backdrop_of(Picture(cat, "PNG"), style), Rectangle(75, 0, 300, 300), {}
        )
        return heatmap.vmin, heatmap.vmax

    assert scale(Style()) == (-2, 2)
    assert scale(Style(vmax=4.0)) == (-4, 4)
    assert scale(Style(normalize=Normalize.MINMAX)) == (-1, 2)
    assert scale(Style(normalize=Normalize.ABSOLUTE)) == (0, 2)
    assert scale(Style(sign=Sign.NEGATIVE)) == (-1, 1)


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


@pytest.mark.parametrize(
    ("text", "size"), [("model", "model"), ("input", "input"), ("32", 32), ("1024", 1024)]
)
def test_a_good_size_is_understood(text: str, size: Size) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("normalize", Normalize)
@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("sign", Sign)
def test_every_scale_is_drawn_in_every_view(
    cat: Image.Image, view: View, normalize: Normalize, sign: Sign
) -> None:
    for size in ("model", 100):
        for relevance in (RELEVANCE, np.zeros((32, 32))):
            drawn(Style(view=view, normalize=normalize, sign=sign, size=size), cat, relevance)


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
        rectangle = fit_to_model(picture).rectangle
        captions = Captions(caption, "why?")
        return render(RELEVANCE, style, backdrop_of(picture, style), rectangle, {}, captions).width

    thin, wide = Image.new("RGB", (1, 300)), Image.new("RGB", (300, 300))
    assert width(thin, "airplane 54%") - width(thin, "") > 50
    assert width(thin, "m" * 200) == width(wide, "")  # as a square picture's panel, and no wider
    assert width(wide, "airplane 54%") == width(wide, "")
