"""Decoding of uploads: bytes of any accepted format to an upright, opaque 8-bit sRGB picture."""

import contextlib
import io
import re
import warnings
from dataclasses import replace
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageFile

from app.errors import EmptyImageError, RequestError, TooLargeError, UnreadableImageError
from app.modalities.image import bmp, jpeg, png, tiff, tiff_samples, webp
from app.modalities.image.colour import Colours, to_rgb
from app.modalities.image.file_checks import (
    BMP_SIGNATURE,
    JPEG_SIGNATURE,
    METADATA_BYTES,
    PNG_SIGNATURE,
    check_structure,
    png_pixels,
)
from app.modalities.image.layouts import Reader, reader_of
from app.modalities.image.picture import Picture

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Accepted formats by Pillow's names; no other of its parsers runs."""
FORMAT_NAMES: Final = "PNG, JPEG, WebP, GIF, BMP or TIFF"
MAX_SIDE: Final = 65_535
"""In pixels, as JPEG and GIF limit it themselves; 25 million rows of one pixel take a second to decode."""
EXIF_KEYS: Final = ("exif", "Raw profile type exif")
"""Keys of Pillow's ``info`` that hold EXIF; the second one is ImageMagick's."""
XMP_KEYS: Final = ("xmp", "XML:com.adobe.xmp")
"""Keys of Pillow's ``info`` that hold XMP, in which it looks for an orientation if EXIF has none."""
PROFILE: Final = "icc_profile"
SEVERAL_FRAMES: Final = "The file holds several frames; only the first one is used."
PLAIN_MODES: Final = ("L", "RGB", "CMYK", "LAB")
SIXTEEN_BIT_MODES: Final = ("I;16", "I;16L", "I;16B", "I;16N")
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

    Of an animation the first frame is used. An ICC profile is applied; of 16-bit samples the upper 8 bits are.

    Raises `EmptyImageError` for no bytes, `TooLargeError` for more than ``max_pixels`` or a side beyond
    ``MAX_SIDE``, both read from the header before anything is decoded, and `UnreadableImageError` for a layout
    that is not in `app.modalities.image.layouts` and for anything else that is not a complete picture.
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
    if data.startswith(tiff.SIGNATURES):
        return _decode_tiff(data, max_pixels)
    dropped: set[bytes] = set()
    if data.startswith(PNG_SIGNATURE):
        data, dropped = png.without_broken_chunks(data)
    for signature, layout_of in LAYOUTS.items():
        if data.startswith(signature):
            reader_of(layout_of(data))
    whole = jpeg.with_end(data) if data.startswith(JPEG_SIGNATURE) else data
    with Image.open(io.BytesIO(whole), formats=FORMATS) as opened:
        _check_size(opened.size, max_pixels)
        # A JPEG with a second picture in it (depth, gain map; Pillow's MPO) is not an animation.
        kind = "JPEG" if opened.format == "MPO" else str(opened.format)
        animated = kind != "JPEG" and getattr(opened, "is_animated", False)
        colours = DECODERS[kind](opened, data)
        if whole is not data:
            jpeg.check_complete(opened, data)
        if png.PROFILE in dropped:
            colours = replace(colours, has_profile=True)  # of a kind that is not known
        return _picture(kind, colours, _orientation(opened), animated=animated)


def _decode_tiff(data: bytes, max_pixels: int) -> Picture:
    directory = tiff.read_directory(data)
    _check_size(tiff.size_of(directory), max_pixels)
    layout = tiff.layout_of(directory)
    if reader_of(layout) is Reader.SAMPLES:
        colours = tiff_samples.decode_samples(data, directory, layout)
        return _picture("TIFF", colours, tiff.orientation_of(directory), animated=directory.next != 0)
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as opened:
        animated = opened.is_animated  # type: ignore[attr-defined] # of TiffImageFile
        return _picture("TIFF", _loaded(opened), 1, animated=animated)  # Pillow has turned it upright


def _picture(kind: str, colours: Colours, orientation: int, *, animated: bool) -> Picture:
    image, profile_warnings = to_rgb(colours)
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    image.info.clear()  # no metadata of an upload may reach a response
    return Picture(image, kind, ((SEVERAL_FRAMES,) if animated else ()) + profile_warnings)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_many_pixels(max_pixels)
    if max(size) > MAX_SIDE:
        raise TooLargeError(
            f"The picture is {width}×{height}, and no side may have more than {MAX_SIDE} pixels. Scale it down."
        )


