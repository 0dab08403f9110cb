"""Operations that broadcast, without what broadcasts their inputs before them."""

from app.lrp.graph.graph import Node, Shape
from app.lrp.graph.passes.rewrite import replaced
from app.lrp.graph.traced import TracedModel

_BROADCAST = ("add", "sub", "mul", "div")


def drop_expands(model: TracedModel) -> TracedModel:
    """Return the network with sums and products that read the inputs of their ``expand`` nodes instead."""
    nodes = model.graph.by_name
    changed: dict[str, Node | None] = {
        node.name: _direct(model, node, nodes) for node in model.graph if node.op in _BROADCAST
    }
    return replaced(model, changed)


def _direct(model: TracedModel, node: Node, nodes: dict[str, Node]) -> Node:
    for name in node.inputs:
        if name in nodes and nodes[name].op == "expand":
            direct = node.with_inputs({name: nodes[name].inputs[0]})
            if _broadcast(*(model.graph.shape_of(other) for other in direct.inputs)) == node.shape:
                node = direct
    return node


def _broadcast(first: Shape, second: Shape) -> Shape:
    """Return the shape of a sum; sizes are equal, or one of them is 1."""
    length = max(len(first), len(second))
    padded = ((1,) * (length - len(shape)) + shape for shape in (first, second))
    return tuple(a if b == 1 else b for a, b in zip(*padded, strict=True))
