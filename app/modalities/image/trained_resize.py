"""Pictures resized as those that a network was trained with, by Pillow's filters.

Whole pictures are resized before they are cropped, although most of what is cropped is thrown away: resizing a
region of a picture (Pillow's ``box``) gives values that differ by up to 20 levels in single pixels.
"""

from typing import Final

from PIL import Image

from app.modalities.image.picture import Rectangle
from app.modalities.image.spec import ImageSpec, TrainedResize

MAX_ASPECT: Final = 8
"""Pictures that are longer than so many times their shorter side are cut to that first.

65535×1 pixels, resized to a height of 256, would take 13 GB.
"""


def cropped(image: Image.Image, resize: TrainedResize, spec: ImageSpec) -> tuple[Image.Image, Rectangle]:
    """Resize ``image`` and crop its centre; return that and the rectangle of ``image`` that it shows.

    The values are those of torchvision's ``Resize`` and ``CenterCrop``, to the last bit, for pictures of up to
    `MAX_ASPECT`.
    """
    cut_left, cut_top, middle = _middle(image)
    width, height = resize.size_of(*middle.size)
    left, top = (
        round((width - spec.width) / 2),
        round((height - spec.height) / 2),
    )  # half to even, as torchvision
    seen = middle.resize((width, height), _filter(resize))
    seen = seen.crop((left, top, left + spec.width, top + spec.height))
    across, down = middle.width / width, middle.height / height  # pixels of the upload for one of the resized
    rectangle = Rectangle(
        cut_left + left * across, cut_top + top * down, spec.width * across, spec.height * down
    )
    return seen, rectangle


def padded(image: Image.Image, resize: TrainedResize, spec: ImageSpec) -> tuple[Image.Image, Rectangle]:
    """Resize ``image`` so that it just fits into the network's input, on padding.

    Returns that and the rectangle that it shows, in pixels of ``image``, which it exceeds.
    """
    scale = min(spec.width / image.width, spec.height / image.height)
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    left, top = (spec.width - width) // 2, (spec.height - height) // 2
    canvas = Image.new("RGB", spec.size, spec.pad_colour)
    canvas.paste(image.resize((width, height), _filter(resize)), (left, top))
    across, down = image.width / width, image.height / height
    return canvas, Rectangle(-left * across, -top * down, spec.width * across, spec.height * down)


def stretched(image: Image.Image, resize: TrainedResize, spec: ImageSpec) -> tuple[Image.Image, Rectangle]:
    """Resize ``image`` to the network's input, whatever its aspect ratio; return that and all of ``image``."""
    return image.resize(spec.size, _filter(resize)), Rectangle(0, 0, image.width, image.height)


def _middle(image: Image.Image) -> tuple[int, int, Image.Image]:
    """Return ``image`` without its ends, where it is longer than `MAX_ASPECT`, and where that begins in it."""
    longest = MAX_ASPECT * min(image.size)
    width, height = min(image.width, longest), min(image.height, longest)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return left, top, image.crop((left, top, left + width, top + height))


def _filter(resize: TrainedResize) -> Image.Resampling:
    return Image.Resampling[resize.resampling.name]
