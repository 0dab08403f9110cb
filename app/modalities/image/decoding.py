"""Bytes -> RGB picture -> (3, 32, 32) input, and the rectangle of the upload that the model saw."""

import contextlib
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from app.errors import EmptyImageError, RequestError, TooLargeError, UnreadableImageError
from app.modalities.image.file_checks import METADATA_BYTES, check_container, png_pixels

Floats = npt.NDArray[np.float32]

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # no other parser of Pillow's ever runs
FORMAT_NAMES: Final = "PNG, JPEG, WebP, GIF, BMP or TIFF"
MAX_SIDE: Final = 65_535  # JPEG's and GIF's own limit; 25 million rows of one pixel decode for a second
EXIF_KEYS: Final = ("exif", "Raw profile type exif")  # where Pillow keeps it; the latter is ImageMagick's
SIXTEEN_BIT_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
UNSCALED_MODES: Final = ("I", "F")  # 32-bit samples: nothing in the file says which one is white

CHANNELS: Final = np.arange(3)
MODEL_SIDE: Final = 32
# The colour of CIFAR-10's average pixel: after normalisation it is all but zero, so that the
# border of a padded picture says nothing to the model. White or black would be an edge to it.
PAD_COLOUR: Final = (125, 123, 114)
PAD_SIDE: Final = 1024  # a longer picture shrinks to this first: a square around 65535×1 would be 13 GB
MUCH_LARGER: Final = 8  # times the model's side; beyond it a model's pixel stands for 64 of the upload's

UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """An upload as people see it: upright, opaque, 8-bit RGB. Sizes in pixels, after EXIF's rotation."""

    image: Image.Image
    format: str
    warnings: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.image.height


@dataclass(frozen=True)
class Rectangle:
    """A part of an upload, in its pixels. It may stick out: the square around a padded picture does."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), as Pillow names a region."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class Facts:
    """What is to be said of an upload: its size in pixels, and the rectangle of it that the model saw."""

    format: str
    width: int
    height: int
    rectangle: Rectangle
    warnings: tuple[str, ...] = ()


class Fit(StrEnum):
    """How a picture of any shape becomes the model's square."""

    CROP = "crop"  # the square in its centre
    PAD = "pad"  # the square around it, filled up with grey
    STRETCH = "stretch"  # all of it, its proportions given up


@dataclass(frozen=True)
class Seen:
    """What the model sees: a small square RGB picture, and where in the upload it comes from."""

    image: Image.Image
    rectangle: Rectangle
    warnings: tuple[str, ...] = ()


def facts(picture: Picture, seen: Seen) -> Facts:
    """What is to be said of ``picture`` when it has been ``seen``."""
    warnings = (*picture.warnings, *seen.warnings)
    return Facts(picture.format, picture.width, picture.height, seen.rectangle, warnings)


def decode(data: bytes, max_pixels: int) -> Picture:
    """The picture in a file's bytes; its format is read from them and from nothing else.

    Of an animation the first frame counts. ICC profiles are ignored: CIFAR-10 was made without.
    Raises EmptyImageError for no bytes, TooLargeError for more than ``max_pixels`` or a side beyond
    MAX_SIDE (read from the header, nothing is decoded) and UnreadableImageError for all else that is
    not a whole picture.
    """
    if not data:
        raise EmptyImageError(f"The picture is empty (0 bytes). Send a {FORMAT_NAMES} file.")
    if png_pixels(data) > max_pixels:
        raise _too_many_pixels(max_pixels)
    check_container(data)
    _hush_pillow()
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


def fit_to_model(
    picture: Picture,
    fit: Fit = Fit.CROP,
    side: int = MODEL_SIDE,
    pad_colour: tuple[int, int, int] = PAD_COLOUR,
) -> Seen:
    """Scale the part that ``fit`` chooses to ``side`` × ``side``; a picture of that size stays as it is."""
    rectangle = _rectangle(picture.width, picture.height, fit)
    # Cut out first: a filter that scales a part of a picture also looks at what is next to it.
    part = _padded(picture.image, pad_colour) if fit is Fit.PAD else picture.image.crop(rectangle.box)
    # Lanczos looks at every pixel that it merges, so that nothing aliases; the gap of 3 makes it
    # several times faster on photos and moves no value by more than a level or two.
    image = part.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Seen(image, rectangle, _size_warnings(rectangle, side))


