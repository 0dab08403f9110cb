"""Fitting pictures of every shape to the model's input size."""

from typing import Any

import numpy as np
import pytest
from pictures import LIMIT, chelsea, photo, pixels, saved
from PIL import Image

from app.modalities.image.decoding import decode
from app.modalities.image.fitting import PAD_COLOUR, Fit, fit_to_model
from app.modalities.image.picture import Picture, Rectangle


@pytest.mark.parametrize("fit", Fit)
def test_a_picture_of_the_models_size_passes_bit_for_bit(fit: Fit) -> None:
    image = chelsea().resize((32, 32))
    seen = fit_to_model(decode(saved(image), LIMIT), fit)
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
    fit_to_model(picture, fit)


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", [(1, 1), (65_535, 1), (1, 65_535), (31, 33), (5000, 7)])
def test_every_shape_fits(size: tuple[int, int], fit: Fit) -> None:
    picture = decode(saved(Image.new("RGB", size, PAD_COLOUR)), LIMIT)
    seen = fit_to_model(picture, fit)
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
    assert fit_to_model(Picture(Image.new("RGB", size), "PNG"), fit).rectangle == rectangle


def test_crop_sees_the_centre_and_nothing_else() -> None:
    image = Image.new("RGB", (192, 64), "red")
    image.paste("blue", (64, 0, 128, 64))
    assert fit_to_model(Picture(image, "PNG"), Fit.CROP).image.getcolors() == [(1024, (0, 0, 255))]


def test_pad_puts_the_picture_between_bands_of_grey() -> None:
    seen = pixels(fit_to_model(Picture(Image.new("RGB", (64, 32), "blue"), "PNG"), Fit.PAD).image)
    assert (seen[:4] == PAD_COLOUR).all()
    assert (seen[13:19] == (0, 0, 255)).all()
    assert (seen[28:] == PAD_COLOUR).all()


def test_the_hasty_reduction_of_photos_moves_no_value_far() -> None:
    large = photo().resize((1804, 1200))
    exact = large.crop((302, 0, 1502, 1200)).resize((32, 32), Image.Resampling.LANCZOS)
    seen = fit_to_model(Picture(large, "PNG")).image
    assert np.abs(pixels(seen).astype(int) - pixels(exact)).max() <= 4


def test_an_upload_much_larger_than_the_model_sees_is_warned_of() -> None:
    assert fit_to_model(Picture(Image.new("RGB", (900, 256)), "PNG")).warnings == ()
    (warning,) = fit_to_model(Picture(Image.new("RGB", (900, 257)), "PNG")).warnings
    assert "257×257" in warning
