"""Nodes of a graph as modules, on which Zennit's hooks are registered."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.lrp.graph.graph import Node

WEIGHTED = ("conv1d", "conv2d", "linear")
SUMS = ("add", "sub")
"""Their modules have one input, the two values stacked along a last axis, as Zennit's `Sum` has."""
PASSING = (
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "sigmoid",
    "hardsigmoid",
    "hardswish",
    "tanh",
    "exp",
    "prelu",
    "abs",
    "clamp",
    "pow",
    "rms_norm",
)
"""Functions of single values and RMS norm, which pass relevance on unchanged. All others without a
rule move elements, and relevance follows these: it is their gradient.
"""


class NodeModule(nn.Module):
    """A node with an operation of `FUNCTIONS` as a module: (…) for each input -> (…)."""

    def __init__(self, node: Node, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._function = FUNCTIONS[node.op]
        self._attributes = {key: value for key, value in node.attributes.items() if key not in IGNORED}
        self._roles = tuple(node.weights)
        for role, name in node.weights.items():
            _register(self, role, weights[name])

    def forward(self, *inputs: Tensor, **sizes: Sequence[int]) -> Tensor:
        """Return the output; ``sizes`` replace attributes that depend on the size of the input."""
        weights = {role: getattr(self, role) for role in self._roles}
        z: Tensor = self._function(*inputs, **{**self._attributes, **weights, **sizes})
        return z.view_as(z)  # Zennit's hooks need a result of an operation with one output, unlike group_norm


IGNORED = ("p", "channels")
"""Attributes that do not change what a node computes in evaluation mode."""


def _register(module: nn.Module, role: str, tensor: Tensor) -> None:
    """Give ``module`` a weight; Zennit's rules modify parameters only."""
    if tensor.is_floating_point():
        module.register_parameter(role, nn.Parameter(tensor, requires_grad=False))
    else:
        module.register_buffer(role, tensor)


def _batch_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    by_channel = (-1, *(1 for _ in x.shape[2:]))
    return x * scale.view(by_channel) + shift.view(by_channel)


def _slice(x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    index = [slice(None)] * x.dim()
    index[axis] = slice(start, stop, step)
    return x[tuple(index)]


def _gather(x: Tensor, index: Tensor, axis: int) -> Tensor:
    sizes = [*x.shape[:axis], index.shape[axis], *x.shape[axis + 1 :]]
    return x.gather(axis, index.expand(sizes))


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "conv1d": F.conv1d,
        "conv2d": F.conv2d,
        "linear": F.linear,
        "batch_norm": _batch_norm,
        "rms_norm": F.rms_norm,
        "relu": F.relu,
        "relu6": F.relu6,
        "leaky_relu": F.leaky_relu,
        "elu": F.elu,
        "gelu": F.gelu,
        "silu": F.silu,
        "mish": F.mish,
        "softplus": F.softplus,
        "sigmoid": torch.sigmoid,
        "hardsigmoid": F.hardsigmoid,
        "hardswish": F.hardswish,
        "tanh": torch.tanh,
        "exp": torch.exp,
        "prelu": lambda x, weight: F.prelu(x, weight),
        "abs": torch.abs,
        "clamp": torch.clamp,
        "pow": torch.pow,
        "vector_norm": lambda x, ord, axes, keepdim: torch.linalg.vector_norm(x, ord, axes, keepdim),  # noqa: A006
        "add": lambda terms: terms[..., 0] + terms[..., 1],
        "sub": lambda terms: terms[..., 0] - terms[..., 1],
        "max_pool1d": F.max_pool1d,
        "max_pool2d": F.max_pool2d,
        "avg_pool1d": F.avg_pool1d,
        "avg_pool2d": F.avg_pool2d,
        "adaptive_avg_pool1d": F.adaptive_avg_pool1d,
        "adaptive_avg_pool2d": F.adaptive_avg_pool2d,
        "adaptive_max_pool2d": F.adaptive_max_pool2d,
        "upsample": F.interpolate,
        "mean": lambda x, axes, keepdim=False: x.mean(axes, keepdim),
        "sum": lambda x, axes, keepdim=False: x.sum(axes, keepdim),
        "amax": lambda x, axis, keepdim: x.max(axis, keepdim).values,
        "maximum": lambda a, b: torch.where(a >= b, a, b),
        "minimum": lambda a, b: torch.where(a <= b, a, b),
        "where": lambda condition, a, b: torch.where(condition != 0, a, b),
        "ge": lambda a, b: (a >= b).to(a.dtype),
        "gt": lambda a, b: (a > b).to(a.dtype),
        "le": lambda a, b: (a <= b).to(a.dtype),
        "lt": lambda a, b: (a < b).to(a.dtype),
        "eq": lambda a, b: (a == b).to(a.dtype),
        "ne": lambda a, b: (a != b).to(a.dtype),
        "cumsum": lambda x, axis: x.cumsum(axis),
        "reshape": lambda x, shape: x.reshape(shape),
        "permute": lambda x, axes: x.permute(axes),
        "expand": lambda x, shape: x.expand(shape),
        "slice": _slice,
        "select": lambda x, axis, index: x.select(axis, index),
        "index_select": lambda x, axis, index: x.index_select(axis, index),
        "gather": _gather,
        "cat": lambda *values, axis: torch.cat(values, axis),
        "pad": F.pad,
        "roll": lambda x, shifts, axes: x.roll(shifts, axes),
        "dropout": lambda x: x,
        "identity": lambda x: x,
        "constant": lambda value: value,
    }
)
"""What each operation computes, called with its inputs, attributes and weights. Others are in
`app.lrp.reference_functions`.
"""
