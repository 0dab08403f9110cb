"""Dropout that stays on: its masks in the forward pass of samples.

The relevance of a dropout layer passes unchanged (`app.lrp.engine.ops.passing`), without the factor 1 / (1 - p)
of the forward pass. With it, the sum of the relevance would grow by that factor in each layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_OF_CHANNELS = (nn.Dropout1d, nn.Dropout2d)


@dataclass(frozen=True)
class ActiveDropout:
    """A dropout layer whose probability is above 0."""

    index: int
    """Of the layer in the network."""
    rate: float
    """Probability of dropping a unit."""
    drops_channels: bool
    """Whether it drops whole channels."""

    def mask_shape(self, shape: torch.Size) -> tuple[int, ...]:
        """Return the shape of the mask of one sample, for inputs of the layer of ``shape`` (1, …)."""
        if not self.drops_channels:
            return tuple(shape[1:])
        return (shape[1], *(1 for _ in shape[2:]))

    def factors(self, kept: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what the layer multiplies its input with; ``kept`` (n, …) is true where a unit is kept."""
        return kept.to(dtype).div_(1 - self.rate)


def active_dropouts(layers: Sequence[nn.Module]) -> tuple[ActiveDropout, ...]:
    """Return the dropout layers of a network that drop anything, in their order."""
    return tuple(
        ActiveDropout(index, layer.p, isinstance(layer, _OF_CHANNELS))
        for index, layer in enumerate(layers)
        if isinstance(layer, DROPOUTS) and layer.p > 0
    )
