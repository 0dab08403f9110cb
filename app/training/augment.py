"""Batches for training: shuffled, flipped, shifted, resized and normalised, as tensor functions."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from app.models.card import Normalisation
from app.training.data import LabelledImages
from app.training.recipe import Recipe


class Batches:
    """Epochs of (inputs (B, 3, side, side) float32, labels (B,)) from resident uint8 pictures.

    Everything random is drawn from (seed, epoch), so that a resumed training sees what an unbroken one
    would have seen.
    """

    def __init__(self, data: LabelledImages, normalisation: Normalisation, recipe: Recipe, seed: int) -> None:
        self._data = data
        self._recipe = recipe
        self._seed = seed
        self._normalisation = normalisation
        self._windows = _windows(data.images, recipe.shift)
        first_side = torch.Generator().manual_seed(seed)
        self._flipped = torch.randint(0, 2, (len(data),), generator=first_side).bool()

    def __len__(self) -> int:
        return len(self._data) // self._recipe.batch_size

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of ``epoch``; the incomplete last one is dropped, other pictures every time."""
        recipe = self._recipe
        generator = torch.Generator().manual_seed(self._seed * 100_003 + epoch)
        order = torch.randperm(len(self._data), generator=generator)
        shifts = torch.randint(0, 2 * recipe.shift + 1, (2, len(self._data)), generator=generator)
        # Every other epoch, so that both sides are seen equally often (airbench, Jordan 2024).
        flipped = self._flipped ^ bool(epoch % 2)
        for index in order.split(recipe.batch_size)[: len(self)]:
            images = self._windows[index, :, shifts[0, index], shifts[1, index]]  # (B, 3, 32, 32)
            if recipe.flip:
                images = torch.where(flipped[index, None, None, None], images.flip(3), images)
            inputs = normalise(images, self._normalisation)
            yield resize(inputs, recipe.side(epoch)), self._data.labels[index]


def normalise(images: Tensor, normalisation: Normalisation) -> Tensor:
    """uint8 (B, 3, H, W) -> float32, the same shape, in channels-last memory."""
    mean = torch.tensor(normalisation.mean).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def resize(inputs: Tensor, side: int) -> Tensor:
    """(B, 3, H, H) -> (B, 3, side, side), antialiased."""
    if inputs.shape[-1] == side:
        return inputs
    return F.interpolate(inputs, size=(side, side), mode="bilinear", antialias=True)


def _windows(images: Tensor, shift: int) -> Tensor:
    """A view of every crop that a shift of up to ``shift`` pixels can make.

    (N, 3, H, H) -> (N, 3, 2 * shift + 1, 2 * shift + 1, H, H)
    """
    side = images.shape[-1]
    # Reflection is not implemented for uint8 tensors: gather the mirrored rows and columns instead.
    mirrored = torch.arange(-shift, side + shift).abs()
    mirrored = torch.where(mirrored < side, mirrored, 2 * (side - 1) - mirrored)
    padded = images[:, :, mirrored][:, :, :, mirrored]
    return padded.unfold(2, side, 1).unfold(3, side, 1)
