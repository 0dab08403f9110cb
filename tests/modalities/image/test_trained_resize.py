"""Pictures resized and cropped as in a network's training, against torchvision."""

from typing import Any

import numpy as np
import pytest
from pictures import photo, pixels
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.picture import Picture, Rectangle
from app.modalities.image.spec import ImageSpec, Resampling, TrainedResize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def spec(
    resize: tuple[int, int] = (256, 256),
    size: tuple[int, int] = (224, 224),
    resampling: Resampling = Resampling.BILINEAR,
    *,
    keeps_aspect: bool = True,
) -> ImageSpec:
    """Sizes are (width, height)."""
    return ImageSpec(3, size[1], size[0], MEAN, STD, TrainedResize(*resize, keeps_aspect, resampling))


def fitted(image: Image.Image, described: ImageSpec, fit: Fit = Fit.CROP) -> Any:
    return fit_to_model(Picture(image, "PNG"), fit, described)


def noisy(size: tuple[int, int]) -> Image.Image:
    """The photo with noise, so that a shift by a fraction of a pixel changes many values."""
    levels = pixels(photo().resize(size))
    return Image.fromarray(levels ^ np.random.default_rng(0).integers(0, 64, levels.shape, np.uint8))


@pytest.mark.parametrize("resampling", Resampling)
@pytest.mark.parametrize(
    ("upload", "side", "size"),
    [
        ((451, 300), 256, (224, 224)),
        ((300, 451), 232, (224, 224)),
        ((1801, 1203), 256, (224, 224)),
        ((1203, 1801), 384, (384, 384)),
        ((256, 256), 256, (224, 224)),
        ((224, 224), 224, (224, 224)),
        ((451, 300), 256, (192, 224)),
        ((10, 36), 256, (224, 224)),  # smaller than the crop
        ((1, 1), 256, (224, 224)),
        ((800, 100), 40, (32, 32)),
    ],
)
def test_resize_and_crop_are_torchvisions_to_the_last_bit(
    upload: tuple[int, int], side: int, size: tuple[int, int], resampling: Resampling
) -> None:
    image = noisy(upload)
    reference = v2.Compose(
        [v2.Resize(side, InterpolationMode[resampling.name]), v2.CenterCrop((size[1], size[0]))]
    )
    seen = fitted(image, spec((side, side), size, resampling)).image
    np.testing.assert_array_equal(pixels(seen), pixels(reference(image)))


def test_a_picture_is_stretched_where_the_training_stretched_it() -> None:
    image = noisy((451, 300))
    reference = v2.Compose([v2.Resize((240, 256), InterpolationMode.BICUBIC), v2.CenterCrop((224, 224))])
    seen = fitted(image, spec((256, 240), resampling=Resampling.BICUBIC, keeps_aspect=False))
    np.testing.assert_array_equal(pixels(seen.image), pixels(reference(image)))
    assert seen.rectangle == Rectangle(16 * 451 / 256, 8 * 300 / 240, 224 * 451 / 256, 224 * 300 / 240)


def test_the_input_of_a_network_that_is_not_square_is_covered() -> None:
    """A square that covered only the shorter side would leave bands at the ends."""
    described = spec((366, 256), (320, 224))
    for upload in ((500, 500), (300, 900), (900, 300)):
        seen = fitted(Image.new("RGB", upload, "red"), described)
        assert seen.image.size == (320, 224)
        assert seen.image.getcolors() == [(320 * 224, (255, 0, 0))]


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("upload", [(1, 1), (65_535, 1), (1, 65_535), (7, 5000), (301, 17)])
def test_uploads_of_every_shape_fill_the_input(upload: tuple[int, int], fit: Fit) -> None:
    described = spec()
    seen = fitted(Image.new("RGB", upload, described.pad_colour), described, fit)
    assert seen.image.size == (224, 224)
    assert seen.image.getcolors() == [(224 * 224, described.pad_colour)]


def test_a_long_picture_is_seen_in_its_middle() -> None:
    image = Image.new("RGB", (65_535, 1), "red")
    image.paste("blue", (32_766, 0, 32_769, 1))
    seen = fitted(image, spec())
    assert seen.image.getpixel((112, 112)) == (0, 0, 255)
    assert seen.rectangle.left + seen.rectangle.width / 2 == pytest.approx(65_535 / 2, abs=0.51)
    assert seen.rectangle.width == pytest.approx(224 / 256)


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("upload", [(900, 500), (500, 900), (151, 97), (640, 640)])
@pytest.mark.parametrize(
    "described",
    [
        spec(),
        spec((384, 384), (384, 384), Resampling.BICUBIC),
        spec((366, 256), (320, 224), Resampling.LANCZOS),
        spec((256, 256), (224, 224), keeps_aspect=False),
    ],
)
def test_the_rectangle_tells_the_place_of_every_pixel(
    described: ImageSpec, upload: tuple[int, int], fit: Fit
) -> None:
    """A picture of ramps: the levels of a pixel are where it lies in the upload."""
    width, height = upload
    ramps = np.zeros((height, width, 3), np.uint8)
    ramps[..., 0] = np.linspace(0, 255, width).round()
    ramps[..., 1] = np.linspace(0, 255, height).round()[:, None]
    ramps[..., 2] = 255  # is less in padding
    seen = fitted(Image.fromarray(ramps), described, fit)
    levels, rectangle = pixels(seen.image).astype(float), seen.rectangle
    x = rectangle.left + (np.arange(described.width) + 0.5) / described.width * rectangle.width
    y = rectangle.top + (np.arange(described.height) + 0.5) / described.height * rectangle.height
    y, x = np.meshgrid(y, x, indexing="ij")
    inside = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    np.testing.assert_array_equal(levels[..., 2] == 255, inside)
    for channel, place, length in ((0, x, width), (1, y, height)):
        expected = ((place - 0.5) / (length - 1) * 255).clip(0, 255)
        np.testing.assert_allclose(levels[inside, channel], expected[inside], atol=1.6)


def test_padding_surrounds_the_whole_picture() -> None:
    described = spec()
    seen = fitted(Image.new("RGB", (448, 224), "blue"), described, Fit.PAD)
    levels = pixels(seen.image)
    assert (levels[:56] == described.pad_colour).all()
    assert (levels[56:168] == (0, 0, 255)).all()
    assert (levels[168:] == described.pad_colour).all()
    assert seen.rectangle == Rectangle(0, -112, 448, 448)


def test_stretching_a_picture_of_the_models_size_leaves_it_unchanged() -> None:
    image = noisy((224, 224))
    seen = fitted(image, spec(), Fit.STRETCH)
    np.testing.assert_array_equal(pixels(seen.image), pixels(image))


def test_a_photo_much_larger_than_the_input_is_warned_of_in_whole_pixels() -> None:
    assert fitted(Image.new("RGB", (1500, 1500)), spec()).warnings == ()
    (warning,) = fitted(Image.new("RGB", (4001, 3001)), spec()).warnings
    assert warning.startswith("The model sees 224×224 pixels of the upload's 2628×2625")


def test_no_shape_takes_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    resized: list[tuple[int, int]] = []
    resize: Any = Image.Image.resize

    def recorded(image: Image.Image, size: tuple[int, int], *rest: Any) -> Image.Image:
        resized.append(size)
        enlarged: Image.Image = resize(image, size, *rest)
        return enlarged

    monkeypatch.setattr(Image.Image, "resize", recorded)
    for upload in ((65_535, 1), (1, 65_535)):
        for fit in Fit:
            fitted(Image.new("RGB", upload), spec(), fit)
    assert max(width * height for width, height in resized) <= 8 * 256 * 256
