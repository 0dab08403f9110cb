"""Pictures and their files, for tests of what is done to uploads."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data as photos

from app.modalities.image.picture import Picture
from app.modalities.image.spec import ImageSpec

LIMIT = 25_000_000
SPEC = ImageSpec(3, 32, 32, (0.491386, 0.482218, 0.446473), (0.246981, 0.243453, 0.261495))
"""The input of the shipped network."""
WIDE_GREY = ImageSpec(1, 48, 64, (0.4,), (0.2,))
"""One channel, 4:3."""
SAVED_AS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
}


def photo() -> Image.Image:
    """Chelsea the cat, 451×300, RGB."""
    return Image.fromarray(np.asarray(photos.chelsea()))  # type: ignore[no-untyped-call] # it has no types


def chelsea() -> Image.Image:
    """The same photo at 90×60."""
    return photo().resize((90, 60))


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixels(picture: Picture | Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.image if isinstance(picture, Picture) else picture)
