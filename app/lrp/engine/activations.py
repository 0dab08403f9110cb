"""Inputs and output of one node, in the rows of a batch that relevance is computed for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.layout import Layout


class Rows:
    """Rows of a batch of inputs, one for each row of relevance; several explanations may be of one input."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.count = len(indices)
        self._first = indices[0]
        self._same = indices.count(self._first) == self.count
        self._in_order = list(indices) == list(range(self._first, self._first + self.count))
        self._indices = indices

    def of(self, x: Tensor, layout: Layout) -> Tensor:
        """Return these rows of ``x``; one, to be broadcast, if all are the same and have an axis of their own."""
        if layout.rows(x) == 1:
            return x if layout.is_simple else layout.expand(x, self.count)
        if self._same and layout.is_simple:
            return layout.narrow(x, self._first, 1)
        if self._in_order:
            return layout.narrow(x, self._first, self.count)
        return layout.select(x, self._indices)


@dataclass(frozen=True, eq=False)
class Activations:
    """What the forward pass left of one node; rows are selected when they are read. See `Values`."""

    rows: Rows
    input_layouts: Sequence[Layout]
    output_layout: Layout
    batch_inputs: Sequence[Tensor | None]
    batch_output: Tensor | None
    batch_extra: Tensor | None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """See `app.lrp.engine.operation.Values`."""
        return tuple(map(self._selected, self.batch_inputs, self.input_layouts))

    @property
    def z(self) -> Tensor:
        """See `app.lrp.engine.operation.Values`."""
        return self._selected(self.batch_output, self.output_layout)

    @property
    def extra(self) -> Tensor:
        """See `app.lrp.engine.operation.Values`."""
        return self._selected(self.batch_extra, self.output_layout)

    def input_shape(self, index: int) -> torch.Size:
        """See `app.lrp.engine.operation.Values`."""
        return self.input_layouts[index].size(self.rows.count)

    def _selected(self, x: Tensor | None, layout: Layout) -> Tensor:
        assert x is not None, "freed: the operation says that it does not read this"
        return self.rows.of(x, layout)
