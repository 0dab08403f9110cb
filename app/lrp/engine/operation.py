"""The interface of a compiled operation: how it runs forward, and how it redistributes relevance.

Operations are pure functions with their weights precomputed, which any number of threads may share. An operation
does not know where the batch axis is, nor which rows of the batch relevance is computed for.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import torch
from torch import Tensor

from app.lrp.graph.graph import Node
from app.lrp.rules import AssignedRule


class Sign(Enum):
    """What is known of the sign of an operation's output."""

    ANY = auto()
    AS_INPUTS = auto()  # no negative values if no input has any
    NONNEGATIVE = auto()


class AtZero(Enum):
    """Relevance of an input where that input is zero."""

    NONE = auto()  # none, as for a sum: relevance is in proportion to the input
    AS_OUTPUT = auto()  # that of the output, which is zero there too, as for a reshape
    ANY = auto()  # there may be some


@dataclass(frozen=True, eq=False)
class OperationContext:
    """What is known of a node before any input arrives."""

    node: Node
    weights: Mapping[str, Tensor]
    """Tensors of the node by role, in the precision of the network's input."""
    rule: AssignedRule
    """The node's rule; operations that have only one ignore it."""
    needed: tuple[bool, ...]
    """For each input, whether relevance of it is needed. It is not for values that carry none."""
    dtype: torch.dtype
    """Precision of what is computed."""


class Values(Protocol):
    """What the forward pass left of one node, in the n rows that relevance is computed for.

    Tensors may have one row, which is broadcast, where all rows are the same and the batch axis allows it.
    """

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs, in the order of `Node.inputs`."""

    @property
    def z(self) -> Tensor:
        """Output."""

    @property
    def extra(self) -> Tensor:
        """What `Operation.forward` returned besides the output; its batch axis is that of the output."""

    def input_shape(self, index: int) -> torch.Size:
        """Return the shape of an input, with all n rows."""


@dataclass(frozen=True, eq=False)
class Redistribution:
    """Where the relevance of a node's output goes."""

    inputs: tuple[Tensor | None, ...]
    """To the inputs, each of the shape `Values.input_shape`; ``None`` where it is not needed."""
    absorbed: Tensor | None = None
    """To biases, constants and stabilizers instead: (n, …), with the batch axis of the output. The sum over all
    others is what counts. ``None``: nothing, up to rounding.
    """


class Backward(Protocol):
    """How a node redistributes relevance under its rule."""

    @property
    def conserves(self) -> bool:
        """Whether the relevance of all needed inputs always sums to that of the output."""

    @property
    def reads_inputs(self) -> bool:
        """Whether `relevance` reads `Values.inputs`; memory of what is not read is freed."""

    @property
    def reads_output(self) -> bool:
        """Whether `relevance` reads `Values.z`."""

    @property
    def receivers(self) -> Collection[int]:
        """Indices of the inputs that get relevance."""

    @property
    def is_cheap(self) -> bool:
        """Whether the output is rather computed again on the way back than kept, where the inputs are kept."""

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """Redistribute relevance ``R`` of the output, (n, …), which must not be modified."""


class Operation(Backward, Protocol):
    """A compiled node."""

    @property
    def sign(self) -> Sign:
        """What is known of the sign of the output."""

    @property
    def at_zero(self) -> AtZero:
        """Relevance of inputs where they are zero."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output, and what `relevance` needs besides inputs and output.

        It does not depend on the rule. Values that do not depend on the network's input may have one row.
        """


Compile = Callable[[OperationContext], Operation]
