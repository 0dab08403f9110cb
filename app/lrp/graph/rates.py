"""Probabilities of the dropout layers of a graph."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.lrp.graph.graph import Graph, Node


def dropout_rates(graph: Graph) -> tuple[float, ...]:
    """Return the probabilities of the dropout layers, in their order."""
    return tuple(float(node.attributes["p"]) for node in graph if node.op == "dropout")


def with_dropout_rates(graph: Graph, rates: Sequence[float]) -> Graph:
    """Return ``graph`` with these probabilities, one for each dropout layer in their order."""
    remaining = iter(rates)
    return replace(graph, nodes=tuple(_with_rate(node, remaining) for node in graph))


def _with_rate(node: Node, rates: Iterator[float]) -> Node:
    if node.op != "dropout":
        return node
    rate, before = next(rates), node.attributes["p"]
    described = node.description.replace(f"p={before}", f"p={rate}")
    return replace(node, attributes={**node.attributes, "p": rate}, description=described)
