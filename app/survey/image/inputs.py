"""What a network sees of pictures, as it is kept, and jobs for it."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.lrp.request import ExplanationRequest
from app.modalities.image.preprocessing import to_input
from app.modalities.image.spec import ImageSpec
from app.models.protocol import Job

Pixels = npt.NDArray[np.uint8]
"""What the network sees, (channels, height, width)."""


def content_of(sample: Any) -> Pixels:
    """Return what the network sees of an `app.modalities.image.modality.ImageSample`."""
    return np.moveaxis(np.atleast_3d(sample.pixels), 2, 0)  # (H, W, C) -> (C, H, W)


def image_of(pixels: Pixels) -> Image.Image:
    """Return what the network sees as an image in greyscale or RGB."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2))


def job_of(pixels: Pixels, spec: ImageSpec, *requests: ExplanationRequest) -> Job:
    """Return a job for what the network sees."""
    return Job(to_input(image_of(pixels), spec), requests)
