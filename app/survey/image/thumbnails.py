"""Small pictures of a report, as data URLs: what the network sees, and its relevance in colours."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.modalities.drawing.scale import scale_of_values
from app.modalities.drawing.style import ColourStyle, Normalize
from app.survey.image.inputs import image_of

SIDE = 112
"""Longest side in pixels; smaller pictures keep their size."""
QUALITY = 70
MEAN_SIDE = 128


def picture_url(pixels: npt.NDArray[np.uint8]) -> str:
    """Return what the network sees, (channels, height, width)."""
    return _url(_reduced(image_of(pixels)))


def map_url(relevance: npt.NDArray[np.floating]) -> str:
    """Return relevance, (channels, height, width), on a scale of its own."""
    return _url(_reduced(_drawn(relevance.sum(0, dtype=np.float64), ColourStyle())))


def mean_url(cells: npt.NDArray[np.floating], colormap: str) -> str:
    """Return values of a grid, (rows, columns), enlarged; those that are all positive on a scale from 0."""
    normalize = Normalize.SYMMETRIC if cells.min() < 0 else Normalize.ABSOLUTE
    image = _drawn(cells.astype(np.float64), ColourStyle(normalize, colormap=colormap))
    scale = MEAN_SIDE // max(image.size)
    return _url(image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST), "PNG")


def _drawn(values: npt.NDArray[np.float64], style: ColourStyle) -> Image.Image:
    return Image.fromarray(scale_of_values([values], style).colours(values))


def _reduced(image: Image.Image) -> Image.Image:
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return image


def _url(image: Image.Image, form: str = "WEBP") -> str:
    buffer = io.BytesIO()
    image.save(buffer, form, quality=QUALITY, method=4)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
