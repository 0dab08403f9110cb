"""Where the rows of a batch lie in a value, and what is done row by row.

Exactly one axis of a value that depends on the network's input has the batch in its size, which is
outer · B · inner: 197 · B where tokens are multiplied out before it, B · 64 where windows are behind it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from app.lrp.engine.ops.affine import channels_last
from app.lrp.graph.graph import BATCH, INPUT, Graph, Node, Shape, evaluated


@dataclass(frozen=True)
class Layout:
    """Shape of a value, and its batch axis."""

    shape: torch.Size
    """For a batch of one."""
    axis: int | None
    """Axis of the batch; ``None`` for a value that is the same for all batches."""
    outer: int = 1
    inner: int = 1

    @cached_property
    def is_simple(self) -> bool:
        """Whether the batch has an axis of its own."""
        return self.outer == self.inner == 1

    def size(self, rows: int) -> torch.Size:
        """Return the shape of the value for a batch of ``rows``."""
        if self.axis is None:
            return self.shape
        return torch.Size(
            (*self.shape[: self.axis], rows * self.shape[self.axis], *self.shape[self.axis + 1 :])
        )

    def rows(self, x: Tensor) -> int:
        """Return how many rows ``x`` has."""
        return self.rows_of(x.shape)

    def rows_of(self, shape: torch.Size) -> int:
        """Return how many rows a value of ``shape`` has."""
        return 1 if self.axis is None else shape[self.axis] // (self.outer * self.inner)

    def narrow(self, x: Tensor, start: int, count: int) -> Tensor:
        """Return consecutive rows of ``x``."""
        if self.axis is None or count == self.rows(x):
            return x
        if self.is_simple:
            return x.narrow(self.axis, start, count)
        return self._joined(self._apart(x).narrow(self.axis + 1, start, count))

    def select(self, x: Tensor, indices: Sequence[int]) -> Tensor:
        """Return any rows of ``x``."""
        if self.axis is None:
            return x
        chosen = torch.tensor(indices, device=x.device)
        if self.is_simple:
            index: tuple[slice | Tensor, ...] = (*[slice(None)] * self.axis, chosen)
            selected = x[index]
            return channels_last(selected) if _is_channels_last(x) else selected
        return self._joined(self._apart(x).index_select(self.axis + 1, chosen))

    def expand(self, x: Tensor, rows: int) -> Tensor:
        """Return ``x`` with its one row repeated; as it is if it has that many rows."""
        if self.axis is None or self.rows(x) == rows:
            return x
        if self.is_simple:
            return x.expand(self.size(rows))
        apart = self._apart(x)
        sizes = (*apart.shape[: self.axis + 1], rows, *apart.shape[self.axis + 2 :])
        return self._joined(apart.expand(sizes))

    def sums(self, R: Tensor) -> Tensor:
        """Return the sum of each row, (rows,)."""
        if self.is_simple:
            return R.sum([axis for axis in range(R.dim()) if axis != self.axis]) if R.dim() > 1 else R
        apart = self._apart(R)
        return apart.sum([axis for axis in range(apart.dim()) if axis != self._batch_axis + 1])

    def by_row(self, x: Tensor) -> Tensor:
        """Return ``x`` with the batch as its first axis.

        (…, outer · n · inner, …) -> (n, …, outer · inner, …), without that axis if the batch had one of its own.
        """
        if self.is_simple:
            return x.movedim(self._batch_axis, 0)
        return (
            self._apart(x)
            .movedim(self._batch_axis + 1, 0)
            .flatten(self._batch_axis + 1, self._batch_axis + 2)
        )

    def placed(self, rows: Tensor) -> Tensor:
        """Return the value with these ``rows``; the inverse of `by_row`."""
        if self.is_simple:
            return rows.movedim(0, self._batch_axis)
        apart = rows.unflatten(self._batch_axis + 1, (self.outer, self.inner))
        return self._joined(apart.movedim(0, self._batch_axis + 1))

    @property
    def row_shape(self) -> torch.Size:
        """Shape of a row in `by_row`."""
        if not self.is_simple:
            return self.shape
        return torch.Size((*self.shape[: self._batch_axis], *self.shape[self._batch_axis + 1 :]))

    @property
    def _batch_axis(self) -> int:
        assert self.axis is not None
        return self.axis

    def _apart(self, x: Tensor) -> Tensor:
        """(…, outer · n · inner, …) -> (…, outer, n, inner, …)"""
        apart: Tensor = x.unflatten(self._batch_axis, (self.outer, -1, self.inner))
        return apart

    def _joined(self, x: Tensor) -> Tensor:
        """(…, outer, n, inner, …) -> (…, outer · n · inner, …)"""
        return x.flatten(self._batch_axis, self._batch_axis + 2)


def layouts(graph: Graph) -> tuple[Layout, ...]:
    """Return the layouts of the network's input and of the output of each node."""
    found = {INPUT: _layout(graph.input_shape, 1)}
    for node in graph:
        found[node.name] = _of_output(node, [found[name] for name in node.inputs])
    return tuple(found.values())


def _of_output(node: Node, inputs: Sequence[Layout]) -> Layout:
    batched = [layout for layout in inputs if layout.axis is not None]
    if node.op == "reshape" and batched:
        return _reshaped(node.shape, batched[0])
    return _layout(node.shape, batched[0].outer if batched else 1)


def _reshaped(shape: Shape, before: Layout) -> Layout:
    """Return the layout after a reshape, which keeps the elements between neighbouring rows together."""
    after = _layout(shape, 1)
    assert before.axis is not None
    assert after.axis is not None
    between = before.inner * math.prod(before.shape[before.axis + 1 :])
    inner = between // math.prod(after.shape[after.axis + 1 :])
    return Layout(after.shape, after.axis, after.shape[after.axis] // inner, inner)


def _layout(shape: Shape, outer: int) -> Layout:
    axis = next((i for i, size in enumerate(shape) if isinstance(size, str) and BATCH in size), None)
    numbers = torch.Size(evaluated(size, {BATCH: 1}) for size in shape)
    return Layout(numbers, axis) if axis is None else Layout(numbers, axis, outer, numbers[axis] // outer)


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
