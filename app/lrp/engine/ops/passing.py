"""Layers that relevance passes unchanged: ReLU, dropout, flatten, identity."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.lrp.engine.activations import Activations
from app.lrp.engine.ops.dropout import DROPOUTS

PASSING = (nn.ReLU, *DROPOUTS, nn.Flatten, nn.Identity)


@dataclass(frozen=True, eq=False)
class Passing:
    """A layer that selects, reshapes or returns its input."""

    shape: torch.Size
    """Shape of the layer's input, (1, …)."""
    function: Callable[[Tensor], Tensor]
    conserves = True

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.steps.Forward`."""
        return self.function(x), None

    def relevance(self, R: Tensor, activations: Activations) -> Tensor:  # noqa: ARG002
        """See `app.lrp.engine.steps.Backward`."""
        return R.reshape(-1, *self.shape[1:])  # flatten has changed it


def passing(layer: nn.Module, shape: torch.Size) -> Passing:
    """Compile one of the layers `PASSING` for inputs of ``shape`` (1, …)."""
    match layer:
        case nn.ReLU():
            return Passing(shape, F.relu)
        case nn.Flatten():
            return Passing(shape, lambda x: x.flatten(layer.start_dim, layer.end_dim))
        case _:
            return Passing(shape, identity)


def identity(x: Tensor) -> Tensor:
    """Return ``x``."""
    return x
