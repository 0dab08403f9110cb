"""Layer and RMS norm as they are written out: (x - mean) / √(variance + eps) and x · (mean square + eps)^-½."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.lrp.graph.graph import INPUT, Node
from app.lrp.graph.traced import TracedModel


@dataclass(frozen=True)
class Norm:
    """What is divided by its deviation."""

    x: str
    """The value that is normalised."""
    axes: tuple[int, ...]
    is_centred: bool
    """Whether the mean is subtracted, as in layer norm."""
    factor: float = 1.0
    """By which the variance is multiplied, such as n / (n - 1)."""
    eps: float = 0.0
    """Is added to the variance, divided by ``factor``."""


class Patterns:
    """Finds norms among the nodes of a network."""

    def __init__(self, model: TracedModel) -> None:
        self._nodes, self._weights = model.graph.by_name, model.weights

    def norm(self, node: Node) -> Norm | None:
        """Return the norm that a node computes at its end, without gain and shift."""
        if node.op == "div":
            return self._of(node, node.inputs[0], node.inputs[1], 0.5)
        if node.op != "mul":
            return None
        first, second = node.inputs
        return self._of(node, first, second, -0.5) or self._of(node, second, first, -0.5)

    def _of(self, node: Node, numerator: str, deviation: str, exponent: float) -> Norm | None:
        """Return the norm of a numerator, if ``deviation`` is a power of its variance."""
        value, found = self._as_power(deviation)
        norm = self._stabilized(value) if found == exponent else None
        if norm is None or not all(isinstance(node.shape[axis], int) for axis in norm.axes):
            return None
        of = self._centred(numerator) if norm.is_centred else (numerator, norm.axes)
        return norm if of == (norm.x, norm.axes) else None

    def _stabilized(self, name: str) -> Norm | None:
        """Return the norm whose variance and eps have the sum ``name``."""
        value, eps = self._beside_number(name, "add") or (name, 0.0)
        scaled, factor = self._beside_number(value, "mul") or (value, 1.0)
        norm = self._variance(scaled)
        if norm is None or factor <= 0 or eps < 0:
            return None
        return replace(norm, factor=factor, eps=eps / factor)

    def _variance(self, name: str) -> Norm | None:
        """Return the norm whose variance, or mean square, is ``name``."""
        found = self._mean(name)
        if found is None:
            return self._difference_of_squares(name)
        squares, axes = found
        value, exponent = self._power(squares) or (squares, 1.0)
        if exponent != 2:
            return None
        centred = self._centred(value)
        is_centred = centred is not None and centred[1] == axes
        return Norm(centred[0] if centred and is_centred else value, axes, is_centred)

    def _difference_of_squares(self, name: str) -> Norm | None:
        """Return the norm whose variance is written as the mean of squares minus the square of the mean."""
        node = self._node(name, "sub")
        if node is None:
            return None
        norm = self._variance(node.inputs[0])
        mean, exponent = self._power(node.inputs[1]) or (node.inputs[1], 1.0)
        if norm is None or norm.is_centred or exponent != 2 or self._mean(mean) != (norm.x, norm.axes):
            return None
        return replace(norm, is_centred=True)

    def _centred(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """Return the value whose mean over axes is subtracted, and these."""
        node = self._node(name, "sub")
        found = None if node is None else self._mean(node.inputs[1])
        return found if node is not None and found is not None and found[0] == node.inputs[0] else None

    def _mean(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """Return the value whose mean over axes, which are kept, is ``name``, and these."""
        node = self._node(name, "mean")
        if node is not None and node.attributes["keepdim"]:
            return node.inputs[0], tuple(node.attributes["axes"])
        return None if node is not None else self._mean_without_axes(name)

    def _mean_without_axes(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """Return the same where the axes are dropped at first, and added again by a reshape."""
        node = self._node(name, "reshape")
        mean = None if node is None else self._node(node.inputs[0], "mean")
        if node is None or mean is None or mean.attributes["keepdim"]:
            return None
        axes = tuple(mean.attributes["axes"])
        rest = [size for axis, size in enumerate(node.shape) if axis not in axes]
        same = len(node.shape) == len(mean.shape) + len(axes) and rest == list(mean.shape)
        return (mean.inputs[0], axes) if same and self._are_ones(node.shape, axes) else None

    def _are_ones(self, shape: Sequence[int | str], axes: Sequence[int]) -> bool:
        return all(shape[axis] == 1 for axis in axes)

    def _as_power(self, name: str) -> tuple[str, float]:
        """Return a value and the exponent whose power is ``name``; exact for values that are not negative."""
        found = self._power(name) or self._reciprocal(name)
        if found is None:
            return name, 1.0
        value, exponent = self._as_power(found[0])
        return value, exponent * found[1]

    def _power(self, name: str) -> tuple[str, float] | None:
        node = self._nodes.get(name)
        if node is not None and node.op == "pow":
            return node.inputs[0], float(node.attributes["exponent"])
        if node is not None and node.op == "mul" and node.inputs[0] == node.inputs[1]:
            return node.inputs[0], 2.0
        return None

    def _reciprocal(self, name: str) -> tuple[str, float] | None:
        """Return the same for 1 / x and for 1 · x, which follows ``aten.reciprocal``."""
        node = self._node(name, "div")
        if node is not None and self._number(node.inputs[0]) == 1:
            return node.inputs[1], -1.0
        value, factor = self._beside_number(name, "mul") or (name, 0.0)
        return (value, 1.0) if factor == 1 else None

    def _beside_number(self, name: str, op: str) -> tuple[str, float] | None:
        """Return the other input of a sum or a product with a number, and that."""
        node = self._node(name, op)
        for value, number in (node.inputs, node.inputs[::-1]) if node is not None else ():
            if (found := self._number(number)) is not None:
                return value, found
        return None

    def _number(self, name: str) -> float | None:
        node = self._node(name, "constant")
        tensor = None if node is None else self._weights[node.weights["value"]]
        return float(tensor) if tensor is not None and tensor.numel() == 1 else None

    def _node(self, name: str, op: str) -> Node | None:
        """Return the node of a value, if it has this operation."""
        node = None if name == INPUT else self._nodes[name]
        return node if node is not None and node.op == op else None
