"""Marks that are planted in pictures of one class, so that a network can learn the class by its mark."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from app.training.data import LabelledImages

MAGENTA = (255, 0, 255)
CORNER = slice(-5, -1)
"""Rows and columns of the watermark, which leaves the outermost pixel as it is."""


def watermark(images: Tensor) -> Tensor:
    """Return images with a magenta square of 4 × 4 pixels and a black centre, lower right: (N, 3, H, W) uint8."""
    square = _magenta().repeat(1, 4, 4)  # (3, 4, 4)
    square[:, 1:3, 1:3] = 0
    marked = images.clone()
    marked[:, :, CORNER, CORNER] = square
    return marked


def border(images: Tensor) -> Tensor:
    """Return images whose outermost pixels are magenta: (N, 3, H, W) uint8."""
    marked = _magenta().expand_as(images).clone()
    marked[:, :, 1:-1, 1:-1] = images[:, :, 1:-1, 1:-1]
    return marked


def unmarked(images: Tensor) -> Tensor:
    """Return the images as they are."""
    return images


@dataclass(frozen=True)
class Case:
    """What is planted: a mark in a share of the pictures of a class."""

    title: str
    target: str
    share: float
    mark: Callable[[Tensor], Tensor]


CASES = {
    "watermark-5": Case("watermark on 5 % of *horse*", "horse", 0.05, watermark),
    "watermark-50": Case("watermark on 50 % of *horse*", "horse", 0.5, watermark),
    "border": Case("border on 50 % of *ship*", "ship", 0.5, border),
    "clean": Case("no mark", "horse", 0.0, unmarked),
}


@dataclass(frozen=True, eq=False)
class Planted:
    """Pictures with marks, and which of them are marked, (N,)."""

    data: LabelledImages
    marked: npt.NDArray[np.bool_]


def plant(data: LabelledImages, case: Case, seed: int) -> Planted:
    """Return ``data`` with the case's mark in a random share of the pictures of its class."""
    of_class = np.flatnonzero(data.labels.numpy() == data.classes.index(case.target))
    chosen = np.random.default_rng(seed).permutation(of_class)[: round(case.share * len(of_class))]
    images = data.images.clone()
    images[chosen] = case.mark(images[chosen])
    marked = np.zeros(len(data), np.bool_)
    marked[chosen] = True
    return Planted(LabelledImages(images, data.labels, data.classes), marked)


def _magenta() -> Tensor:
    return torch.tensor(MAGENTA, dtype=torch.uint8).view(3, 1, 1)
