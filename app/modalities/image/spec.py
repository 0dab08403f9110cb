"""The input of a network that takes images, as its card describes it."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal


class Resampling(StrEnum):
    """Pillow's filters. All but `NEAREST` weigh every pixel that they merge, so that nothing aliases."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


@dataclass(frozen=True)
class TrainedResize:
    """How pictures were resized for the network before their centre was cropped to the size of its input."""

    width: int
    height: int
    keeps_aspect: bool
    """Whether a picture is scaled until it just covers ``width`` × ``height``, or stretched to exactly that."""
    resampling: Resampling

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Return the size to which a picture is resized, rounded as by torchvision's ``Resize``."""
        if not self.keeps_aspect:
            return self.width, self.height
        if width * self.height <= height * self.width:
            return self.width, self.width * height // width
        return self.height * width // height, self.height


@dataclass(frozen=True)
class ImageSpec:
    """Shape and normalisation of a network's input. ``mean`` and ``std`` are of pixels in 0…1, by channel."""

    channels: Literal[1, 3]
    """Greyscale or RGB."""
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: TrainedResize | None = None
    """Of the training; ``None``: pictures are fitted by their aspect ratio and resized by Lanczos's filter."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), Pillow's form of a size."""
        return self.width, self.height

    @property
    def longest_side(self) -> int:
        """Length of the longer side in pixels."""
        return max(self.size)

    @property
    def mode(self) -> Literal["L", "RGB"]:
        """Pillow's mode of what the network sees."""
        return "L" if self.channels == 1 else "RGB"

    @cached_property
    def pad_colour(self) -> tuple[int, int, int]:
        """RGB of the mean pixel, which is close to zero after normalisation.

        Padding of this colour carries no signal; white or black would be an edge to the network.
        """
        levels = [min(255, max(0, round(255 * mean))) for mean in self.mean]
        red, green, blue = levels * 3 if self.channels == 1 else levels
        return red, green, blue
