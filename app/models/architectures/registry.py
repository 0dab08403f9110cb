"""Architectures of this project, whose checkpoints can be loaded. A new one is one row, and a graph."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from app.lrp.graph.graph import BATCH, Graph, from_json
from app.lrp.graph.traced import TracedModel
from app.models.architectures.minivgg import MiniVGG

ARCHITECTURES: Mapping[str, type[MiniVGG]] = {"MiniVGG": MiniVGG}
"""Architectures by their name in model cards."""


def graph_path(architecture: str) -> Path:
    """Return the path of an architecture's graph, which `app.models.architectures.write_graphs` writes."""
    return Path(__file__).with_name(f"{architecture.lower()}.json")


def graph_of(architecture: str, classes: int) -> Graph:
    """Return the graph of one of `ARCHITECTURES` with this number of outputs."""
    graph = from_json(graph_path(architecture).read_text())
    output = graph.output
    described = output.description.replace(f"out_features={output.shape[1]}", f"out_features={classes}")
    output = replace(output, shape=(BATCH, classes), description=described)
    return replace(graph, nodes=(*graph.nodes[:-1], output))


def as_graph(model: MiniVGG) -> TracedModel:
    """Return ``model`` as its architecture's graph, with the model's weights, which are shared."""
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    architecture = type(model).__name__
    output = graph_of(architecture, 0).output.weights["weight"]
    return TracedModel(graph_of(architecture, len(weights[output])), weights)
