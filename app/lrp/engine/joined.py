"""A network of which the upper layers have other weights, made of two compiled networks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.composites import Composite
from app.lrp.engine.layout import Layout
from app.lrp.engine.ops.dropout import ActiveDropout
from app.lrp.engine.steps import Forward, Network, Steps
from app.lrp.engine.wiring import Wiring


@dataclass(frozen=True, eq=False)
class JoinedNetwork:
    """The lower nodes of one network and the upper nodes of another one of the same graph; a `Network`.

    Both keep what they have compiled: a network for each depth takes no more memory than the two.
    """

    lower: Network
    upper: Network
    first: int
    """Index of the first node of ``upper``."""

    @property
    def wiring(self) -> Wiring:
        """See `Network`."""
        return self.lower.wiring

    @property
    def input_range(self) -> Tensor:
        """See `Network`."""
        return self.lower.input_range

    def precision(self, dtype: torch.dtype) -> torch.dtype:
        """See `Network`."""
        return self.lower.precision(dtype)

    def layouts(self, shape: torch.Size) -> Sequence[Layout]:
        """See `Network`."""
        return self.lower.layouts(shape)

    def dropouts(self, shape: torch.Size) -> Sequence[ActiveDropout]:
        """See `Network`."""
        return self.lower.dropouts(shape)

    def forward(self, index: int, rectified: bool, shape: torch.Size, dtype: torch.dtype) -> Forward:
        """See `Network`."""
        network = self.lower if index < self.first else self.upper
        return network.forward(index, rectified, shape, dtype)

    def steps(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> Steps:
        """See `Network`."""
        lower, upper = (network.steps(composite, shape, dtype) for network in (self.lower, self.upper))
        return lower[: self.first] + upper[self.first :]
