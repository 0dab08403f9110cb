"""Fitting pictures of every shape to the model's input size."""

from typing import Any

import numpy as np
import pytest
from pictures import LIMIT, SPEC, WIDE_GREY, chelsea, photo, pixels, saved
from PIL import Image

from app.modalities.image.decoding import decode
from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.picture import Picture, Rectangle

PAD_COLOUR = (125, 123, 114)
"""Of the shipped network: 255 times its mean."""


@pytest.mark.parametrize("fit", Fit)
def test_a_picture_of_the_models_size_passes_bit_for_bit(fit: Fit) -> None:
    image = chelsea().resize((32, 32))
    seen = fit_to_model(decode(saved(image), LIMIT), fit, SPEC)
    assert np.array_equal(pixels(seen.image), pixels(image))
    assert seen.rectangle == Rectangle(0, 0, 32, 32)
    assert seen.warnings == ()


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", [(65_535, 1), (1, 65_535), (5000, 700)])
def test_no_shape_is_laid_on_more_pixels_than_it_has_or_a_square_of_1024(
    size: tuple[int, int], fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Picture(Image.new("RGB", size), "PNG")
    limit = max(size[0] * size[1], 1024 * 1024)

    def bounded(make: Any) -> Any:
        def checked(first: Any, second: Any, *rest: Any, **options: Any) -> Any:
            made = second[-2:]  # of (mode, size), (image, size) and (image, box): the far corner
            assert made[0] * made[1] <= limit
            return make(first, second, *rest, **options)

        return checked

    monkeypatch.setattr(Image, "new", bounded(Image.new))
    monkeypatch.setattr(Image.Image, "resize", bounded(Image.Image.resize))
    fit_to_model(picture, fit, SPEC)


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", [(1, 1), (65_535, 1), (1, 65_535), (31, 33), (5000, 7)])
def test_every_shape_fits(size: tuple[int, int], fit: Fit) -> None:
    picture = decode(saved(Image.new("RGB", size, PAD_COLOUR)), LIMIT)
    seen = fit_to_model(picture, fit, SPEC)
    assert seen.image.size == (32, 32)
    assert seen.image.getcolors() == [(32 * 32, PAD_COLOUR)]


@pytest.mark.parametrize(
    ("fit", "size", "rectangle"),
    [
        (Fit.CROP, (451, 300), Rectangle(75, 0, 300, 300)),
        (Fit.CROP, (300, 451), Rectangle(0, 75, 300, 300)),
        (Fit.PAD, (451, 300), Rectangle(0, -76, 451, 451)),
        (Fit.STRETCH, (451, 300), Rectangle(0, 0, 451, 300)),
    ],
)
def test_the_rectangle_says_what_the_model_saw(fit: Fit, size: tuple[int, int], rectangle: Rectangle) -> None:
    assert fit_to_model(Picture(Image.new("RGB", size), "PNG"), fit, SPEC).rectangle == rectangle


def test_crop_sees_the_centre_and_nothing_else() -> None:
    image = Image.new("RGB", (192, 64), "red")
    image.paste("blue", (64, 0, 128, 64))
    assert fit_to_model(Picture(image, "PNG"), Fit.CROP, SPEC).image.getcolors() == [(1024, (0, 0, 255))]


def test_pad_puts_the_picture_between_bands_of_grey() -> None:
    seen = pixels(fit_to_model(Picture(Image.new("RGB", (64, 32), "blue"), "PNG"), Fit.PAD, SPEC).image)
    assert (seen[:4] == PAD_COLOUR).all()
    assert (seen[13:19] == (0, 0, 255)).all()
    assert (seen[28:] == PAD_COLOUR).all()


def test_the_hasty_reduction_of_photos_moves_no_value_far() -> None:
    large = photo().resize((1804, 1200))
    exact = large.crop((302, 0, 1502, 1200)).resize((32, 32), Image.Resampling.LANCZOS)
    seen = fit_to_model(Picture(large, "PNG"), Fit.CROP, SPEC).image
    assert np.abs(pixels(seen).astype(int) - pixels(exact)).max() <= 4


def test_an_upload_much_larger_than_the_model_sees_is_warned_of() -> None:
    assert fit_to_model(Picture(Image.new("RGB", (900, 256)), "PNG"), Fit.CROP, SPEC).warnings == ()
    (warning,) = fit_to_model(Picture(Image.new("RGB", (900, 257)), "PNG"), Fit.CROP, SPEC).warnings
    assert "257×257" in warning


@pytest.mark.parametrize(
    ("fit", "size", "rectangle"),
    [
        (Fit.CROP, (451, 300), Rectangle(25, 0, 400, 300)),  # wider than 4:3
        (Fit.CROP, (300, 451), Rectangle(0, 113, 300, 225)),
        (Fit.CROP, (128, 96), Rectangle(0, 0, 128, 96)),
        (Fit.CROP, (1, 300), Rectangle(0, 149, 1, 1)),
        (Fit.PAD, (451, 300), Rectangle(0, -19, 451, 338)),
        (Fit.PAD, (300, 451), Rectangle(-151, 0, 601, 451)),
        (Fit.PAD, (128, 96), Rectangle(0, 0, 128, 96)),
        (Fit.STRETCH, (451, 300), Rectangle(0, 0, 451, 300)),
    ],
)
def test_the_rectangle_has_the_models_aspect_ratio(
    fit: Fit, size: tuple[int, int], rectangle: Rectangle
) -> None:
    seen = fit_to_model(Picture(Image.new("RGB", size), "PNG"), fit, WIDE_GREY)
    assert seen.rectangle == rectangle
    assert seen.image.size == (64, 48)


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", [(1, 1), (65_535, 1), (1, 65_535), (63, 49), (5000, 7)])
def test_every_shape_fits_a_model_that_is_not_square(size: tuple[int, int], fit: Fit) -> None:
    grey = WIDE_GREY.pad_colour
    seen = fit_to_model(Picture(Image.new("RGB", size, grey), "PNG"), fit, WIDE_GREY)
    assert seen.image.getcolors() == [(64 * 48, grey[0])]


def test_a_model_of_one_channel_sees_grey() -> None:
    image = photo().resize((64, 48))
    seen = fit_to_model(Picture(image, "PNG"), Fit.CROP, WIDE_GREY).image
    assert seen.mode == "L"
    assert np.array_equal(pixels(seen), pixels(image.convert("L")))


def test_padding_has_the_colour_of_the_models_mean() -> None:
    assert SPEC.pad_colour == PAD_COLOUR
    assert WIDE_GREY.pad_colour == (102, 102, 102)
    seen = pixels(fit_to_model(Picture(Image.new("RGB", (64, 24), "white"), "PNG"), Fit.PAD, WIDE_GREY).image)
    assert (seen[:10] == 102).all()
    assert (seen[14:34] == 255).all()
    assert (seen[38:] == 102).all()


def test_an_upload_is_compared_to_both_sides_of_the_model() -> None:
    def warnings(size: tuple[int, int]) -> tuple[str, ...]:
        return fit_to_model(Picture(Image.new("RGB", size), "PNG"), Fit.CROP, WIDE_GREY).warnings

    assert warnings((8 * 64, 8 * 48)) == ()
    (warning,) = warnings((800, 600))
    assert warning.startswith("The model sees 64×48 pixels of the upload's 800×600")
