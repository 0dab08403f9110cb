"""Which values the nodes of a graph read, by index: 0 is the network's input, i + 1 the output of node i."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from app.lrp.graph.graph import INPUT, Graph

WEIGHTED = ("conv1d", "conv2d", "linear")
"""Operations whose rule can be chosen."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """The values and nodes of a graph, whatever the shape of the input."""

    names: tuple[str, ...]
    """Of the nodes."""
    is_layer: tuple[bool, ...]
    """Whether the node is a layer: those whose value carries relevance are."""
    inputs: tuple[tuple[int, ...], ...]
    """Values that each node reads."""
    users: tuple[tuple[int, ...], ...]
    """Nodes that read each value."""
    depends: tuple[bool, ...]
    """Whether each value carries relevance, see `Graph.relevant`."""
    first: tuple[int, ...]
    """Which of its inputs relevance at a node is of: the first that carries any."""
    rectifiers: Mapping[int, int]
    """Nodes with weights that only a ReLU reads, and that ReLU."""

    @cached_property
    def rectified(self) -> frozenset[int]:
        """The ReLUs of `rectifiers`."""
        return frozenset(self.rectifiers.values())

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they run."""
        return tuple(name for name, is_layer in zip(self.names, self.is_layer, strict=True) if is_layer)


def wiring_of(graph: Graph) -> Wiring:
    """Return the wiring of ``graph``."""
    numbers = {INPUT: 0, **{node.name: i + 1 for i, node in enumerate(graph)}}
    inputs = tuple(tuple(numbers[name] for name in node.inputs) for node in graph)
    users = tuple(
        tuple(numbers[user.name] - 1 for user in graph_users) for graph_users in graph.users.values()
    )
    relevant = graph.relevant
    depends = [name in relevant for name in numbers]
    rectifiers = {
        i: users[i + 1][0]
        for i, node in enumerate(graph)
        if node.op in WEIGHTED and [graph.nodes[user].op for user in users[i + 1]] == ["relu"]
    }
    return Wiring(
        tuple(node.name for node in graph),
        tuple(depends[1:]),
        inputs,
        users,
        tuple(depends),
        tuple(next((k for k, value in enumerate(read) if depends[value]), 0) for read in inputs),
        rectifiers,
    )
