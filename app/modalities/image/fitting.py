"""Fitting a picture to the network's input: which part of it is scaled, padding, and greyscale.

A network whose card says how pictures were resized in training gets them like that: `trained_resize`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from PIL import Image

from app.modalities.image.picture import Box, Facts, Picture, Rectangle
from app.modalities.image.spec import ImageSpec, TrainedResize
from app.modalities.image.trained_resize import cropped, padded, stretched

PAD_SIDE: Final = 1024
"""A picture is scaled to this longest side, or the network's, before it is padded: a square around 65535×1 would
take 13 GB.
"""
MUCH_LARGER: Final = 8
"""A warning is given from this ratio of a rectangle's sides to the network's: one of its pixels stands for 64."""


class Fit(StrEnum):
    """Which part of a picture becomes the network's input."""

    CROP = "crop"
    """The largest centred rectangle of the input's aspect ratio, or what the training's preprocessing keeps."""
    PAD = "pad"
    """The smallest rectangle of the input's aspect ratio around the picture; the rest is padding."""
    STRETCH = "stretch"
    """The whole picture; its aspect ratio is not kept."""


@dataclass(frozen=True)
class FittedImage:
    """What the network sees: a picture of its size and mode, and the rectangle of the upload that it shows."""

    image: Image.Image
    rectangle: Rectangle
    warnings: tuple[str, ...] = ()


def facts(picture: Picture, fitted: FittedImage) -> Facts:
    """Return the facts about ``picture``, of which the network sees ``fitted``."""
    warnings = (*picture.warnings, *fitted.warnings)
    return Facts(picture.format, picture.width, picture.height, fitted.rectangle, warnings)


def fit_to_model(picture: Picture, fit: Fit, spec: ImageSpec) -> FittedImage:
    """Scale the part chosen by ``fit`` to the network's input size.

    A picture of that size is left unchanged, unless the network's preprocessing would crop it.
    """
    if spec.resize is None:
        image, rectangle = _fitted_by_aspect(picture, fit, spec)
    else:
        image, rectangle = _fitted_as_trained(picture.image, fit, spec.resize, spec)
    return FittedImage(image.convert(spec.mode), rectangle, _size_warnings(rectangle, spec))


def _fitted_as_trained(
    image: Image.Image, fit: Fit, resize: TrainedResize, spec: ImageSpec
) -> tuple[Image.Image, Rectangle]:
    match fit:
        case Fit.CROP:
            return cropped(image, resize, spec)
        case Fit.PAD:
            return padded(image, resize, spec)
        case Fit.STRETCH:
            return stretched(image, resize, spec)


def _fitted_by_aspect(picture: Picture, fit: Fit, spec: ImageSpec) -> tuple[Image.Image, Rectangle]:
    rectangle = _rectangle(picture, fit, spec)
    # Cropped first: a filter that scales a region of a picture also reads the pixels next to the region.
    part = (
        _padded(picture.image, rectangle.scaled(), spec)
        if fit is Fit.PAD
        else picture.image.crop(rectangle.scaled().box)
    )
    # Lanczos weighs all pixels that it merges, so that nothing aliases. reducing_gap=3 makes it several times
    # faster on photos and changes no value by more than a level or two.
    return part.resize(spec.size, Image.Resampling.LANCZOS, reducing_gap=3.0), rectangle


def _rectangle(picture: Picture, fit: Fit, spec: ImageSpec) -> Rectangle:
    """Return the part of a picture that becomes the network's input, centred."""
    if fit is Fit.STRETCH:
        return Rectangle(0, 0, picture.width, picture.height)
    is_wider = picture.width * spec.height > picture.height * spec.width
    if is_wider == (fit is Fit.CROP):  # the picture's height fits, its width is cut or fills up
        width, height = round(picture.height * spec.width / spec.height), picture.height
    else:
        width, height = picture.width, round(picture.width * spec.height / spec.width)
    width, height = max(1, width), max(1, height)
    return Rectangle((picture.width - width) // 2, (picture.height - height) // 2, width, height)


def _padded(image: Image.Image, rectangle: Box, spec: ImageSpec) -> Image.Image:
    """Return the picture in the middle of its ``rectangle``, which is scaled down to PAD_SIDE if it is larger."""
    side = max(rectangle.width, rectangle.height)
    scaled_side = min(side, max(PAD_SIDE, spec.longest_side))

    def scaled(*lengths: int) -> tuple[int, ...]:
        return tuple(max(1, round(length * scaled_side / side)) for length in lengths)

    canvas_width, canvas_height = scaled(rectangle.width, rectangle.height)
    width, height = scaled(*image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    canvas = Image.new("RGB", (canvas_width, canvas_height), spec.pad_colour)
    canvas.paste(small, ((canvas_width - width) // 2, (canvas_height - height) // 2))
    return canvas


def _size_warnings(rectangle: Rectangle, spec: ImageSpec) -> tuple[str, ...]:
    """Return a warning where most of the picture's detail cannot reach the network."""
    if rectangle.width <= MUCH_LARGER * spec.width or rectangle.height <= MUCH_LARGER * spec.height:
        return ()
    part = rectangle.scaled()
    return (
        f"The model sees {spec.width}×{spec.height} pixels of the upload's "
        f"{part.width}×{part.height}: details are lost. Crop the picture to its subject.",
    )
