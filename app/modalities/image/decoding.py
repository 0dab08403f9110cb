"""Decoding of uploads: bytes of any accepted format to an upright, opaque 8-bit RGB picture."""

import contextlib
import io
import re
import warnings
from typing import Final

import numpy as np
from PIL import ExifTags, Image

from app.errors import EmptyImageError, RequestError, TooLargeError, UnreadableImageError
from app.modalities.image.file_checks import METADATA_BYTES, check_structure, png_pixels
from app.modalities.image.picture import Picture

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Accepted formats by Pillow's names; no other of its parsers runs."""
FORMAT_NAMES: Final = "PNG, JPEG, WebP, GIF, BMP or TIFF"
MAX_SIDE: Final = 65_535
"""In pixels, as JPEG and GIF limit it themselves; 25 million rows of one pixel take a second to decode."""
EXIF_KEYS: Final = ("exif", "Raw profile type exif")
"""Keys of Pillow's ``info`` that hold EXIF; the second one is ImageMagick's."""
SIXTEEN_BIT_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
UNSCALED_MODES: Final = ("I", "F")
"""Modes of 32-bit samples: the file does not say which value is white."""
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transposition that turns a picture of an EXIF orientation upright."""


def decode(data: bytes, max_pixels: int) -> Picture:
    """Decode the picture in a file's bytes; its format is read from them alone.

    Of an animation the first frame is used. ICC profiles are ignored, as they usually are in training.

    Raises `EmptyImageError` for no bytes, `TooLargeError` for more than ``max_pixels`` or a side beyond
    ``MAX_SIDE``, both read from the header before anything is decoded, and `UnreadableImageError` for anything
    else that is not a complete picture.
    """
    if not data:
        raise EmptyImageError(f"The picture is empty (0 bytes). Send a {FORMAT_NAMES} file.")
    if png_pixels(data) > max_pixels:
        raise _too_many_pixels(max_pixels)
    check_structure(data)
    _ignore_warnings_of_pillow()
    try:
        return _decode(data, max_pixels)
    except RequestError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(max_pixels) from error
    except Exception as error:  # decoders raise anything: ValueError, struct.error, even AttributeError
        raise UnreadableImageError(
            f"Not a readable {FORMAT_NAMES} picture: the file is of another kind, damaged or cut short. "
            "Save it again as PNG or JPEG and send that."
        ) from error


def _decode(data: bytes, max_pixels: int) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        if opened.width * opened.height > max_pixels:
            raise _too_many_pixels(max_pixels)
        if max(opened.size) > MAX_SIDE:
            raise TooLargeError(
                f"The picture is {opened.width}×{opened.height}, and no side may have more than {MAX_SIDE} "
                "pixels. Scale it down."
            )
        # A JPEG with a second picture in it (depth, gain map; Pillow's MPO) is not an animation.
        kind = "JPEG" if opened.format == "MPO" else str(opened.format)
        animated = kind != "JPEG" and getattr(opened, "is_animated", False)
        opened.load()
        image = _to_rgb(opened)
        transpose = _transpose(opened)
    if transpose is not None:
        image = image.transpose(transpose)
    image.info.clear()  # no metadata of an upload may reach a response
    frames = ("The file holds several frames; only the first one is used.",)
    return Picture(image, kind, frames if animated else ())


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture of any mode to 8-bit RGB, composited on white where it is transparent."""
    if image.mode in UNSCALED_MODES:
        raise UnreadableImageError(
            "The picture has 32-bit samples, and nothing says which value is white. Save it with 8 or 16."
        )
    if image.mode in SIXTEEN_BIT_MODES:
        return _from_sixteen_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    translucent = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(translucent, mask=translucent.getchannel("A"))
    return paper


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey by its upper byte, as Pillow reads 16-bit colour; its ``convert`` would clip."""
    values = np.asarray(image)  # (H, W) uint16
    values = np.where(values == image.info.get("transparency", -1), 0xFFFF, values)
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


def _transpose(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that turns a loaded picture upright; ``None`` for no, broken or too large EXIF."""
    if any(len(image.info.get(key, "")) > METADATA_BYTES for key in EXIF_KEYS):
        return None  # an orientation can have a million values, all of which Pillow unpacks
    with contextlib.suppress(Exception):  # broken EXIF is common and does not affect the pixels
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def _too_many_pixels(max_pixels: int) -> TooLargeError:
    return TooLargeError(
        f"The picture has more pixels than the {max_pixels / 1e6:g} million that are taken. Scale it down."
    )


def _ignore_warnings_of_pillow() -> None:
    """Ignore the warnings that Pillow's modules emit about the upload.

    This applies to the whole process, since ``warnings.catch_warnings`` is not safe between threads.
    """
    if ("ignore", None, Warning, re.compile(r"PIL\."), 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
