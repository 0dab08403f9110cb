"""Data augmentation and normalisation: flips, shifts and resizing of batches of images, as tensor functions."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from app.models.image_card import Normalisation
from app.training.data import LabelledImages
from app.training.recipe import Recipe

CELL = 4
"""Side in pixels of the cells that are masked: that of the patches of perturbation curves of 32×32 images."""


class Batches:
    """Shuffled and augmented batches of a dataset that is kept in memory as uint8.

    A batch is inputs (B, 3, side, side) float32, normalised, and labels (B,) int64. All random numbers depend
    on the seed and the epoch only, so a resumed training gets the same batches as an uninterrupted one.
    """

    def __init__(self, data: LabelledImages, normalisation: Normalisation, recipe: Recipe, seed: int) -> None:
        self._data = data
        self._recipe = recipe
        self._seed = seed
        self._normalisation = normalisation
        self._windows = _windows(data.images, recipe.shift)
        generator = torch.Generator().manual_seed(seed)
        self._flipped_in_even_epochs = torch.randint(0, 2, (len(data),), generator=generator).bool()

    def __len__(self) -> int:
        return len(self._data) // self._recipe.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of ``epoch``, counted from 0. An incomplete last batch is dropped."""
        recipe = self._recipe
        generator = torch.Generator().manual_seed(self._seed * 100_003 + epoch)
        order = torch.randperm(len(self._data), generator=generator)
        shifts = torch.randint(0, 2 * recipe.shift + 1, (2, len(self._data)), generator=generator)
        # Each image is flipped in every second epoch: alternating flip (airbench, Jordan 2024).
        flipped = self._flipped_in_even_epochs ^ bool(epoch % 2)
        for index in order.split(recipe.batch_size)[: len(self)]:
            images = self._windows[index, :, shifts[0, index], shifts[1, index]]  # (B, 3, 32, 32)
            if recipe.flip:
                images = torch.where(flipped[index, None, None, None], images.flip(3), images)
            inputs = normalise(images, self._normalisation)
            if recipe.masked:
                inputs = masked(inputs, recipe.masked, generator)
            yield resize(inputs, recipe.side(epoch)), self._data.labels[index]


def normalise(images: Tensor, normalisation: Normalisation) -> Tensor:
    """Return normalised images: (B, 3, H, W) uint8 -> (B, 3, H, W) float32, in channels-last memory format."""
    mean = torch.tensor(normalisation.mean).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def masked(inputs: Tensor, largest_share: float, generator: torch.Generator) -> Tensor:
    """Set random cells of `CELL` × `CELL` pixels of normalised images to 0, the mean colour.

    The expected share of cells is different for each image: uniform between 0 and ``largest_share``.
    (B, C, H, W) -> (B, C, H, W), for sides that are multiples of `CELL`.
    """
    count, _, height, width = inputs.shape
    shares = largest_share * torch.rand((count, 1, 1, 1), generator=generator)
    cells = torch.rand((count, 1, height // CELL, width // CELL), generator=generator) < shares
    pixels = cells.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)  # (B, 1, H, W)
    return inputs.masked_fill(pixels, 0)


def resize(inputs: Tensor, side: int) -> Tensor:
    """Return images resized bilinearly with antialiasing: (B, 3, H, H) -> (B, 3, side, side)."""
    if inputs.shape[-1] == side:
        return inputs
    return F.interpolate(inputs, size=(side, side), mode="bilinear", antialias=True)


def _windows(images: Tensor, shift: int) -> Tensor:
    """Return a view of all crops that result from shifts of up to ``shift`` pixels, with reflection padding.

    (N, 3, H, H) -> (N, 3, 2 * shift + 1, 2 * shift + 1, H, H)
    """
    side = images.shape[-1]
    # Reflection padding by index, because `F.pad` does not implement it for uint8 tensors.
    mirrored = torch.arange(-shift, side + shift).abs()
    mirrored = torch.where(mirrored < side, mirrored, 2 * (side - 1) - mirrored)
    padded = images[:, :, mirrored][:, :, :, mirrored]  # (N, 3, H + 2 * shift, H + 2 * shift)
    return padded.unfold(2, side, 1).unfold(3, side, 1)
