"""Pictures given as arrays instead of files."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def to_file(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return 8-bit pixels, (height, width, 1 or 3), as an uncompressed PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
