"""Fitting a picture to the model's input size: which part of it is scaled, and padding."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from PIL import Image

from app.modalities.image.picture import Facts, Picture, Rectangle

MODEL_SIDE: Final = 32
PAD_COLOUR: Final = (125, 123, 114)
"""The colour of CIFAR-10's average pixel: after normalisation it is close to zero, so that padding carries no
signal. White or black would be an edge to the model.
"""
PAD_SIDE: Final = 1024
"""A longer picture is scaled down to this before it is padded: a square around 65535×1 would take 13 GB."""
MUCH_LARGER: Final = 8
"""Ratio of a rectangle's side to the model's from which a warning is given: one pixel then stands for 64."""


class Fit(StrEnum):
    """How a picture of any shape becomes the model's square."""

    CROP = "crop"
    """The largest centred square."""
    PAD = "pad"
    """The smallest square around the picture, filled up with the padding colour."""
    STRETCH = "stretch"
    """The whole picture; its aspect ratio is not kept."""


@dataclass(frozen=True)
class FittedImage:
    """What the model sees: an RGB picture of its input size, and the rectangle of the upload that it shows."""

    image: Image.Image
    rectangle: Rectangle
    warnings: tuple[str, ...] = ()


def facts(picture: Picture, fitted: FittedImage) -> Facts:
    """Return the facts about ``picture``, of which the model sees ``fitted``."""
    warnings = (*picture.warnings, *fitted.warnings)
    return Facts(picture.format, picture.width, picture.height, fitted.rectangle, warnings)


def fit_to_model(
    picture: Picture,
    fit: Fit = Fit.CROP,
    side: int = MODEL_SIDE,
    pad_colour: tuple[int, int, int] = PAD_COLOUR,
) -> FittedImage:
    """Scale the part chosen by ``fit`` to ``side`` × ``side``; a picture of that size is left unchanged."""
    rectangle = _rectangle(picture.width, picture.height, fit)
    # Cropped first: a filter that scales a region of a picture also reads the pixels next to the region.
    part = _padded(picture.image, pad_colour) if fit is Fit.PAD else picture.image.crop(rectangle.box)
    # Lanczos weighs all pixels that it merges, so that nothing aliases. reducing_gap=3 makes it several times
    # faster on photos and changes no value by more than a level or two.
    image = part.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return FittedImage(image, rectangle, _size_warnings(rectangle, side))


def _rectangle(width: int, height: int, fit: Fit) -> Rectangle:
    """Return the part of a ``width`` × ``height`` upload that becomes the model's square."""
    if fit is Fit.STRETCH:
        return Rectangle(0, 0, width, height)
    side = min(width, height) if fit is Fit.CROP else max(width, height)
    return Rectangle((width - side) // 2, (height - side) // 2, side, side)


def _padded(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Return the picture in the middle of a square of at most PAD_SIDE pixels a side."""
    side = max(image.size)
    canvas_side = min(side, PAD_SIDE)
    width, height = (max(1, round(length * canvas_side / side)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    square = Image.new("RGB", (canvas_side, canvas_side), colour)
    square.paste(small, ((canvas_side - width) // 2, (canvas_side - height) // 2))
    return square


def _size_warnings(rectangle: Rectangle, side: int) -> tuple[str, ...]:
    """Return a warning where most of the picture's detail cannot reach the model."""
    if min(rectangle.width, rectangle.height) <= MUCH_LARGER * side:
        return ()
    return (
        f"The model sees {side}×{side} pixels of the upload's {rectangle.width}×{rectangle.height}: "
        "details are lost. Crop the picture to its subject.",
    )
