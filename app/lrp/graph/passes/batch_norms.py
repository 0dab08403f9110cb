"""Batch normalisation as a part of the affine layer before or after it."""

from dataclasses import replace

import torch
from torch import Tensor

from app.lrp.graph.graph import Node
from app.lrp.graph.passes.rewrite import only_user, replaced, weight_for, with_weights
from app.lrp.graph.traced import TracedModel

_CONVOLUTIONS = ("conv1d", "conv2d")


def merge_batch_norms(model: TracedModel) -> TracedModel:
    """Return the network with each batch norm merged into the affine layer before it, else into the one after it.

    Rules act on weights, and scale and shift of a batch norm are a part of the weights of the layer that it
    follows, as in Zennit's ``MergeBatchNorm``. It is merged into the layer after it if that is exact, which is if
    that layer has no padding, or the batch norm no shift. Else it stays a node of its own.
    """
    for node in [node for node in model.graph if node.op == "batch_norm"]:
        model = _merged(model, model.graph.by_name[node.name])
    return model


def _merged(model: TracedModel, norm: Node) -> TracedModel:
    nodes = model.graph.by_name
    before = nodes.get(norm.inputs[0])
    if before is not None and _is_affine(before) and only_user(model.graph, before.name) is norm:
        return _merged_before(model, before, norm)
    after = only_user(model.graph, norm.name)
    if after is not None and _is_affine(after) and _is_exact(model, norm, after):
        return _merged_after(model, norm, after)
    return model


def _is_affine(node: Node) -> bool:
    """Return whether axis 1 of the input and the output of a node are those of its weights."""
    return node.op in _CONVOLUTIONS or (node.op == "linear" and len(node.shape) == 2)


def _is_exact(model: TracedModel, norm: Node, after: Node) -> bool:
    """Return whether padding adds what the shift would have been added to, or nothing."""
    has_shift = bool(model.weights[norm.weights["shift"]].any())
    return not has_shift or not any(after.attributes.get("padding", ()))


def _merged_before(model: TracedModel, before: Node, norm: Node) -> TracedModel:
    """Return the network with weights scale · w and bias scale · b + shift in the layer before the norm."""
    weight, bias, scale, shift = _tensors(model, before, norm)
    merged = scale.reshape(-1, *[1] * (weight.dim() - 1)) * weight
    return replaced(
        _with_affine(model, before, merged, scale * bias + shift),
        {before.name: _with_names(model, before), norm.name: None},
        {norm.name: before.name},
    )


def _merged_after(model: TracedModel, norm: Node, after: Node) -> TracedModel:
    """Return the network with weights w · scale and bias b + Σ w · shift in the layer after the norm."""
    weight, bias, scale, shift = _tensors(model, after, norm)
    groups = after.attributes.get("groups", 1)
    per_group = len(weight) // groups  # weight: (groups · per_group, channels / groups, …)
    rows = (weight.shape[0], weight.shape[1], *[1] * (weight.dim() - 2))
    scales, shifts = (
        values.reshape(groups, 1, -1).expand(-1, per_group, -1).reshape(rows) for values in (scale, shift)
    )
    added = (weight * shifts).flatten(1).sum(1)  # (out,)
    return replaced(
        _with_affine(model, after, weight * scales, bias + added),
        {after.name: replace(_with_names(model, after), inputs=norm.inputs), norm.name: None},
    )


def _tensors(model: TracedModel, affine: Node, norm: Node) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return weight, bias, scale and shift in float64."""
    weight = model.weights[affine.weights["weight"]].double()
    bias = weight.new_zeros(len(weight))
    if "bias" in affine.weights:
        bias = model.weights[affine.weights["bias"]].double()
    scale, shift = (model.weights[norm.weights[role]].double() for role in ("scale", "shift"))
    return weight, bias, scale, shift


def _with_names(model: TracedModel, affine: Node) -> Node:
    return replace(affine, weights={role: weight_for(model, affine, role) for role in ("weight", "bias")})


def _with_affine(model: TracedModel, affine: Node, weight: Tensor, bias: Tensor) -> TracedModel:
    names = _with_names(model, affine).weights
    dtype: torch.dtype = model.weights[affine.weights["weight"]].dtype
    return with_weights(model, {names["weight"]: weight.to(dtype), names["bias"]: bias.to(dtype)})
