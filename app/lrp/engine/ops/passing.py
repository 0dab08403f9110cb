"""ReLU, dropout, flatten, identity."""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.lrp.engine.steps import Seen


@dataclass(frozen=True, eq=False)
class Passing:
    """ReLU, dropout, flatten, identity: relevance passes as it is."""

    shape: torch.Size
    """Of the layer's input, (1, …); flatten changes it."""
    conserves = True

    def __call__(self, R: Tensor, seen: Seen) -> Tensor:  # noqa: ARG002
        """See `Back`."""
        return R.reshape(-1, *self.shape[1:])