def _loaded(opened: ImageFile.ImageFile) -> Colours:
    """Load a file that was opened, and take its colours apart from its transparency."""
    for key in XMP_KEYS:
        opened.info.pop(key, None)  # a TIFF is turned while it is loaded
    opened.load()
    has_profile = PROFILE in opened.info
    profile = opened.info.get(PROFILE)
    if opened.mode in SIXTEEN_BIT_MODES:
        return Colours(_upper_byte(opened), None, profile, has_profile)
    if not opened.has_transparency_data:
        plain = opened if opened.mode in PLAIN_MODES else opened.convert("L" if opened.mode == "1" else "RGB")
        return Colours(plain, None, profile, has_profile)
    if opened.mode == "LA":
        return Colours(opened.getchannel("L"), opened.getchannel("A"), profile, has_profile)
    translucent = opened.convert("RGBA")
    return Colours(translucent.convert("RGB"), translucent.getchannel("A"), profile, has_profile)


def _upper_byte(image: Image.Image) -> Image.Image:
    """Reduce 16-bit grey to 8 bits as Pillow does 16-bit colour; its ``convert`` would clip."""
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _decode_png(opened: ImageFile.ImageFile, data: bytes) -> Colours:
    layout = png.layout_of(data)
    png.scale_key(opened, layout)
    if layout.bits == 16 and (key := opened.info.pop("transparency", None)) is not None:
        opacity = png.opacity_of_key(data, layout, key)
        return replace(_loaded(opened), opacity=opacity)
    colours = _loaded(opened)
    if (
        layout.colours == "grey" and colours.image.mode == "RGB"
    ):  # Pillow reads 16-bit grey with alpha as RGBA
        return replace(colours, image=colours.image.getchannel("R"))
    return colours


def _decode_gif(opened: ImageFile.ImageFile, data: bytes) -> Colours:  # noqa: ARG001 # as the others
    """Decode the first frame."""
    box = opened.tile[0].extents
    if opened.mode == "L":
        opened.palette = None  # Pillow keeps the palette of the canvas where the frame's own is grey steps
    return _within(_loaded(opened), box)


def _decode_webp(opened: ImageFile.ImageFile, data: bytes) -> Colours:
    """Decode a still picture or the first frame. Without alpha Pillow leaves the rest of the canvas black."""
    return _within(_loaded(opened), webp.frame_box(data))


def _within(colours: Colours, box: tuple[int, int, int, int] | None) -> Colours:
    """Make transparent what a frame at ``box`` (left, top, right, bottom) does not cover of its canvas."""
    size = colours.image.size
    if box is None or box == (0, 0, *size):
        return colours
    opacity = Image.new("L", size, 0)
    opacity.paste(255 if colours.opacity is None else colours.opacity.crop(box), box)
    return replace(colours, opacity=opacity)


def _decode_bmp(opened: ImageFile.ImageFile, data: bytes) -> Colours:
    layout = bmp.layout_of(data)
    profile = bmp.profile_of(data)
    has_profile = profile is not None
    if layout.colours == "palette":
        return Colours(
            bmp.palette_picture(opened, data, layout.bits).convert("RGB"), None, profile, has_profile
        )
    colours = replace(_loaded(opened), profile=profile, has_profile=has_profile)
    if colours.opacity is not None and colours.opacity.getextrema() == (0, 0):
        return replace(colours, opacity=None)  # of a program that left the fourth byte empty
    return colours


DECODERS: Final = {
    "PNG": _decode_png,
    "JPEG": lambda opened, _: _loaded(opened),
    "WEBP": _decode_webp,
    "GIF": _decode_gif,
    "BMP": _decode_bmp,
}
"""Functions of an opened file and its bytes, by Pillow's name of the format."""
LAYOUTS: Final = {
    PNG_SIGNATURE: png.layout_of,
    JPEG_SIGNATURE: jpeg.layout_of,
    BMP_SIGNATURE: bmp.layout_of,
}
"""Formats of more than one layout, but for TIFF."""


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded picture; 1 for no, broken or too large EXIF.

    Pillow's ``getexif`` would look into XMP as well, as early as when a JPEG is opened.
    """
    found = [image.info[key] for key in EXIF_KEYS if key in image.info]
    if not found or len(found[0]) > METADATA_BYTES:
        return 1  # an orientation can have a million values, all of which Pillow unpacks
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # broken EXIF is common and does not affect the pixels
        content = found[0]
        exif.load(content if isinstance(content, bytes) else bytes.fromhex("".join(content.split("\n")[3:])))
        return int(exif.get(ExifTags.Base.Orientation, 1))
    return 1


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
