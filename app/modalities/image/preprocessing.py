"""Preprocessing: pixels to the network's normalised input."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.modalities.image.picture import Picture
from app.modalities.image.spec import ImageSpec

Floats = npt.NDArray[np.float32]


def to_input(image: Image.Image, spec: ImageSpec) -> Floats:
    """Normalise a picture of the network's size and mode: (x / 255 − mean) / std, float32 (C, H, W)."""
    levels = np.atleast_3d(np.asarray(image))  # (H, W) or (H, W, 3) -> (H, W, C)
    values = _levels(spec)[levels, np.arange(spec.channels)]  # (H, W, C)
    return np.moveaxis(values, 2, 0)  # (H, W, C) -> (C, H, W)


def normalise(pixels: Floats, spec: ImageSpec) -> Floats:
    """Normalise pixels in 0…1: (x − mean) / std, float32 (C, H, W)."""
    shift, scale = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (spec.mean, spec.std))
    normalised: Floats = (pixels - shift) / scale
    return normalised


def from_pixels(pixels: Floats) -> Picture:
    """Return pixels in 0…1, float32 (C, H, W), as an RGB picture, rounded to 8 bits."""
    levels = np.rint(pixels * 255).astype(np.uint8).transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    return Picture(Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3))), "FP32")


@lru_cache
def _levels(spec: ImageSpec) -> Floats:
    """Return the network's input for each of the 256 levels of each channel, (256, C)."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    return normalise(np.broadcast_to(levels, (spec.channels, 1, 256)), spec)[:, 0].T
