"""Values of a network while it is translated: signals depend on the network's input, constants do not."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor

from app.lrp.graph.graph import BATCH, COMPARISONS, TOKENS, Shape, Size, evaluated_shape, has_symbol, product


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
    """Its value for a batch of one, and the largest number of tokens."""
    shape: Shape
    """Its shape for any batch and any number of tokens."""
    name: str = ""
    """In the module's `state_dict`, if it is there."""
    for_two: Tensor | None = None
    """Its value for a batch of two, if the batch size is used to compute it."""
    for_fewer: Tensor | None = None
    """Its value for fewer tokens, if their number is used to compute it."""

    @property
    def key(self) -> Hashable:
        """Equal for constants that can be one node: the same one, or tables of equal numbers."""
        if self.name or self.tensor.dim() == 0:
            return id(self), self.shape
        content = self.tensor.contiguous().view(torch.uint8).numpy().tobytes()
        return self.shape, self.tensor.shape, self.tensor.dtype, hashlib.sha256(content).digest()

    @property
    def is_batched(self) -> bool:
        """Whether the shape depends on the batch size."""
        return any(has_symbol(size, BATCH) for size in self.shape)

    @property
    def is_cut(self) -> bool:
        """Whether the shape depends on the number of tokens."""
        return any(has_symbol(size, TOKENS) for size in self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers."""
        return self.tensor.dtype

    @property
    def has_equal_rows(self) -> bool:
        """Whether the value for a batch of two repeats that for a batch of one."""
        if self.for_two is None:
            return True
        times = [b // max(a, 1) for a, b in zip(self.tensor.shape, self.for_two.shape, strict=True)]
        return torch.equal(self.tensor.repeat(times), self.for_two)

    @property
    def is_beginning(self) -> bool:
        """Whether the value for fewer tokens is the beginning of that for more, along the axes of their size."""
        if self.for_fewer is None:
            return True
        beginning = self.tensor
        for axis, size in enumerate(self.shape):
            if size == TOKENS:
                beginning = beginning.narrow(axis, 0, self.for_fewer.shape[axis])
        return beginning.shape == self.for_fewer.shape and torch.equal(beginning, self.for_fewer)


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
    is_relevant: bool = field(init=False)
    """Whether it depends on the network's input otherwise than by comparisons, see `Graph.relevant`."""

    def __post_init__(self) -> None:
        of_inputs = any(signal.is_relevant for signal in self.inputs)
        object.__setattr__(self, "is_relevant", not self.op or (self.op not in COMPARISONS and of_inputs))


Value = Signal | Constant


class UntranslatableError(Exception):
    """The operation is supported, but not with these arguments; the text says which."""


class FreeSizes:
    """Sizes of a program, by the symbols of its input's free axes: the batch, and the number of tokens."""

    def __init__(self, shape: Sequence[int | torch.SymInt]) -> None:
        """``shape`` is that of the program's input."""
        self.tokens = 1
        """Largest number of tokens: that of the input that the program was exported with."""
        if len(shape) > 1 and isinstance(shape[1], torch.SymInt):
            self.tokens = _example(shape[1])
        axes = zip(shape, (BATCH, TOKENS), strict=False)
        free = {size.node.expr: name for size, name in axes if isinstance(size, torch.SymInt)}
        self._names = {expression: name for expression, name in free.items() if expression.is_Symbol}

    def size_of(self, size: int | torch.SymInt) -> Size:
        """Return a size as a number, or as a product with the free sizes."""
        if isinstance(size, int):
            return size
        expression = size.node.expr
        if not expression.free_symbols:
            return int(expression)
        factor, rest = expression.as_coeff_Mul()
        powers = rest.as_powers_dict()
        if not factor.is_Integer or not all(
            symbol in self._names and power.is_Integer and power > 0 for symbol, power in powers.items()
        ):
            names = " or ".join(f"{symbol} = {name}" for symbol, name in self._names.items())
            raise UntranslatableError(f"the size {expression} is not a multiple of the free sizes {names}")
        symbols = [self._names[symbol] for symbol, power in powers.items() for _ in range(int(power))]
        return product((int(factor), *symbols))

    def shape_of(self, sizes: Sequence[int | torch.SymInt]) -> Shape:
        """Return a shape of such sizes."""
        return tuple(map(self.size_of, sizes))


def _example(size: torch.SymInt) -> int:
    """Return a free size as it was in the export."""
    hint = size.node.hint
    assert isinstance(hint, int)
    return hint


def for_batch(shape: Shape, batch_size: int) -> tuple[int, ...]:
    """Return the shape for a batch size."""
    return evaluated_shape(shape, {BATCH: batch_size})
