"""Colours of decoded pictures to sRGB on white: ICC profiles, CMYK, transparency.

LittleCMS, which Pillow brings, applies profiles. What a hostile profile could cost is bounded before LittleCMS
parses it: its size, and pipelines of any number of steps (``multiProcessElementsType``), which no photo has.

A megapixel takes 20 ms by the profile of a screen (Display P3) and 50 ms by the tables of a printing press.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES: Final = 2**22
"""Profiles of printing presses have up to 3 MiB, those of cameras and screens 4 KiB."""
KEPT_PROFILE_BYTES: Final = 2**14
"""Of the profiles whose transforms are kept."""
HEADER_BYTES: Final = 128
MAX_TAGS: Final = 100
"""LittleCMS refuses more."""
SIGNATURE: Final = b"acsp"
CLASSES: Final = (b"mntr", b"scnr", b"prtr", b"spac")
"""Profiles of devices and colour spaces; links, abstract and named-colour profiles do not describe a picture."""
SPACES: Final = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
STEPS: Final = b"mpet"
BROKEN_PROFILE: Final = (
    "The picture's colour profile is broken or does not fit its pixels; it was ignored, colours may be off."
)


@dataclass(frozen=True)
class Colours:
    """A decoded picture of 8 bits in its own colour space."""

    image: Image.Image
    """Of mode L, RGB, CMYK or LAB."""
    opacity: Image.Image | None = None
    """Of mode L; 255 is opaque."""
    profile: object = None
    """ICC profile as the file has it: bytes, unless the file is broken."""
    has_profile: bool = False


class ProfileError(ValueError):
    """An ICC profile is broken, too complex, or for another colour space than the picture's."""


def to_rgb(colours: Colours) -> tuple[Image.Image, tuple[str, ...]]:
    """Return ``colours`` as sRGB on white, mode RGB, and warnings."""
    image, warnings = _in_srgb(colours)
    if colours.opacity is None:
        return image, warnings
    paper = Image.new("RGB", image.size, "white")
    paper.paste(image, mask=colours.opacity)
    return paper, warnings


def _in_srgb(colours: Colours) -> tuple[Image.Image, tuple[str, ...]]:
    image = colours.image
    if image.mode == "LAB":
        return _lab_to_srgb().apply(image), ()
    if not colours.has_profile:
        return image.convert("RGB"), ()
    try:
        return _applied(image, colours.profile), ()
    except (ProfileError, ImageCms.PyCMSError, OSError, ValueError):  # whatever LittleCMS and Pillow raise
        return image.convert("RGB"), (BROKEN_PROFILE,)


def _applied(image: Image.Image, profile: object) -> Image.Image:
    """Convert ``image`` from the space of ``profile`` to sRGB; raises `ProfileError` and what Pillow raises."""
    content, mode = _checked(profile)
    if mode == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if mode != image.mode:
        raise ProfileError("for another colour space")
    if mode == "L":
        return _grey_to_srgb(image, content)
    transform = (
        _kept_transform(content, mode) if len(content) <= KEPT_PROFILE_BYTES else _transform(content, mode)
    )
    if transform is None:
        return image
    return transform.apply_in_place(image) if mode == "RGB" else transform.apply(image)


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform to sRGB, with the perceptual intent; ``None`` if it changes nothing."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.ImageCmsTransform(opened, _srgb(), mode, "RGB")
    return None if mode == "RGB" and _is_identity(transform) else transform


_kept_transform = lru_cache(maxsize=8)(_transform)
"""For the profiles of screens and cameras, which are few: to prepare one takes longer than a small picture."""


def _grey_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Look each of the 256 levels up, which is exact; LittleCMS interpolates curves of grey between 33 points."""
    exact = ImageCms.Flags.NOOPTIMIZE
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.ImageCmsTransform(opened, _srgb(), "L", "RGB", flags=exact)
    levels = transform.apply(Image.frombytes("L", (256, 1), bytes(range(256))))
    return Image.merge("RGB", [image.point(list(channel.tobytes())) for channel in levels.split()])


def _checked(profile: object) -> tuple[bytes, str]:
    """Check the header and the table of tags; return the profile and Pillow's mode of its colour space."""
    if not isinstance(profile, bytes) or not HEADER_BYTES < len(profile) <= MAX_PROFILE_BYTES:
        raise ProfileError("no bytes, or too many")
    space = SPACES.get(profile[16:20])
    if profile[36:40] != SIGNATURE or profile[12:16] not in CLASSES or space is None:
        raise ProfileError("not the profile of a picture")
    if any(profile[place : place + 4] == STEPS for place in _tag_places(profile)):
        raise ProfileError("a pipeline of any number of steps")
    return profile, space


def _tag_places(profile: bytes) -> Iterator[int]:
    """Yield where each tag's content starts."""
    count = int.from_bytes(profile[HEADER_BYTES : HEADER_BYTES + 4], "big")
    if count > MAX_TAGS:
        raise ProfileError("too many tags")
    for entry in range(HEADER_BYTES + 4, HEADER_BYTES + 4 + 12 * count, 12):
        yield int.from_bytes(profile[entry + 4 : entry + 8], "big")


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether no colour changes by more than a level, as with the many versions of sRGB's own profile."""
    probe = _probe()
    difference = np.abs(np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe))
    return bool(difference.max() <= 1)


def _probe() -> Image.Image:
    """Return a picture of colours from all over RGB."""
    levels = np.mgrid[0:256:51, 0:256:51, 0:256:51].astype(np.uint8)  # (3, 6, 6, 6)
    return Image.fromarray(levels.reshape(3, 6, 36).transpose(1, 2, 0).copy())


@lru_cache(maxsize=1)
def _srgb() -> Any:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    return ImageCms.ImageCmsTransform(lab, _srgb(), "LAB", "RGB")
