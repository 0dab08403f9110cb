"""Layer and RMS norm that are written out in means, powers and quotients, as one node each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lrp.graph.graph import Graph, Node, Shape
from app.lrp.graph.naming import LAYOUT, unique
from app.lrp.graph.passes.norm_patterns import Norm, Patterns
from app.lrp.graph.passes.rewrite import only_user, with_weights, without_unused
from app.lrp.graph.traced import TracedModel


def merge_norms(model: TracedModel) -> TracedModel:
    """Return the network with one node for each layer norm and RMS norm that is written out.

    So they follow the rule of ``nn.LayerNorm`` and ``nn.RMSNorm``, gain and shift included. Values are permuted
    where the axes that are normalised are not the last ones, as for the channels of pictures.
    """
    for name in [node.name for node in model.graph if node.op in ("mul", "div")]:
        node = model.graph.by_name.get(name)
        norm = None if node is None else Patterns(model).norm(node)
        if node is not None and norm is not None:
            model = _merged(model, _affine(model, node, norm))
    return model


@dataclass(frozen=True)
class _Affine:
    """A norm, and what follows it."""

    norm: Norm
    end: Node
    """The node whose output is that of them all."""
    weight: Tensor | None = None
    """Shaped like the axes that are normalised, as ``bias``."""
    bias: Tensor | None = None


def _affine(model: TracedModel, node: Node, norm: Norm) -> _Affine:
    """Return a norm with the products with constants that follow it and, of a layer norm, the sum."""
    found = _Affine(norm, node)
    if norm.factor != 1:  # σ² is estimated with n - 1, for example
        found = replace(found, weight=_filled(model, node, norm, norm.factor**-0.5))
    while (tensor := _constant_beside(model, found, "mul")) is not None:
        weight = tensor if found.weight is None else found.weight * tensor
        found = replace(found, end=_user(model, found), weight=weight)
    if norm.is_centred and (tensor := _constant_beside(model, found, "add")) is not None:
        found = replace(found, end=_user(model, found), bias=tensor)
    return found


def _user(model: TracedModel, found: _Affine) -> Node:
    user = only_user(model.graph, found.end.name)
    assert user is not None
    return user


def _constant_beside(model: TracedModel, found: _Affine, op: str) -> Tensor | None:
    """Return what the only user multiplies a norm by, or adds, if it differs along the norm's axes alone."""
    user = only_user(model.graph, found.end.name)
    if user is None or user.op != op or user.shape != found.end.shape:
        return None
    others = [name for name in user.inputs if name != found.end.name]
    node = model.graph.by_name.get(others[0]) if others else None
    if node is None or node.op != "constant":
        return None
    value, shape, axes = model.weights[node.weights["value"]], user.shape, found.norm.axes
    value = value.reshape((1,) * (len(shape) - value.dim()) + tuple(value.shape))
    varies = any(size != 1 for axis, size in enumerate(value.shape) if axis not in axes)
    if varies or not value.is_floating_point():
        return None
    return value.reshape([value.shape[axis] for axis in axes]).expand(_sizes(shape, axes))


def _filled(model: TracedModel, node: Node, norm: Norm, number: float) -> Tensor:
    dtype = next(tensor.dtype for tensor in model.weights.values() if tensor.is_floating_point())
    return torch.full(_sizes(node.shape, norm.axes), number, dtype=dtype)


def _sizes(shape: Shape, axes: tuple[int, ...]) -> list[int]:
    return [int(shape[axis]) for axis in axes]


def _merged(model: TracedModel, found: _Affine) -> TracedModel:
    """Return the network with a node for a norm, whose input and output are permuted if need be."""
    norm, end = found.norm, found.end
    op = "layer_norm" if norm.is_centred else "rms_norm"
    name = unique(f"{end.module}.{op}" if end.module else op, model.graph.by_name)
    model, weights = _with_own_weights(model, found, name)
    attributes = {"normalized_shape": _sizes(end.shape, norm.axes), "eps": norm.eps}
    node = replace(end, name=name, op=op, inputs=(norm.x,), attributes=attributes, weights=weights)
    nodes = list(_in_place(model.graph, node, norm.axes))
    renamed = {end.name: nodes[-1].name}
    parts = (nodes if other is end else [other.with_inputs(renamed)] for other in model.graph)
    graph = replace(model.graph, nodes=tuple(one for part in parts for one in part))
    return _named_after_module(without_unused(replace(model, graph=graph)), node)


def _with_own_weights(model: TracedModel, found: _Affine, name: str) -> tuple[TracedModel, dict[str, str]]:
    """Return the network with gain and shift of a norm as tensors of their own, and their names by role."""
    names = {}
    for role, tensor in (("weight", found.weight), ("bias", found.bias)):
        if tensor is not None:
            names[role] = unique(f"{name}.{role}", model.weights)
            model = with_weights(model, {names[role]: tensor.contiguous()})
    return model, names


def _in_place(graph: Graph, node: Node, axes: tuple[int, ...]) -> Iterator[Node]:
    """Return the nodes for a norm over any axes of its input."""
    count = len(node.shape)
    order = [*(axis for axis in range(count) if axis not in axes), *axes]
    if order == list(range(count)):
        yield node
        return
    taken = {node.name, *graph.by_name}
    name = f"{node.module}.permute" if node.module else "permute"
    before = unique(name, taken)
    after = unique(name, {before, *taken})
    shape = tuple(node.shape[axis] for axis in order)
    back = sorted(range(count), key=order.__getitem__)
    moved = replace(node, op="permute", weights={}, shape=shape)
    yield replace(moved, name=before, attributes={"axes": order})
    yield replace(node, inputs=(before,), shape=shape)
    yield replace(moved, name=after, shape=node.shape, inputs=(node.name,), attributes={"axes": back})


def _named_after_module(model: TracedModel, norm: Node) -> TracedModel:
    """Return the network with the module's name for a norm, if the module computes nothing else."""
    module = norm.module
    computes_more = any(
        node.name != norm.name
        and node.op not in LAYOUT
        and (node.module == module or node.module.startswith(f"{module}."))
        for node in model.graph
    )
    if not module or computes_more or module in model.graph.by_name:
        return model
    renamed = {norm.name: module}
    nodes = (
        replace(node.with_inputs(renamed), name=renamed.get(node.name, node.name)) for node in model.graph
    )
    return replace(model, graph=replace(model.graph, nodes=tuple(nodes)))
