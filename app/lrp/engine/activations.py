"""Input and output of one layer, in the rows of a batch that relevance is computed for."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.ops.affine import channels_last


class Rows:
    """Rows of a batch of inputs, one for each row of relevance; several explanations may be of one input."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.count = len(indices)
        self._first = indices[0]
        self._same = all(index == self._first for index in indices)
        self._in_order = all(index == self._first + i for i, index in enumerate(indices))
        self._indices = indices

    def of(self, x: Tensor) -> Tensor:
        """Return these rows of ``x``: (B, …) -> (n, …), or (1, …), to be broadcast, if all are the same.

        If ``x`` has one row, which all inputs share, it is (1, …).
        """
        if len(x) == 1:
            return x
        if self._same:
            return x.narrow(0, self._first, 1)
        if self._in_order:
            return x.narrow(0, self._first, self.count)
        return channels_last(x[torch.tensor(self._indices, device=x.device)])


@dataclass(frozen=True, eq=False)
class Activations:
    """What the forward pass left of one layer; rows are selected when they are read."""

    rows: Rows
    batch_input: Tensor
    """(B, in, …)"""
    batch_output: Tensor
    """(B, out, …)"""
    batch_extra: Tensor | None
    """(B, out, …), what the layer's forward function returned besides its output."""

    @property
    def x(self) -> Tensor:
        """The layer's input, (n or 1, in, …)."""
        return self.rows.of(self.batch_input)

    @property
    def z(self) -> Tensor:
        """The layer's output, (n or 1, out, …)."""
        return self.rows.of(self.batch_output)

    @property
    def extra(self) -> Tensor:
        """What the forward function returned besides the output, (n or 1, out, …)."""
        assert self.batch_extra is not None
        return self.rows.of(self.batch_extra)
