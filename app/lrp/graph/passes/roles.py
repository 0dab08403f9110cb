"""Roles of products in a network, which their rules depend on: gates and attention."""

from collections.abc import Callable
from dataclasses import replace

from app.lrp.graph.graph import INPUT, Graph, Node, Shape
from app.lrp.graph.naming import unique
from app.lrp.graph.passes.rewrite import replaced
from app.lrp.graph.traced import TracedModel

_LAYOUT = ("reshape", "permute", "expand", "slice", "select", "dropout", "identity")
_ARITHMETIC = ("add", "sub", "mul", "div")
_SATURATING = ("sigmoid", "hardsigmoid", "softmax")


def mark_gates(model: TracedModel) -> TracedModel:
    """Return the network with the gates of products named: factors that come from a sigmoid or a softmax.

    So are the weights of squeeze-and-excitation, x · sigmoid(x) written out, and the gates t and 1 - t of highway
    networks. A product of two gates has none, nor has one with a constant, which gets no relevance.
    """
    constants = _constants(model.graph)
    nodes = model.graph.by_name
    gates = _made_of(model.graph, lambda node: _saturates(nodes, constants, node), (*_LAYOUT, *_ARITHMETIC))
    return _mapped(model, lambda node: _with_gate(node, gates) if constants.isdisjoint(node.inputs) else node)


def turn_attention(model: TracedModel) -> TracedModel:
    """Return the network with attention weights as the first factor: v · a is (aᵀ · vᵀ)ᵀ."""
    weights = attention_weights(model.graph)
    names = set(model.graph.by_name)
    nodes: list[Node] = []
    for node in model.graph:
        if node.op == "matmul" and node.inputs[1] in weights and node.inputs[0] not in weights:
            nodes += _turned(model.graph, node, names)
        else:
            nodes.append(node)
    return replace(model, graph=replace(model.graph, nodes=tuple(nodes)))


def mark_attention(model: TracedModel) -> TracedModel:
    """Return the network with those matrix products named whose first factor is attention weights."""
    weights = attention_weights(model.graph)

    def marked(node: Node) -> Node:
        if node.op == "matmul" and node.inputs[0] in weights and node.inputs[1] not in weights:
            return replace(node, attributes={**node.attributes, "attention": True})
        return node

    return _mapped(model, marked)


def attention_weights(graph: Graph) -> set[str]:
    """Return the values that depend on the network's input through softmax alone.

    They may have been scaled, masked or mixed between heads. Softmax passes no relevance on under ``cp``, so that
    what they get would be lost.
    """
    return _made_of(graph, lambda node: node.op == "softmax", None)


def _constants(graph: Graph) -> set[str]:
    """Return the values that carry no relevance."""
    return set(graph.by_name) - graph.relevant


def _made_of(graph: Graph, is_source: Callable[[Node], bool], through: tuple[str, ...] | None) -> set[str]:
    """Return the values of some nodes, and what is computed from these and constants alone.

    ``through``: operations that compute it; ``None``: all.
    """
    constants = _constants(graph)
    found: set[str] = set()
    for node in graph:
        is_computed = through is None or node.op in through
        if node.name not in constants and (
            is_source(node)
            or (is_computed and all(name in found or name in constants for name in node.inputs))
        ):
            found.add(node.name)
    return found


def _saturates(nodes: dict[str, Node], constants: set[str], node: Node) -> bool:
    """Return whether a node is a sigmoid, a softmax, or a hard sigmoid written out, such as relu6(x + 3)."""
    if node.op == "relu6" or (
        node.op == "clamp" and None not in (node.attributes["min"], node.attributes["max"])
    ):
        before = None if node.inputs[0] == INPUT else nodes[node.inputs[0]]
        is_shifted = before is not None and before.op == "add" and not constants.isdisjoint(before.inputs)
        return is_shifted and node.attributes.get("min", 0) >= 0
    return node.op in _SATURATING


def _with_gate(node: Node, gates: set[str]) -> Node:
    found = [index for index, name in enumerate(node.inputs) if name in gates]
    if node.op != "mul" or len(found) != 1:
        return node
    return replace(node, attributes={**node.attributes, "gate": found[0]})


def _turned(graph: Graph, node: Node, names: set[str]) -> list[Node]:
    """Return the nodes of (aᵀ · vᵀ)ᵀ for v · a, the last of which has the name of ``node``."""
    value, weights = (_transposed(node, name, graph.shape_of(name), names) for name in node.inputs)
    shape = *node.shape[:-2], node.shape[-1], node.shape[-2]
    product = replace(
        node, name=_taken(f"{node.name}_turned", names), inputs=(weights.name, value.name), shape=shape
    )
    return [value, weights, product, replace(_transposed(node, product.name, shape, names), name=node.name)]


def _transposed(node: Node, name: str, shape: Shape, names: set[str]) -> Node:
    """Return a node for a value with its last two axes exchanged."""
    axes = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    turned = tuple(shape[axis] for axis in axes)
    own = _taken(f"{node.name}_permute", names)
    return Node(own, "permute", (name,), turned, {"axes": axes}, module=node.module, kind=node.kind)


def _taken(name: str, names: set[str]) -> str:
    """Return a name that no node has, and add it to ``names``."""
    own = unique(name, names)
    names.add(own)
    return own


def _mapped(model: TracedModel, function: Callable[[Node], Node]) -> TracedModel:
    return replaced(model, {node.name: function(node) for node in model.graph})
