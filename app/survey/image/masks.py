"""Masks of objects in pictures, with which relevance outside an object is measured."""

from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import DataError, RequestError
from app.modalities.image.decoding import decode
from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.spec import ImageSpec
from app.survey.items import Item, find_items

WHITE = 128
"""Level from which a pixel of a mask is the object."""


class Masks:
    """The masks of a folder or zip: white where the object is, by the names of the pictures without suffix."""

    def __init__(self, source: Path, spec: ImageSpec, fit: Fit, max_pixels: int) -> None:
        """Raises `DataError` if there is no mask in ``source``."""
        self._items = {_stem(one): one for one in find_items(source)}
        self._spec, self._fit, self._max_pixels = spec, fit, max_pixels

    def of(self, item: Item) -> npt.NDArray[np.bool_] | None:
        """Return which pixels of the network's input show the object, (H, W); ``None`` without a mask.

        Raises `DataError` for a mask that cannot be read.
        """
        found = self._items.get(_stem(item))
        if found is None:
            return None
        try:
            picture = decode(found.read(), self._max_pixels)
        except (RequestError, OSError) as error:
            raise DataError(f"mask {found.name}: {error}") from error
        image: Image.Image = fit_to_model(picture, self._fit, self._spec).image.convert("L")
        return np.asarray(image) >= WHITE


def _stem(item: Item) -> str:
    """Return what a picture and its mask share: folder of its class and name without suffix."""
    path = PurePosixPath(item.name)
    return f"{path.parent.name}/{path.stem}"