def to_input(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """An RGB picture as the network takes it: (x / 255 − mean) / std, float32 (3, H, W)."""
    values = _levels(tuple(mean), tuple(std))[np.asarray(image), CHANNELS]  # (H, W, 3)
    return np.moveaxis(values, 2, 0)  # (H, W, 3) -> (3, H, W)


@lru_cache
def _levels(mean: tuple[float, ...], std: tuple[float, ...]) -> Floats:
    """What the network takes for each of the 256 levels of each channel, (256, 3)."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    return normalise(np.broadcast_to(levels, (3, 1, 256)), mean, std)[:, 0].T


def normalise(pixels: Floats, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Pixels in 0…1 as the network takes them: (x − mean) / std, float32 (3, H, W)."""
    shift, scale = (np.asarray(values, np.float32).reshape(-1, 1, 1) for values in (mean, std))
    normalised: Floats = (pixels - shift) / scale
    return normalised


def from_pixels(pixels: Floats) -> Picture:
    """Pixels in 0…1, float32 (3, H, W), as a picture for people: rounded to 8 bits."""
    levels = np.rint(pixels * 255).astype(np.uint8).transpose(1, 2, 0)  # (3, H, W) -> (H, W, 3)
    return Picture(Image.fromarray(levels), "FP32")


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
    image.info.clear()  # nothing of an upload's metadata travels on
    frames = ("The file holds several frames; only the first one is used.",)
    return Picture(image, kind, frames if animated else ())


def _to_rgb(image: Image.Image) -> Image.Image:
    """A loaded picture of any mode as opaque 8-bit RGB, on white where one can see through it."""
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
    """16-bit grey by its upper byte, as Pillow itself reads 16-bit colour; Pillow's convert() would clip."""
    values = np.asarray(image)  # (H, W) uint16
    values = np.where(values == image.info.get("transparency", -1), 0xFFFF, values)
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")


def _transpose(image: Image.Image) -> Image.Transpose | None:
    """What turns a loaded picture upright; nothing where its EXIF block is absent, broken or far too large."""
    if any(len(image.info.get(key, "")) > METADATA_BYTES for key in EXIF_KEYS):
        return None  # an orientation can have a million values, and Pillow unpacks them all
    with contextlib.suppress(Exception):  # broken EXIF is common, and no reason to refuse the pixels
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return None


def _rectangle(width: int, height: int, fit: Fit) -> Rectangle:
    """The part of a ``width`` × ``height`` upload that becomes the model's square."""
    if fit is Fit.STRETCH:
        return Rectangle(0, 0, width, height)
    side = min(width, height) if fit is Fit.CROP else max(width, height)
    return Rectangle((width - side) // 2, (height - side) // 2, side, side)


def _padded(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The picture in the middle of a square, at most PAD_SIDE on the side."""
    side = max(image.size)
    canvas_side = min(side, PAD_SIDE)
    width, height = (max(1, round(length * canvas_side / side)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    square = Image.new("RGB", (canvas_side, canvas_side), colour)
    square.paste(small, ((canvas_side - width) // 2, (canvas_side - height) // 2))
    return square


def _size_warnings(rectangle: Rectangle, side: int) -> tuple[str, ...]:
    """A word where much of the picture's detail cannot reach the model."""
    if min(rectangle.width, rectangle.height) <= MUCH_LARGER * side:
        return ()
    return (
        f"The model sees {side}×{side} pixels of the upload's {rectangle.width}×{rectangle.height}: "
        "details are lost. Crop the picture to its subject.",
    )


def _too_many_pixels(max_pixels: int) -> TooLargeError:
    return TooLargeError(
        f"The picture has more pixels than the {max_pixels / 1e6:g} million that are taken. Scale it down."
    )


def _hush_pillow() -> None:
    """Ignore the warnings that Pillow's own modules emit: they speak of the upload to the programmer.

    For the whole process and for good, since ``warnings.catch_warnings`` is not safe between threads.
    """
    if ("ignore", None, Warning, re.compile(r"PIL\."), 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
