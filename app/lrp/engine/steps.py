"""What a compiled network is: for each node a function for the forward pass and, under its rule, for relevance.

All of them are pure functions with their weights precomputed, which any number of threads may share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from app.lrp.composites import Composite
from app.lrp.engine.layout import Layout
from app.lrp.engine.operation import Backward
from app.lrp.engine.ops.dropout import ActiveDropout
from app.lrp.engine.wiring import Wiring


class Forward(Protocol):
    """Forward function of a node."""

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output, and what the relevance needs besides."""


@dataclass(frozen=True, eq=False)
class RelevanceStep:
    """A node under its rule, in its place in the graph."""

    operation: Backward
    masked: bool
    """Whether the node's output is masked by a ReLU: no relevance arrives where it is not positive. The ReLU's
    output then takes the place of the node's.
    """


Steps = tuple[RelevanceStep, ...]
"""One step for each node of a network, in the order in which nodes run forward."""


class Network(Protocol):
    """A compiled network."""

    @property
    def wiring(self) -> Wiring:
        """What its nodes read."""

    @property
    def input_range(self) -> Tensor:
        """Largest minus smallest input, broadcastable to it; only for inputs with bounds."""

    def precision(self, dtype: torch.dtype, /) -> torch.dtype:
        """Return the precision for inputs of a type: the same, or that of the weights for numbers of tokens."""

    def layouts(self, shape: torch.Size, /) -> Sequence[Layout]:
        """Return the layouts of all values for inputs of ``shape``, without the batch axis."""

    def dropouts(self, shape: torch.Size, /) -> Sequence[ActiveDropout]:
        """Return the dropout layers with a probability above 0, in their order."""

    def forward(self, index: int, rectified: bool, shape: torch.Size, dtype: torch.dtype, /) -> Forward:
        """Return the forward function of a node; ``rectified``: with the ReLU that follows it."""

    def steps(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> Steps:
        """Return the steps of the backward pass for inputs of ``shape``, without the batch axis."""
