"""Maps of networks whose input is large, and whose pictures are resized as in their training."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.modalities.image.drawing.heatmap import Heatmap
from app.modalities.image.drawing.style import AtLeast, Interpolation, Size, Style, View
from app.modalities.image.fitting import Fit
from app.modalities.image.modality import ImageModality, ImageOptions
from app.modalities.image.spec import ImageSpec, Resampling, TrainedResize
from app.modalities.protocol import Map

UPLOAD = (900, 600)
SQUARE = (372, 232, 492, 352)
"""Left, top, right and bottom of a green square in a grey upload."""
GREEN, GREY = (0, 200, 0), (90, 90, 90)
RED, NEUTRAL = (103, 0, 31), (247, 247, 247)


def spec(
    size: tuple[int, int] = (224, 224), resize: tuple[int, int] = (256, 256), channels: Any = 3
) -> ImageSpec:
    """Sizes are (width, height)."""
    described = TrainedResize(*resize, True, Resampling.BICUBIC)
    return ImageSpec(channels, size[1], size[0], (0.45,) * channels, (0.22,) * channels, described)


def upload() -> bytes:
    image, buffer = Image.new("RGB", UPLOAD, GREY), io.BytesIO()
    image.paste(GREEN, SQUARE)
    image.save(buffer, "PNG")
    return buffer.getvalue()


def drawn(described: ImageSpec, options: ImageOptions) -> np.ndarray:
    """The map of a network whose relevance is 1 where it sees green, (height, width, 3)."""
    modality = ImageModality(described, 10**7)
    sample = modality.decode(upload(), options)
    seen = np.atleast_3d(sample.pixels).astype(int)
    brightest = seen[..., 1 % described.channels]
    relevance = (brightest > (brightest.min() + brightest.max()) / 2).astype(np.float32)
    (heatmap,) = modality.render([Map(relevance, "rule", "picture", "why?", {})], sample, options)
    return opened(heatmap)


def opened(heatmap: Heatmap) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(heatmap.png)).convert("RGB")).astype(int)


def bounds(where: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what is true in (height, width)."""
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("view", [View.HEATMAP, View.OVERLAY])
@pytest.mark.parametrize(
    "described",
    [
        spec(),
        spec((384, 384), (384, 384)),
        spec((320, 224), (366, 256)),
        spec((192, 224), (220, 256), channels=1),
        ImageSpec(3, 224, 224, (0.5,) * 3, (0.5,) * 3),
    ],
)
def test_relevance_lies_where_its_cause_lies_in_the_upload(
    described: ImageSpec, view: View, fit: Fit
) -> None:
    shown = drawn(described, ImageOptions(fit, Style(view=view, size="input")))
    assert shown.shape == (UPLOAD[1], UPLOAD[0], 3)
    red = shown[..., 0] > shown[..., 2] + 40
    pixel = max(UPLOAD[0] / described.width, UPLOAD[1] / described.height)  # at most, of the upload
    assert bounds(red) == pytest.approx(SQUARE, abs=pixel + 1)


def test_the_frame_beside_the_map_is_around_what_the_model_saw() -> None:
    style = Style(view=View.SIDE_BY_SIDE, size=900)
    shown = drawn(spec(), ImageOptions(Fit.CROP, style))
    panel = shown[:, 16:916]
    top = int(np.flatnonzero((panel == GREY).all(2).mean(1) > 0.9)[0])
    black = (panel == 0).all(2)
    black[:top] = False  # the caption
    frame = bounds(black)
    expected = (188, 38, 713, 563)  # of 900×600: 224 of 256 of the height, of 384 of the width
    assert (frame[0], frame[1] - top, frame[2], frame[3] - top) == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    ("side", "drawn_at"), [(32, 256), (28, 280), (224, 448), (256, 256), (299, 299), (384, 384), (1200, 1200)]
)
def test_a_map_has_pixels_of_one_size_by_default(side: int, drawn_at: int) -> None:
    shown = drawn(spec((side, side), (side, side)), ImageOptions())
    assert shown.shape[:2] == (drawn_at, drawn_at)
    times = drawn_at // side
    np.testing.assert_array_equal(shown, shown[::times, ::times].repeat(times, 0).repeat(times, 1))


def test_a_map_that_is_not_square_is_enlarged_by_a_whole_number_by_default() -> None:
    assert drawn(spec((160, 96), (160, 160)), ImageOptions()).shape == (192, 320, 3)


@pytest.mark.parametrize("size", ["model", 256, 1024])
def test_another_size_is_taken_at_its_word(size: Size) -> None:
    side = 224 if size == "model" else size
    assert drawn(spec(), ImageOptions(style=Style(size=size))).shape == (side, side, 3)


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("view", [View.HEATMAP, View.OVERLAY])
def test_no_pixel_is_left_out_of_a_map_that_is_drawn_smaller(
    view: View, interpolation: Interpolation
) -> None:
    """Columns of 1 and 0 in turn are 0.5 from afar; Pillow's nearest pixel would be all of one of them."""
    described = ImageSpec(3, 224, 224, (0.5,) * 3, (0.5,) * 3)
    style = Style(view=view, size=56, interpolation=interpolation)
    modality, options = ImageModality(described, 10**7), ImageOptions(Fit.STRETCH, style)
    sample = modality.decode(upload(), options)

    def middle(relevance: np.ndarray) -> np.ndarray:
        (heatmap,) = modality.render([Map(relevance, "rule", "", "", {})], sample, options)
        shown = opened(heatmap)
        return shown[4:-4, 4:-4]

    stripes, half = np.zeros((224, 224)), np.full((224, 224), 0.5)
    stripes[:, ::2] = 1
    half[0, 0] = 1  # the same scale
    np.testing.assert_allclose(middle(stripes), middle(half), atol=4)


def test_tiles_of_a_sheet_are_not_smaller_than_the_maps_by_default() -> None:
    modality, options = (
        ImageModality(spec((384, 384), (384, 384)), 10**7),
        ImageOptions(style=Style(size=AtLeast(128))),
    )
    sample = modality.decode(upload(), options)
    relevance = np.random.default_rng(0).normal(size=(384, 384))
    maps = [Map(relevance, "rule", "", "why?", {})]
    sheet = opened(modality.render_together(maps, sample, options, {}))
    (heatmap,) = modality.render(maps, sample, options)
    tile = opened(heatmap)
    assert tile.shape == (384, 384, 3)
    assert (sheet[-400:-16, 416:800] == tile).all()


def test_pixels_of_the_networks_own_size_are_not_cropped_again() -> None:
    described = spec()
    pixels = np.random.default_rng(0).random((3, 224, 224), np.float32)
    sample = ImageModality(described, 10**7).decode(pixels, ImageOptions())
    np.testing.assert_allclose(sample.input, (pixels - 0.45) / 0.22, rtol=1e-5, atol=1e-6)
    assert (sample.facts.rectangle.width, sample.facts.rectangle.height) == (224, 224)
    np.testing.assert_array_equal(sample.pixels, np.rint(pixels * 255).astype(np.uint8).transpose(1, 2, 0))
