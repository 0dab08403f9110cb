"""Heatmaps of a few values of relevance, drawn over the photo of a cat."""

import io

import numpy as np
from PIL import Image

from app.modalities.image.drawing.backdrop import backdrop_of
from app.modalities.image.drawing.render import render
from app.modalities.image.drawing.style import Style
from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.picture import Picture
from app.modalities.image.spec import ImageSpec

SPEC = ImageSpec(3, 32, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
RELEVANCE = np.zeros((3, 32, 32), np.float32)
RELEVANCE[0, 3, 4], RELEVANCE[1, 10, 20] = 2.0, -1.0


def drawn(style: Style, cat: Image.Image, relevance: np.ndarray = RELEVANCE) -> Image.Image:
    picture = Picture(cat, "PNG")
    seen = fit_to_model(picture, Fit.CROP, SPEC)
    heatmap = render(relevance, style, backdrop_of(picture, style, SPEC), seen.rectangle, {"a": "ä"})
    image = Image.open(io.BytesIO(heatmap.png))
    image.load()
    assert image.size == (heatmap.width, heatmap.height)
    return image


def pixels(style: Style, cat: Image.Image, relevance: np.ndarray = RELEVANCE) -> np.ndarray:
    return np.asarray(drawn(style, cat, relevance).convert("RGB")).astype(int)
