"""What one layer saw on the way forward, in the rows that relevance comes back for; and what its two ways are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from app.lrp.engine.ops.affine import channels_last


class Rows:
    """Rows of a batch, one for each row of relevance on its way down; one input may be asked several times."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.count = len(indices)
        self._first = indices[0]
        self._same = all(index == self._first for index in indices)
        self._in_order = all(index == self._first + i for i, index in enumerate(indices))
        self._indices = indices

    def of(self, x: Tensor) -> Tensor:
        """Those rows of ``x``; a single one, to be broadcast, where all are the same."""
        if self._same:
            return x.narrow(0, self._first, 1)
        if self._in_order:
            return x.narrow(0, self._first, self.count)
        return channels_last(x[torch.tensor(self._indices, device=x.device)])


@dataclass(frozen=True, eq=False)
class Seen:
    """What one layer saw on the way forward, in the rows that relevance comes back for."""

    rows: Rows
    whole_input: Tensor
    whole_output: Tensor
    whole_extra: Tensor | None

    @property
    def x(self) -> Tensor:
        """The layer's input (n or 1, …)."""
        return self.rows.of(self.whole_input)

    @property
    def z(self) -> Tensor:
        """The layer's output (n or 1, …)."""
        return self.rows.of(self.whole_output)

    @property
    def extra(self) -> Tensor:
        """What the layer noted besides (n or 1, …)."""
        assert self.whole_extra is not None
        return self.rows.of(self.whole_extra)


class Forward(Protocol):
    """One layer on the way forward."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The layer's output for a batch, and what it notes for the way back."""


class Back(Protocol):
    """One layer on the way back, under its rule."""

    @property
    def conserves(self) -> bool:
        """Whether the input gets all the relevance of the output, no more and no less."""

    def __call__(self, R: Tensor, seen: Seen) -> Tensor:
        """Relevance of the output (n, …) -> relevance of the input (n, …)."""
