"""Changes of a graph that several passes make."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from app.lrp.graph.graph import Graph, Node
from app.lrp.graph.naming import unique
from app.lrp.graph.traced import TracedModel


def replaced(
    model: TracedModel, changed: Mapping[str, Node | None], renamed: Mapping[str, str] | None = None
) -> TracedModel:
    """Return the network with other nodes in place of some, by their names; ``None`` removes a node.

    Args:
        model: The network.
        changed: Nodes by the names of those that they replace.
        renamed: Values that the other nodes read in place of removed ones.

    """
    nodes = [
        changed[node.name] if node.name in changed else node.with_inputs(renamed or {})
        for node in model.graph
    ]
    graph = replace(model.graph, nodes=tuple(node for node in nodes if node is not None))
    return without_unused(replace(model, graph=graph))


def with_weights(model: TracedModel, weights: Mapping[str, Tensor]) -> TracedModel:
    """Return the network with some tensors added or replaced."""
    return replace(model, weights={**model.weights, **weights})


def without_unused(model: TracedModel) -> TracedModel:
    """Return the network without nodes and weights that its output does not depend on."""
    needed = {model.graph.output.name}
    for node in reversed(model.graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    graph = replace(model.graph, nodes=tuple(node for node in model.graph if node.name in needed))
    return TracedModel(graph, {name: model.weights[name] for name in graph.weight_names})


def only_user(graph: Graph, name: str) -> Node | None:
    """Return the node that reads a value, if there is only one and the value is not the output."""
    users = graph.users[name]
    return users[0] if len(users) == 1 and name != graph.output.name else None


def weight_for(model: TracedModel, node: Node, role: str) -> str:
    """Return the name of a tensor that only this node reads: its own, or a new one."""
    if role in node.weights:
        name = node.weights[role]
        readers = [other for other in model.graph if name in other.weights.values()]
        return name if len(readers) == 1 else unique(name, model.weights)
    beside = node.weights["weight"].rpartition(".")[0] or node.name
    return unique(f"{beside}.{role}", model.weights)
