"""What a compiled layer is: a function for the forward pass and, under its rule, one for relevance.

All of them are pure functions with their weights precomputed, which any number of threads may share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from app.lrp.composites import Composite
from app.lrp.engine.activations import Activations
from app.lrp.engine.ops.dropout import ActiveDropout


class Forward(Protocol):
    """Forward function of a layer."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output (B, out, …) for ``x`` (B, in, …), and what the relevance needs besides."""


class Backward(Protocol):
    """A layer under its rule."""

    @property
    def conserves(self) -> bool:
        """Whether the relevance of the input always sums to that of the output."""

    def relevance(self, R: Tensor, activations: Activations) -> Tensor:
        """Redistribute relevance: of the output (n, out, …) -> of the input (n, in, …)."""


@dataclass(frozen=True, eq=False)
class RelevanceStep:
    """A layer under its rule, between a certain layer below it and a certain layer above."""

    layer: Backward
    masked: bool
    """Whether the layer's output is masked by a ReLU: no relevance arrives where it is not positive. The ReLU's
    output then takes the place of the layer's.
    """


Steps = tuple[RelevanceStep, ...]
"""One step for each layer of a network, in the order in which layers run forward."""


class Network(Protocol):
    """A compiled network: a feed-forward chain of layers."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they run."""

    @property
    def dropouts(self) -> Sequence[ActiveDropout]:
        """Dropout layers with a probability above 0, in their order."""

    @property
    def input_range(self) -> Tensor:
        """Largest minus smallest input, broadcastable to it."""

    def forward(self, index: int, rectified: bool, dtype: torch.dtype, /) -> Forward:
        """Return the forward function of a layer; ``rectified``: with the ReLU that follows it."""

    def steps(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> Steps:
        """Return the steps of the backward pass for inputs of ``shape``, without the batch axis."""
