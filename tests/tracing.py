"""Traced networks for tests."""

import torch
from torch import nn

from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel


def traced(model: nn.Module, *shape: int) -> TracedModel:
    """Return the graph of ``model`` for inputs of ``shape``, without the batch axis."""
    dtype = next(model.parameters()).dtype
    return trace(model, torch.zeros(2, *shape, dtype=dtype))
