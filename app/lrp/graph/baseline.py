"""Inputs relative to a baseline: the network as a function of x − r."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from torch import Tensor

from app.errors import GraphError
from app.lrp.graph.graph import INPUT, Node
from app.lrp.graph.passes.rewrite import replaced, weight_for, with_weights
from app.lrp.graph.traced import TracedModel


def with_baseline(model: TracedModel, baseline: Tensor) -> TracedModel:
    """Return the network that computes for x − r what ``model`` computes for x, where r is the ``baseline``.

    Layers that read the network's input have r in their biases: W x + b = W (x − r) + (b + W r). Relevance in
    proportion to the input is then in proportion to x − r, and a feature at its baseline gets none.

    Args:
        model: The network, whose input is (B, columns).
        baseline: r, (columns,).

    Raises:
        GraphError: The input has other axes, or is read by another operation than a dense layer or a batch norm.

    """
    if model.graph.input_shape[1:] != tuple(baseline.shape) or baseline.dim() != 1:
        raise GraphError(
            f"a baseline of shape {tuple(baseline.shape)} does not fit the network's input, "
            f"{model.graph.input_shape}; it needs a number for each of the columns of an input (B, columns)"
        )
    for node in model.graph.users[INPUT]:
        model = _shifted(model, node, baseline)
    return model


def _shifted(model: TracedModel, node: Node, baseline: Tensor) -> TracedModel:
    """Return the network in which a node that reads the input reads the input minus ``baseline``."""
    if node.op not in _SHIFTS:
        raise GraphError(
            f"node {node.name!r} ({node.op}) reads the network's input; relevance relative to a baseline needs "
            f"{' or '.join(_SHIFTS)} there"
        )
    role, shift = _SHIFTS[node.op]
    name, like = weight_for(model, node, role), next(iter(node.weights.values()))
    moved = shift({key: model.weights[weight].double() for key, weight in node.weights.items()}, baseline)
    return replaced(
        with_weights(model, {name: moved.to(model.weights[like])}),
        {node.name: replace(node, weights={**node.weights, role: name})},
    )


def _bias(weights: Mapping[str, Tensor], baseline: Tensor) -> Tensor:
    moved = weights["weight"] @ baseline.to(weights["weight"])  # (out, columns), (columns,) -> (out,)
    return moved + weights["bias"] if "bias" in weights else moved


def _shift(weights: Mapping[str, Tensor], baseline: Tensor) -> Tensor:
    return weights["shift"] + weights["scale"] * baseline.to(weights["scale"])  # (columns,)


_SHIFTS: Mapping[str, tuple[str, Callable[[Mapping[str, Tensor], Tensor], Tensor]]] = MappingProxyType(
    {"linear": ("bias", _bias), "batch_norm": ("shift", _shift)}
)
"""Role of the tensor that a baseline is added to, and the function that computes it, in float64."""
