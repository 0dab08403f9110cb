"""Labelled datasets as one uint8 tensor, from a folder, a zip or torchvision's CIFAR-10."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from app.errors import DataError
from app.models.architectures.minivgg import MiniVGG
from app.models.card import ModelCard
from app.models.image_card import Normalisation

SPLITS = ("train", "test")
MAX_HELD_OUT = 5_000
"""Maximum number of training images that are held out for validation."""
HELD_OUT_ONE_IN = 10
"""One in this many training images is held out, up to `MAX_HELD_OUT`."""


@dataclass(frozen=True)
class LabelledImages:
    """Images (N, 3, 32, 32) uint8, and labels (N,) int64, which are indices into ``classes``."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: Tensor) -> "LabelledImages":
        """Return the images and labels at ``indices`` (n,), in that order."""
        return LabelledImages(self.images[indices], self.labels[indices], self.classes)


def load_split(source: Path, split: str) -> LabelledImages:
    """Read ``<split>/<class>/*.png`` from a folder or a zip.

    A source without ``<split>/`` folders, with ``<class>/*.png`` directly, is read as that split. Classes are
    numbered in alphabetical order, which for CIFAR-10 is its official order.

    Raises:
        DataError: The source has no images, or an image is not a readable PNG of 32×32 pixels.

    """
    by_class: dict[str, list[np.ndarray]] = {}
    for path, content in _read_files(source, split):
        by_class.setdefault(path.parent.name, []).append(_decode(content, path))
    if not by_class:
        raise DataError(f"{source}: no pictures under {split}/<class>/*.png")
    classes = tuple(sorted(by_class))
    images = np.stack([image for name in classes for image in by_class[name]])  # (N, 32, 32, 3)
    labels = np.repeat(np.arange(len(classes)), [len(by_class[name]) for name in classes])
    return LabelledImages(
        torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels), classes
    )


def has_split(source: Path, split: str) -> bool:
    """Return whether ``source`` has a folder ``<split>/``."""
    if source.is_dir():
        return (source / split).is_dir()
    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        return any(split in PurePosixPath(name).parts[:-2] for name in archive.namelist())


def download_split(root: Path, split: str) -> LabelledImages:
    """Return a split of CIFAR-10, downloaded to ``root`` by torchvision unless it exists there.

    Raises `DataError` if the download fails.
    """
    from torchvision.datasets import CIFAR10  # a slow import, needed for the download only

    try:
        dataset = CIFAR10(root, train=split == "train", download=True)
    except (OSError, RuntimeError) as error:  # no network, or a wrong checksum
        raise DataError(f"CIFAR-10 could not be downloaded ({error}): name pictures with --data") from error
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
    return LabelledImages(images, torch.tensor(dataset.targets), tuple(dataset.classes))


def held_out_count(count: int) -> int:
    """Return how many of ``count`` training images are held out for validation."""
    return min(MAX_HELD_OUT, count // HELD_OUT_ONE_IN)


def hold_out(data: LabelledImages, count: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Return a random split into the remaining images and ``count`` held-out ones."""
    remaining, held_out = split_rows(len(data), count, seed)
    return data.select(remaining), data.select(held_out)


def split_rows(total: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return which of ``total`` images `hold_out` leaves and which it holds out, both in random order."""
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return order[count:], order[:count]


def split_seed(card: ModelCard) -> int:
    """Return the seed of the split that a network was trained with; 0 if its card has no training record."""
    return card.training.seed if card.training else 0


def compute_normalisation(images: Tensor) -> Normalisation:
    """Return mean and standard deviation of each channel of images (N, 3, H, W) uint8, scaled to 0…1."""
    red, green, blue = (_mean_and_std(channel) for channel in images.unbind(1))
    return Normalisation(mean=(red[0], green[0], blue[0]), std=(red[1], green[1], blue[1]))


def _mean_and_std(channel: Tensor) -> tuple[float, float]:
    # Computed from the histogram, which is exact in float64 and needs no float copy of the dataset.
    count = torch.bincount(channel.flatten(), minlength=256).double()
    value = torch.arange(256, dtype=torch.float64) / 255
    mean = (count * value).sum() / count.sum()
    variance = (count * (value - mean) ** 2).sum() / count.sum()
    return round(float(mean), 6), round(float(variance.sqrt()), 6)


def _read_files(source: Path, split: str) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield path and content of each PNG of the split, ordered by path."""
    if source.is_dir():
        root = source / split if (source / split).is_dir() else source
        for file in sorted(root.glob("*/*.png")):
            yield PurePosixPath(file.relative_to(root.parent).as_posix()), file.read_bytes()
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            paths = sorted(PurePosixPath(name) for name in archive.namelist() if name.endswith(".png"))
            in_split = [path for path in paths if split in path.parts[:-2]]
            for path in in_split or [p for p in paths if not set(SPLITS) & set(p.parts[:-2])]:
                yield path, archive.read(str(path))
    else:
        raise DataError(f"{source}: neither a folder nor a zip")


def _decode(content: bytes, path: PurePosixPath) -> np.ndarray:
    """Return the pixels (32, 32, 3) uint8 of a PNG."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's errors for invalid PNGs
        raise DataError(f"{path}: not a readable PNG ({error})") from error
    channels, height, width = MiniVGG.input_size
    if pixels.shape != (height, width, channels):
        raise DataError(f"{path}: {pixels.shape[1]}×{pixels.shape[0]} pixels, not {width}×{height}")
    return pixels
