"""Runs graphs operation by operation with PyTorch's functions, as an oracle of tracing and of passes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from app.lrp.graph.graph import BATCH, INPUT, TOKENS, Node, evaluated, evaluated_shape
from app.lrp.graph.traced import TracedModel

Run = Callable[..., Tensor]


def interpreted(model: TracedModel, x: Tensor) -> Tensor:
    """Return the logits of a network, computed node by node, each value checked against its shape."""
    values, free = {INPUT: x}, {BATCH: len(x)}
    if model.graph.is_of_tokens:
        free[TOKENS] = x.shape[1]
    for node in model.graph:
        weights = {role: model.weights[name] for role, name in node.weights.items()}
        attributes = {
            key: evaluated_shape(value, free)
            if key == "shape"
            else evaluated(value, free)
            if key == "stop"
            else value
            for key, value in node.attributes.items()
            if key not in ("gate", "attention")
        }
        output = run(node, [values[name] for name in node.inputs], weights, attributes)
        assert output.shape == evaluated_shape(node.shape, free), node
        values[node.name] = output
    return values[model.graph.output.name]


def run(node: Node, inputs: list[Tensor], w: dict[str, Tensor], a: dict[str, Any]) -> Tensor:
    if node.op in SAME_NAME:
        return SAME_NAME[node.op](*inputs, **w, **a)
    return OTHERS[node.op](inputs, w, a)


SAME_NAME: dict[str, Run] = {
    "conv1d": F.conv1d,
    "conv2d": F.conv2d,
    "linear": F.linear,
    "layer_norm": lambda x, weight=None, bias=None, *, normalized_shape, eps: F.layer_norm(
        x, normalized_shape, weight, bias, eps
    ),
    "group_norm": lambda x, weight=None, bias=None, *, num_groups, eps: F.group_norm(
        x, num_groups, weight, bias, eps
    ),
    "rms_norm": lambda x, weight=None, *, normalized_shape, eps: F.rms_norm(x, normalized_shape, weight, eps),
    **{
        name: getattr(F, name)
        for name in (
            *("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "hardsigmoid"),
            *("hardswish", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d"),
            *("adaptive_avg_pool2d", "adaptive_max_pool2d"),
        )
    },
    **{
        name: getattr(torch, name)
        for name in ("sigmoid", "tanh", "exp", "abs", "sub", "div", "matmul", "clamp", "reshape", "pow")
    },
    **{
        name: lambda a, b, name=name: getattr(torch, name)(a, b).long()
        for name in ("ge", "gt", "le", "lt", "eq", "ne")
    },
    **{name: getattr(torch, name) for name in ("maximum", "minimum", "prelu")},
}

OTHERS: dict[str, Callable[[list[Tensor], dict[str, Tensor], dict[str, Any]], Tensor]] = {
    "batch_norm": lambda x, w, _: x[0] * column(w["scale"], x[0]) + column(w["shift"], x[0]),
    "softmax": lambda x, _, a: x[0].softmax(a["axis"]),
    "add": lambda x, _, __: x[0] + x[1],
    "mul": lambda x, _, __: x[0] * x[1],
    "where": lambda x, _, __: torch.where(x[0] != 0, x[1], x[2]),
    "log_softmax": lambda x, _, a: x[0].log_softmax(a["axis"]),
    "amax": lambda x, _, a: x[0].amax(a["axis"], a["keepdim"]),
    "cumsum": lambda x, _, a: x[0].cumsum(a["axis"]),
    "upsample": lambda x, _, a: F.interpolate(x[0], **a),
    "mean": lambda x, _, a: x[0].mean(a["axes"], a["keepdim"]),
    "sum": lambda x, _, a: x[0].sum(a["axes"], a["keepdim"]),
    "permute": lambda x, _, a: x[0].permute(a["axes"]),
    "expand": lambda x, _, a: x[0].expand(a["shape"]),
    "slice": lambda x, _, a: (
        x[0].movedim(a["axis"], 0)[a["start"] : a["stop"] : a["step"]].movedim(0, a["axis"])
    ),
    "select": lambda x, _, a: x[0].select(a["axis"], a["index"]),
    "gather": lambda x, _, a: torch.take_along_dim(x[0], x[1], a["axis"]),
    "index_select": lambda x, w, a: x[0].index_select(a["axis"], w["index"]),
    "cat": lambda x, _, a: torch.cat(x, a["axis"]),
    "pad": lambda x, _, a: F.pad(x[0], a["pad"], a["mode"], a["value"]),
    "roll": lambda x, _, a: x[0].roll(a["shifts"], a["axes"]),
    "vector_norm": lambda x, _, a: torch.linalg.vector_norm(x[0], a["ord"], a["axes"], a["keepdim"]),
    "dropout": lambda x, _, __: x[0],
    "identity": lambda x, _, __: x[0],
    "constant": lambda _, w, __: w["value"],
    "embedding": lambda x, w, _: F.embedding(x[0], w["weight"]),
}


def column(values: Tensor, like: Tensor) -> Tensor:
    """Return a value for each channel in a shape that broadcasts: (C,) -> (1, C, 1, …)."""
    return values.reshape(1, -1, *[1] * (like.dim() - 2))
