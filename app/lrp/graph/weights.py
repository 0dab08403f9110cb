"""Check of weights against the graph that reads them."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from app.errors import GraphError
from app.lrp.graph.graph import INPUT, Graph, Node, Shape, Size

Expected = Mapping[str, Sequence[Size | None]]
"""Shape of weights by role; ``None`` for a size that the graph leaves open."""


def check_weights(graph: Graph, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise `GraphError` unless ``shapes``, by name, are those of all weights that ``graph`` reads."""
    needed, given = set(graph.weight_names), set(shapes)
    for names, text in ((needed - given, "is missing"), (given - needed, "is not of this network")):
        if names:
            raise GraphError(f"{min(names)} {text}")
    values = {INPUT: graph.input_shape, **{node.name: node.shape for node in graph}}
    for node in graph:
        _check_node(node, [values[name] for name in node.inputs], shapes)


def _check_node(node: Node, inputs: Sequence[Shape], shapes: Mapping[str, Sequence[int]]) -> None:
    try:
        expected = EXPECTED.get(node.op, _any)(node, inputs)
    except (LookupError, TypeError, ValueError, ZeroDivisionError):
        raise GraphError(f"node {node.name!r}: its shapes and attributes do not fit {node.op!r}") from None
    for role, name in node.weights.items():
        if role in expected and not _fits(shapes[name], expected[role]):
            sizes = ", ".join("any" if size is None else str(size) for size in expected[role])
            raise GraphError(f"{name} has the shape {tuple(shapes[name])}, and {node.name} needs ({sizes})")


def _fits(shape: Sequence[int], expected: Sequence[Size | None]) -> bool:
    return len(shape) == len(expected) and all(
        wanted is None or size == wanted for size, wanted in zip(shape, expected, strict=True)
    )


def _any(_: Node, __: Sequence[Shape]) -> Expected:
    return {}


def _convolution(node: Node, inputs: Sequence[Shape]) -> Expected:
    out, channels = node.shape[1], _number(inputs[0][1])
    sizes = [_kernel_size(node, inputs[0], axis) for axis in range(len(node.shape) - 2)]
    return {"weight": (out, channels // node.attributes["groups"], *sizes), "bias": (out,)}


def _kernel_size(node: Node, of_input: Shape, axis: int) -> int | None:
    """Return the kernel's size along an axis; ``None`` if several give the size of the output."""
    stride, dilation = int(node.attributes["stride"][axis]), int(node.attributes["dilation"][axis])
    if min(stride, dilation) < 1:
        raise ValueError  # some of PyTorch's kernels divide by it, which ends the process
    before, after = of_input[axis + 2], node.shape[axis + 2]
    is_free = isinstance(before, str) or isinstance(after, str)
    if is_free or node.attributes["padding"] == "same" or stride > 1:
        return None
    padded = _number(before) + 2 * int(node.attributes["padding"][axis])
    reach = padded - _number(after)  # of the kernel beyond its first element
    return reach // dilation + 1


def _linear(node: Node, inputs: Sequence[Shape]) -> Expected:
    return {"weight": (node.shape[-1], inputs[0][-1]), "bias": (node.shape[-1],)}


def _of_channels(node: Node, _: Sequence[Shape]) -> Expected:
    return dict.fromkeys(("weight", "bias", "scale", "shift"), (node.shape[1],))


def _of_last_axes(node: Node, _: Sequence[Shape]) -> Expected:
    return dict.fromkeys(("weight", "bias"), tuple(node.attributes["normalized_shape"]))


def _constant(node: Node, _: Sequence[Shape]) -> Expected:
    return {"value": node.shape}


def _index(node: Node, _: Sequence[Shape]) -> Expected:
    return {"index": (node.shape[node.attributes["axis"]],)}


def _embedding(node: Node, _: Sequence[Shape]) -> Expected:
    return {"weight": (None, node.shape[-1])}


def _recurrent(gates: int) -> Callable[[Node, Sequence[Shape]], Expected]:
    def expected(node: Node, inputs: Sequence[Shape]) -> Expected:
        directions = 2 if node.attributes["bidirectional"] else 1
        hidden = _number(node.shape[-1]) // directions
        rows = gates * hidden
        shapes: dict[str, Sequence[Size | None]] = {
            "weight_ih": (rows, inputs[0][-1]),
            "weight_hh": (rows, hidden),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        return {f"{role}{suffix}": shape for role, shape in shapes.items() for suffix in ("", "_reverse")}

    return expected


def _number(size: Size) -> int:
    if isinstance(size, str):
        raise TypeError(size)
    return size


EXPECTED: Mapping[str, Callable[[Node, Sequence[Shape]], Expected]] = MappingProxyType(
    {
        "conv1d": _convolution,
        "conv2d": _convolution,
        "linear": _linear,
        "batch_norm": _of_channels,
        "group_norm": _of_channels,
        "layer_norm": _of_last_axes,
        "rms_norm": _of_last_axes,
        "constant": _constant,
        "index_select": _index,
        "embedding": _embedding,
        "lstm": _recurrent(4),
        "gru": _recurrent(3),
    }
)
"""Shapes of the weights of a node, given those of its inputs, by operation."""
