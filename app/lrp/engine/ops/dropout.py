"""Dropout that stays on: its masks in the forward pass of samples.

The relevance of a dropout layer passes unchanged (`app.lrp.engine.ops.passing`), without the factor 1 / (1 - p)
of the forward pass. With it, the sum of the relevance would grow by that factor in each layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.layout import Layout
from app.lrp.graph.graph import Graph


@dataclass(frozen=True)
class ActiveDropout:
    """A dropout layer whose probability is above 0."""

    index: int
    """Of its node in the graph."""
    rate: float
    """Probability of dropping a unit."""
    drops_channels: bool
    """Whether it drops whole channels."""
    layout: Layout
    """Of its output."""

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """Shape of the mask of one sample."""
        units = self.layout.row_shape
        return (units[0], *(1 for _ in units[1:])) if self.drops_channels else tuple(units)

    def factors(self, kept: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what the layer multiplies its input with; ``kept`` (n, …) is true where a unit is kept."""
        return self.layout.placed(kept.to(dtype).div_(1 - self.rate))


def active_dropouts(graph: Graph, layouts: Sequence[Layout]) -> tuple[ActiveDropout, ...]:
    """Return the dropout layers that drop anything, in their order; ``layouts`` are those of all values."""
    return tuple(
        ActiveDropout(
            index, node.attributes["p"], bool(node.attributes.get("channels", False)), layouts[index + 1]
        )
        for index, node in enumerate(graph)
        if node.op == "dropout" and node.attributes["p"] > 0
    )
