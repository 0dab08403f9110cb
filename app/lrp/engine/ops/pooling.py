"""Max and average pooling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from app.lrp.engine.ops.affine import channels_last
from app.lrp.engine.ops.division import stabilized
from app.lrp.engine.steps import Seen
from app.lrp.terms import STABILIZER


@dataclass(frozen=True, eq=False)
class MaxPooling:
    """Relevance goes to the largest of each window."""

    shape: torch.Size
    options: tuple[Any, ...]  # kernel, stride, padding, dilation, ceil_mode
    conserves = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Forward`; notes the winners."""
        pooled, winners = torch.ops.aten.max_pool2d_with_indices(_in_two_dimensions(x), *self.options)
        return _as_before(pooled, x), _as_before(winners, x)

    def __call__(self, R: Tensor, seen: Seen) -> Tensor:
        """See `Back`."""
        winners = channels_last(seen.extra.expand_as(R))
        shaped = _blank(R, self.shape)
        relevance = torch.ops.aten.max_pool2d_with_indices_backward(
            *map(_in_two_dimensions, (R, shaped)), *self.options, _in_two_dimensions(winners)
        )
        return _as_before(relevance, R)


@dataclass(frozen=True, eq=False)
class AveragePooling:
    """Relevance is shared in proportion to the input, `norm` of relevance.md."""

    shape: torch.Size
    pool: Callable[[Tensor], Tensor]
    """In two dimensions, as its transpose is."""
    pool_back: Callable[[Tensor, Tensor], Tensor]
    conserves = False  # the stabilizer takes its share

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """See `Forward`."""
        return _as_before(self.pool(_in_two_dimensions(x)), x), None

    def __call__(self, R: Tensor, seen: Seen) -> Tensor:
        """See `Back`."""
        q = R / stabilized(seen.z, STABILIZER)
        shared = self.pool_back(*map(_in_two_dimensions, (channels_last(q), _blank(R, self.shape))))
        return _as_before(shared, R).mul_(seen.x)


def _blank(R: Tensor, shape: torch.Size) -> Tensor:
    """A tensor like a pooling's input, for operators that ask it nothing but its shape."""
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty((R.shape[0], *shape[1:]), dtype=R.dtype, device=R.device, memory_format=layout)


def _in_two_dimensions(x: Tensor) -> Tensor:
    return x.unsqueeze(2) if x.dim() == 3 else x  # (B, C, L) -> (B, C, 1, L)


def _as_before(x: Tensor, like: Tensor) -> Tensor:
    return x.squeeze(2) if like.dim() == 3 else x
