"""Assembly of translated signals into a graph with names and weights."""

from torch import Tensor

from app.lrp.graph.graph import INPUT, Graph, Node
from app.lrp.graph.naming import names_of
from app.lrp.graph.traced import TracedModel
from app.lrp.graph.values import Constant, Signal


def assembled(output: Signal) -> TracedModel:
    """Return the network whose last node is ``output``, without nodes that ``output`` does not depend on."""
    signals = _ancestors(output)
    inputs = [signal for signal in signals if not signal.op]
    nodes = [signal for signal in signals if signal.op]
    names = {**names_of(nodes), **dict.fromkeys(inputs, INPUT)}
    tensors: dict[str, Tensor] = {}
    weight_names: dict[Constant, str] = {}
    for signal in nodes:
        for role, constant in signal.weights.items():
            name = weight_names.setdefault(constant, constant.name or f"{names[signal]}.{role}")
            tensors[name] = constant.tensor.detach().contiguous()
    graph = Graph(inputs[0].shape, tuple(_node(signal, names, weight_names) for signal in nodes))
    return TracedModel(graph, tensors)


def _ancestors(output: Signal) -> list[Signal]:
    """Return ``output`` and all that it depends on, each after its inputs, in the order of execution."""
    found: dict[Signal, None] = {}
    stack = [output]
    while stack:
        signal = stack.pop()
        if signal not in found:
            found[signal] = None
            stack += signal.inputs
    return sorted(found, key=lambda signal: signal.position)


def _node(signal: Signal, names: dict[Signal, str], weight_names: dict[Constant, str]) -> Node:
    return Node(
        names[signal],
        signal.op,
        tuple(names[other] for other in signal.inputs),
        signal.shape,
        dict(signal.attributes),
        {role: weight_names[constant] for role, constant in signal.weights.items()},
        signal.origin.module,
        signal.origin.kind,
    )
