"""The smallest and the largest input of a network, as its card has them."""

import torch
from torch import Tensor

from app.models.image_card import Normalisation


def pixel_bounds(normalisation: Normalisation) -> tuple[Tensor, Tensor]:
    """Return black and white after normalisation, each (1, channels, 1, 1)."""
    mean = torch.tensor(normalisation.mean).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
    return (0 - mean) / std, (1 - mean) / std
