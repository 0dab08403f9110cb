"""Roles of products in a network, which their rules depend on: gates and attention."""

from collections.abc import Mapping
from dataclasses import replace

from app.lrp.graph.graph import Node
from app.lrp.graph.passes.rewrite import replaced, traced_back
from app.lrp.graph.traced import TracedModel

_LAYOUT = ("reshape", "permute", "expand", "slice", "select", "dropout", "identity")
_SATURATING = ("sigmoid", "hardsigmoid", "softmax")


def mark_gates(model: TracedModel) -> TracedModel:
    """Return the network with the gates of products named: factors that come from a sigmoid or a softmax.

    So are the weights of squeeze-and-excitation, and x · sigmoid(x) written out. A product of two gates has none.
    """
    nodes = model.graph.by_name
    changed: dict[str, Node | None] = {}
    for node in model.graph:
        if node.op == "mul":
            gates = [index for index, name in enumerate(node.inputs) if _is_from(nodes, name, _SATURATING)]
            if len(gates) == 1:
                changed[node.name] = replace(node, attributes={**node.attributes, "gate": gates[0]})
    return replaced(model, changed)


def mark_attention(model: TracedModel) -> TracedModel:
    """Return the network with those matrix products named whose first factor comes from a softmax."""
    nodes = model.graph.by_name
    return replaced(
        model,
        {
            node.name: replace(node, attributes={**node.attributes, "attention": True})
            for node in model.graph
            if node.op == "matmul" and _is_from(nodes, node.inputs[0], ("softmax",))
        },
    )


def _is_from(nodes: Mapping[str, Node], name: str, operations: tuple[str, ...]) -> bool:
    """Return whether a value is the output of one of some operations, moved at most."""
    node = traced_back(nodes, name, _LAYOUT)
    return node is not None and node.op in operations
