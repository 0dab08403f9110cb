"""Moves of values, as few as there can be."""

from dataclasses import replace

from app.lrp.graph.graph import Node
from app.lrp.graph.passes.rewrite import replaced
from app.lrp.graph.traced import TracedModel


def merge_moves(model: TracedModel) -> TracedModel:
    """Return the network with one reshape in place of several in a row, and one permutation likewise.

    Those that leave their input as it is are dropped.
    """
    kept: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in model.graph:
        merged = _merged(kept, node.with_inputs(renamed))
        if _moves_nothing(model, merged) and node is not model.graph.output:
            renamed[node.name] = merged.inputs[0]
        else:
            kept[node.name] = merged
    return replaced(model, {node.name: kept.get(node.name) for node in model.graph})


def _merged(nodes: dict[str, Node], node: Node) -> Node:
    before = nodes.get(node.inputs[0]) if node.inputs else None
    if before is None or before.op != node.op:
        return node
    if node.op == "reshape":
        return replace(node, inputs=before.inputs)
    if node.op == "permute":
        axes = [before.attributes["axes"][axis] for axis in node.attributes["axes"]]
        return replace(node, inputs=before.inputs, attributes={"axes": axes})
    return node


def _moves_nothing(model: TracedModel, node: Node) -> bool:
    if node.op == "identity":
        return True
    if node.op == "permute":
        return list(node.attributes["axes"]) == list(range(len(node.shape)))
    return node.op == "reshape" and node.shape == model.graph.shape_of(node.inputs[0])
