"""The mask of recurrent layers: which steps of a row are tokens, and which are padding."""

from dataclasses import replace

import torch

from app.lrp.graph.graph import INPUT, TOKENS, Node
from app.lrp.graph.naming import unique
from app.lrp.graph.passes.rewrite import with_weights
from app.lrp.graph.traced import TracedModel

_RECURRENT = ("lstm", "gru")


def mask_recurrent(model: TracedModel) -> TracedModel:
    """Return the network with the mask of the tokens as the second input of its recurrent layers.

    The network runs each row to its own end, whatever is behind it: a row of tokens without padding gives the
    same as before, which is what the module does with packed sequences.
    """
    graph = model.graph
    masked = {node.name for node in graph if node.op in _RECURRENT and _steps(node) == TOKENS}
    if not graph.is_of_tokens or not masked:
        return model
    taken = {INPUT, *graph.by_name, *model.weights}
    zero = unique("padding", taken)
    mask = unique("mask", {zero, *taken})
    nodes = (
        Node(zero, "constant", (), (), weights={"value": f"{zero}.value"}),
        Node(mask, "ge", (INPUT, zero), graph.input_shape),
        *(replace(node, inputs=(*node.inputs, mask)) if node.name in masked else node for node in graph),
    )
    with_mask = replace(model, graph=replace(graph, nodes=nodes))
    return with_weights(with_mask, {f"{zero}.value": torch.zeros((), dtype=torch.int64)})


def _steps(node: Node) -> int | str:
    return node.shape[1 if node.attributes["batch_first"] else 0]
