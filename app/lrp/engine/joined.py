"""A network of which the upper layers have other weights, made of two compiled networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.composites import Composite
from app.lrp.engine.ops.dropout import ActiveDropout
from app.lrp.engine.steps import Forward, Network, Steps


@dataclass(frozen=True, eq=False)
class JoinedNetwork:
    """The lower layers of one network and the upper layers of another one of the same structure; a `Network`.

    Both keep what they have compiled: a network for each depth takes no more memory than the two.
    """

    lower: Network
    upper: Network
    first: int
    """Index of the first layer of ``upper``."""

    @property
    def names(self) -> tuple[str, ...]:
        """See `Network`."""
        return self.lower.names

    @property
    def dropouts(self) -> Sequence[ActiveDropout]:
        """See `Network`."""
        return self.lower.dropouts

    @property
    def input_range(self) -> Tensor:
        """See `Network`."""
        return self.lower.input_range

    def forward(self, index: int, rectified: bool, dtype: torch.dtype) -> Forward:
        """See `Network`."""
        network = self.lower if index < self.first else self.upper
        return network.forward(index, rectified, dtype)

    def steps(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> Steps:
        """See `Network`."""
        lower, upper = (network.steps(composite, shape, dtype) for network in (self.lower, self.upper))
        return lower[: self.first] + upper[self.first :]
