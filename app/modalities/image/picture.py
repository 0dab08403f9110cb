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
class Rectangle:
    """A part of an upload, in its pixels. The rectangle of a padded picture exceeds the upload."""

    left: int
    top: int
    width: int
    height: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), Pillow's form of a region."""
        return self.left, self.top, self.left + self.width, self.top + self.height


@dataclass(frozen=True)
class Facts:
    """What a response reports about an upload: format, size in pixels, the rectangle that the model saw."""

    format: str
    width: int
    height: int
    rectangle: Rectangle
    warnings: tuple[str, ...] = ()
