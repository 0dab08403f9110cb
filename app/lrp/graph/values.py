"""Values of a network while it is translated: signals depend on the network's input, constants do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor

from app.lrp.graph.graph import BATCH, Shape, Size, evaluated_shape


@dataclass(frozen=True)
class Origin:
    """The module whose code computes a value."""

    module: str = ""
    """Dotted name."""
    kind: str = ""
    """Name of its class."""
    call: str = ""
    """Differs between calls of one module."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that does not depend on the network's input."""

    tensor: Tensor
    """Its value for a batch of one."""
    shape: Shape
    """Its shape for any batch."""
    name: str = ""
    """In the module's `state_dict`, if it is there."""
    for_two: Tensor | None = None
    """Its value for a batch of two, if the batch size is used to compute it."""

    @property
    def is_batched(self) -> bool:
        """Whether the shape depends on the batch size."""
        return any(isinstance(size, str) for size in self.shape)

    @property
    def has_equal_rows(self) -> bool:
        """Whether the value for a batch of two repeats that for a batch of one."""
        if self.for_two is None:
            return True
        same = all(a in (b, 1) for a, b in zip(self.tensor.shape, self.for_two.shape, strict=True))
        return same and torch.equal(self.tensor.expand_as(self.for_two), self.for_two)


@dataclass(frozen=True, eq=False)
class Signal:
    """The output of a node that does not have its name yet, or the network's input, without an operation."""

    op: str
    inputs: "tuple[Signal, ...]"
    shape: Shape
    dtype: torch.dtype
    origin: Origin
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Constant] = field(default_factory=dict)
    position: int = field(default_factory=count().__next__)
    """Increases in the order in which signals are created, which is that of execution."""


Value = Signal | Constant


class UntranslatableError(Exception):
    """The operation is supported, but not with these arguments; the text says which."""


def size_of(size: int | torch.SymInt) -> Size:
    """Return a size as a number, or as a product with the batch size.

    The batch size must be its only symbol.
    """
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if not expression.free_symbols:
        return int(expression)
    factor, rest = expression.as_coeff_Mul()
    if not rest.is_Symbol or not factor.is_Integer:
        raise UntranslatableError(f"the size {expression} is not a multiple of the batch size")
    return BATCH if factor == 1 else f"{int(factor)}*{BATCH}"


def shape_of(sizes: Sequence[int | torch.SymInt]) -> Shape:
    """Return a shape of sizes that the batch size may be part of."""
    return tuple(map(size_of, sizes))


def for_batch(shape: Shape, batch_size: int) -> tuple[int, ...]:
    """Return the shape for a batch size."""
    return evaluated_shape(shape, {BATCH: batch_size})


def is_size(text: str) -> bool:
    """Return whether a text is a size that depends on the batch size."""
    return text == BATCH or text.endswith(f"*{BATCH}")
