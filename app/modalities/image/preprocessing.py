"""Preprocessing: pixels to the network's normalised input."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.modalities.image.picture import Picture

Floats = npt.NDArray[np.float32]
CHANNELS: Final = np.arange(3)


def to_input(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Normalise an RGB picture: (x / 255 − mean) / std, float32 (3, H, W)."""
    values = _levels(tuple(mean), tuple(std))[np.asarray(image), CHANNELS]  # (H, W, 3)
    return np.moveaxis(values, 2, 0)  # (H, W, 3) -> (3, H, W)


def normalise(pixels: Floats, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Normalise pixels in 0…1: (x − mean) / std, float32 (3, H, W)."""
    shift, scale = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (mean, std))
    normalised: Floats = (pixels - shift) / scale
    return normalised


def from_pixels(pixels: Floats) -> Picture:
    """Return pixels in 0…1, float32 (3, H, W), as a picture, rounded to 8 bits."""
    levels = np.rint(pixels * 255).astype(np.uint8).transpose(1, 2, 0)  # (3, H, W) -> (H, W, 3)
    return Picture(Image.fromarray(levels), "FP32")


@lru_cache
def _levels(mean: tuple[float, ...], std: tuple[float, ...]) -> Floats:
    """Return the network's input for each of the 256 levels of each channel, (256, 3)."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    return normalise(np.broadcast_to(levels, (3, 1, 256)), mean, std)[:, 0].T
