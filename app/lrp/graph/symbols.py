"""Symbols of sizes, such as the number of words, in a graph; the batch stays a symbol."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.lrp.graph.graph import BATCH, TOKENS, Graph, Node, Shape, Size, evaluated, has_symbol, product


def specialized(graph: Graph, shape: Sequence[int]) -> Graph:
    """Return ``graph`` for inputs of ``shape``, without the batch axis.

    Raises `ValueError` if it does not take them.
    """
    symbols = _symbols(graph.input_shape[1:], shape)
    if not symbols:
        return graph
    nodes = tuple(_specialized(node, symbols) for node in graph)
    return Graph(_shape(graph.input_shape, symbols), nodes)


def most_tokens(graph: Graph) -> int | None:
    """Return the largest number of tokens that the tables of ``graph`` are made for; ``None``: any."""
    sizes = (
        graph.shape_of(node.inputs[0])[node.attributes["axis"]]
        for node in graph
        if node.op == "slice" and node.attributes.get("stop") == TOKENS
    )
    return min((size for size in sizes if isinstance(size, int)), default=None)


def row_shape(shape: Shape) -> Shape:
    """Return the shape of one row of a value: without the batch, whose axis is dropped if it is nothing else."""
    sizes = ([part for part in str(size).split("*") if part != BATCH] for size in shape)
    return tuple(product(parts) for parts in sizes if parts)


def _symbols(sizes: Shape, shape: Sequence[int]) -> dict[str, int]:
    """Return the numbers of all symbols."""
    found: dict[str, int] = {}
    alike = len(sizes) == len(shape)
    for size, number in zip(sizes, shape, strict=False):
        alike &= number == (found.setdefault(size, number) if isinstance(size, str) else size)
    if not alike:
        raise ValueError(f"an input of shape {tuple(shape)}; the network takes {tuple(sizes)}")
    return found


def _specialized(node: Node, symbols: Mapping[str, int]) -> Node:
    attributes = dict(node.attributes)
    if "shape" in attributes:
        attributes["shape"] = list(_shape(attributes["shape"], symbols))
    if isinstance(attributes.get("stop"), str):
        attributes["stop"] = _size(attributes["stop"], symbols)
    return replace(node, shape=_shape(node.shape, symbols), attributes=attributes)


def _shape(sizes: Sequence[Size], symbols: Mapping[str, int]) -> Shape:
    return tuple(_size(size, symbols) for size in sizes)


def _size(size: Size, symbols: Mapping[str, int]) -> Size:
    """Return a size as a number, or as a multiple of the batch."""
    if not has_symbol(size, BATCH):
        return evaluated(size, symbols)
    return product((evaluated(size, {**symbols, BATCH: 1}), BATCH))
