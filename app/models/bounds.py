"""The smallest and the largest input of a network, as its card has them."""

import torch
from torch import Tensor

from app.modalities.table.spec import Category, Feature, TableSpec
from app.models.card import ModelCard
from app.models.image_card import ImageCard, Normalisation
from app.models.table_card import TableCard

Bounds = tuple[Tensor, Tensor]
"""The smallest and the largest input, broadcastable to a batch of inputs."""


def bounds_of(card: ModelCard) -> Bounds | None:
    """Return the bounds of the input of a network; ``None`` for numbers of tokens, which have none."""
    if isinstance(card, ImageCard):
        return pixel_bounds(card.normalisation)
    if isinstance(card, TableCard):
        return column_bounds(card.spec)
    return None


def pixel_bounds(normalisation: Normalisation) -> Bounds:
    """Return black and white after normalisation, each (1, channels, 1, 1)."""
    mean = torch.tensor(normalisation.mean).view(1, -1, 1, 1)
    std = torch.tensor(normalisation.std).view(1, -1, 1, 1)
    return (0 - mean) / std, (1 - mean) / std


def column_bounds(spec: TableSpec) -> Bounds:
    """Return the ends of the range of each column in the training data, standardised, each (1, columns)."""
    ends = [end for feature in spec.features for end in _ends(feature)]
    low, high = torch.tensor(ends).unsqueeze(1).unbind(2)  # (columns, 1, 2) -> (columns, 1) each
    return low.T, high.T


def _ends(feature: Feature) -> list[tuple[float, float]]:
    """Return the smallest and the largest value of each column of a feature."""
    if isinstance(feature, Category):
        return [(0.0, 1.0)] * feature.columns
    return [((feature.minimum - feature.mean) / feature.std, (feature.maximum - feature.mean) / feature.std)]
