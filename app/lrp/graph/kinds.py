"""Kinds of the nodes of a graph, by which composites choose rules."""

from collections.abc import Mapping

from app.lrp.composites import Chain, Kind
from app.lrp.graph.graph import Graph, Node

_KINDS: Mapping[str, Kind] = {
    "conv1d": "convolution",
    "conv2d": "convolution",
    "linear": "dense",
    **dict.fromkeys(
        (
            "avg_pool1d",
            "avg_pool2d",
            "adaptive_avg_pool1d",
            "adaptive_avg_pool2d",
            "upsample",
            "mean",
            "sum",
            "vector_norm",
            "add",
            "sub",
            "batch_norm",
        ),
        "proportional",
    ),
    "matmul": "attention",
    "softmax": "attention",
    "layer_norm": "attention",
    "group_norm": "attention",
    "embedding": "sequence",
    "lstm": "sequence",
    "gru": "sequence",
}


def layer_nodes(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that are layers: those whose value carries relevance."""
    relevant = graph.relevant
    return tuple(node for node in graph if node.name in relevant)


def kinds(graph: Graph) -> Chain:
    """Return names and kinds of the layers of ``graph``, for `app.lrp.composites.resolve`."""
    return tuple((node.name, _KINDS.get(node.op, "other")) for node in layer_nodes(graph))
