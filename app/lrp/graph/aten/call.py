"""A call of an operator of ATen, as translations read it, and the signals that they create from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from app.lrp.graph.graph import Shape, Size
from app.lrp.graph.values import Constant, Origin, Signal, UntranslatableError, Value, for_batch


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
    nodes_of_constants: dict[tuple[int, Shape], Signal]
    """Nodes that constants have got already, so that each gets one; shared by all calls."""

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
        key = id(value), value.shape
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
        if not isinstance(value, Constant) or value.is_batched:
            raise UntranslatableError(f"its {name} must not depend on the network's input")
        return value

    def optional_constant(self, name: str) -> Constant | None:
        """Return an argument that may be missing, and must not depend on the network's input."""
        return None if self[name] is None else self.constant(name)

    def number(self, value: complex, dtype: torch.dtype | None = None) -> Constant:
        """Return a number as a constant."""
        return Constant(torch.tensor(value, dtype=dtype or self.dtype), ())

    def _constant(self, value: Constant) -> Signal:
        fixed = tuple(value.tensor.shape)
        node = Signal("constant", (), fixed, value.tensor.dtype, self.origin, {}, {"value": value})
        if not value.is_batched:
            return node
        if for_batch(value.shape, 1) != fixed or any(
            isinstance(size, str) and for_batch((size,), 1) != (1,) for size in value.shape
        ):
            raise UntranslatableError(f"a constant has the shape {list(value.shape)}")
        attributes = {"shape": list(value.shape)}
        return Signal("expand", (node,), value.shape, value.tensor.dtype, self.origin, attributes)


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
    """Return a size that must not depend on the batch size."""
    if isinstance(size, str):
        raise UntranslatableError("it changes the batch axis")
    return size
