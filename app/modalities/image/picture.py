"""Decoded images, parts of them, and the facts about an upload that a response reports."""

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Picture:
    """A decoded upload: upright, opaque, 8-bit RGB. Sizes are in pixels, after EXIF orientation."""

    image: Image.Image
    format: str
    warnings: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.image.height


@dataclass(frozen=True)
class Box:
    """A part of a picture, in whole pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), Pillow's form of a region."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class Rectangle:
    """A part of an upload, in its pixels. The rectangle of a padded picture exceeds the upload.

    The edges of a rectangle that was cropped from a resized picture may lie between two pixels of the upload.
    """

    left: float
    top: float
    width: float
    height: float

    def scaled(self, across: float = 1, down: float = 1) -> Box:
        """Return the pixels that it covers where the upload is scaled by these factors, at least one."""
        left, top = round(self.left * across), round(self.top * down)
        right, bottom = round((self.left + self.width) * across), round((self.top + self.height) * down)
        return Box(left, top, max(1, right - left), max(1, bottom - top))


@dataclass(frozen=True)
class Facts:
    """What a response reports about an upload: format, size in pixels, the rectangle that the model saw."""

    format: str
    width: int
    height: int
    rectangle: Rectangle
    warnings: tuple[str, ...] = ()
