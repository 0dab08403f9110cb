"""A call of an operator of ATen, as translations read it, and the signals that they create from it."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from app.lrp.graph.graph import BATCH, TOKENS, Shape, Size, has_symbol
from app.lrp.graph.values import Constant, Origin, Signal, UntranslatableError, Value


@dataclass(frozen=True, eq=False)
class Call:
    """A call with at least one signal among its arguments."""

    arguments: Mapping[str, Any]
    """By the names in the operator's schema, defaults included; tensors are signals or constants."""
    shape: Shape
    """Of the output; of the first one if there are several."""
    shapes: tuple[Shape, ...]
    """Of all outputs."""
    dtype: torch.dtype
    """Of the output."""
    origin: Origin
    tokens: int
    """Largest number of tokens."""
    nodes_of_constants: dict[Hashable, Signal]
    """Nodes of constants by `Constant.key`, so that each gets one; shared by all calls."""

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, or ``default`` if the operator's overload does not have it."""
        return self.arguments.get(name, default)

    def __contains__(self, name: str) -> bool:
        return name in self.arguments

    def emit(
        self,
        op: str,
        *inputs: Value,
        shape: Shape | None = None,
        weights: Mapping[str, Constant | None] | None = None,
        **attributes: Any,
    ) -> Signal:
        """Return the output of a new node; ``shape`` is that of the call's output unless it is given."""
        signals = tuple(self.signal(value) for value in inputs)
        present = {role: value for role, value in (weights or {}).items() if value is not None}
        shape = self.shape if shape is None else shape
        return Signal(op, signals, shape, self.dtype, self.origin, attributes, present)

    def signal(self, value: Value) -> Signal:
        """Return ``value`` as the output of a node."""
        if isinstance(value, Signal):
            return value
        key = value.key
        if key not in self.nodes_of_constants:
            self.nodes_of_constants[key] = self._constant(value)
        return self.nodes_of_constants[key]

    @property
    def x(self) -> Signal:
        """The first argument, which must depend on the network's input."""
        return self.input(next(iter(self.arguments)))

    def input(self, name: str) -> Signal:
        """Return an argument that must depend on the network's input."""
        value = self[name]
        if not isinstance(value, Signal):
            raise UntranslatableError(f"its {name} must depend on the network's input")
        return value

    def constant(self, name: str) -> Constant:
        """Return an argument that must not depend on the network's input."""
        value = self[name]
        if not isinstance(value, Constant) or value.is_batched or value.is_cut:
            raise UntranslatableError(f"its {name} must not depend on the network's input")
        return value

    def optional_constant(self, name: str) -> Constant | None:
        """Return an argument that may be missing, and must not depend on the network's input."""
        return None if self[name] is None else self.constant(name)

    def number(self, value: complex, dtype: torch.dtype | None = None) -> Constant:
        """Return a number as a constant."""
        return Constant(torch.tensor(value, dtype=dtype or self.dtype), ())

    def _constant(self, value: Constant) -> Signal:
        """Return a node with the value for a batch of one and most tokens, cut to their number and repeated."""
        if value.tensor.dtype == torch.bool:  # truth is a number in graphs
            value = replace(value, tensor=value.tensor.to(torch.int8))
        shape: Shape = tuple(value.tensor.shape)
        dtype = value.tensor.dtype
        if any(has_symbol(size, TOKENS) and size != TOKENS for size in value.shape):
            raise UntranslatableError(f"a constant has the shape {list(value.shape)}")
        node = Signal("constant", (), shape, dtype, self.origin, {}, {"value": value})
        for axis, size in enumerate(value.shape):
            if size == TOKENS:
                shape = *shape[:axis], TOKENS, *shape[axis + 1 :]
                attributes = {"axis": axis, "start": 0, "stop": TOKENS, "step": 1}
                node = Signal("slice", (node,), shape, dtype, self.origin, attributes)
        return _repeated(node, value.shape)


def _repeated(node: Signal, shape: Shape) -> Signal:
    """Return a constant for all rows of a batch, which are the same: (…, n, …) -> (…, n · B, …)."""
    axis = next((axis for axis, size in enumerate(shape) if has_symbol(size, BATCH)), None)
    if axis is None:
        return node
    if shape[axis] == BATCH:
        return _moved("expand", node, shape)
    before, after = shape[:axis], shape[axis + 1 :]
    apart = _moved("reshape", node, (*before, 1, node.shape[axis], *after))
    return _moved("reshape", _moved("expand", apart, (*before, BATCH, node.shape[axis], *after)), shape)


def _moved(op: str, x: Signal, shape: Shape) -> Signal:
    return Signal(op, (x,), shape, x.dtype, x.origin, {"shape": list(shape)})


Translation = Callable[[Call], Value | list[Value]]
"""Returns the outputs of a call; raises `UntranslatableError`."""


def numbers(value: int | Sequence[int], length: int) -> list[int]:
    """Return ``length`` numbers, of which ATen may abbreviate equal ones to a single one."""
    values = [value] if isinstance(value, int) else list(value)
    return values * length if len(values) == 1 else values


def axis_of(axis: int, shape: Shape) -> int:
    """Return an axis that may be counted from the end as one counted from the beginning."""
    return axis % len(shape) if shape else 0


def fixed(size: Size) -> int:
    """Return a size that must be a number."""
    if isinstance(unbatched(size), str):
        raise UntranslatableError("it changes an axis of free size")
    assert isinstance(size, int)
    return size


def unbatched(size: Size) -> Size:
    """Return a size that must not depend on the batch size."""
    if has_symbol(size, BATCH):
        raise UntranslatableError("it changes the batch axis")
    return size
