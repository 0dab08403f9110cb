"""The graph of a network: named operations with attributes, shapes and the names of their weights. Pure data.

Operations and attributes have the names of PyTorch's operators wherever there is one. See `OPERATIONS` for all.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from app.errors import GraphError

INPUT = "input"
"""Name of the network's input, which is no node."""
BATCH = "B"
"""Symbol of the batch size."""
TOKENS = "T"
"""Symbol of the number of tokens, where the network's input is tokens: their numbers, (B, T)."""
FORMAT = 1
"""Version of the JSON form."""

Size = int | str
"""A size: a number, or a product of numbers and symbols such as ``"B"`` or ``"64*B"``."""
Shape = tuple[Size, ...]
"""Of a tensor, with its batch axis."""

MAX_NODES = 10_000
"""Ten times what the largest networks of torchvision have; compilation takes minutes beyond."""

_SIZE = re.compile(r"(\d+|[A-Z])(\*(\d+|[A-Z]))*")

OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        "conv1d": "Convolution. Weights: weight, bias. stride, padding, dilation (lists), groups.",
        "conv2d": "Convolution. Weights: weight, bias. stride, padding, dilation (lists), groups.",
        "linear": "Dense layer on the last axis. Weights: weight (out, in), bias.",
        "batch_norm": "x · scale + shift for each channel of axis 1. Weights: scale, shift.",
        "layer_norm": "Over the last axes. Weights: weight, bias. normalized_shape, eps.",
        "group_norm": "Weights: weight, bias. num_groups, eps.",
        "rms_norm": "Over the last axes. Weights: weight. normalized_shape, eps.",
        "relu": "",
        "relu6": "",
        "leaky_relu": "negative_slope.",
        "elu": "alpha.",
        "gelu": "approximate: none or tanh.",
        "silu": "",
        "mish": "",
        "softplus": "",
        "sigmoid": "",
        "hardsigmoid": "",
        "hardswish": "",
        "tanh": "",
        "exp": "",
        "abs": "",
        "clamp": "min, max (numbers or null).",
        "pow": "exponent (a number).",
        "vector_norm": "The norm of order ord over axes. ord, axes, keepdim.",
        "softmax": "axis.",
        **dict.fromkeys(
            ("ge", "gt", "le", "lt", "eq", "ne"),
            "Two inputs, broadcast: 1 where it holds, else 0, as numbers.",
        ),
        "where": "Three inputs, broadcast: the second where the first is not 0, else the third.",
        "maximum": "Two inputs, broadcast.",
        "minimum": "Two inputs, broadcast.",
        "prelu": "Weights: weight, of each channel of axis 1 or one.",
        "cumsum": "axis.",
        "add": "Two inputs, broadcast.",
        "sub": "Two inputs, broadcast: the first minus the second.",
        "mul": "Two inputs, broadcast. gate: index of the input that is a gate, if one is.",
        "div": "Two inputs, broadcast: the first divided by the second.",
        "matmul": "Two inputs. attention: true if the first one is the output of a softmax.",
        "max_pool1d": "kernel_size, stride, padding, dilation (lists), ceil_mode.",
        "max_pool2d": "kernel_size, stride, padding, dilation (lists), ceil_mode.",
        "avg_pool1d": "kernel_size, stride, padding (lists), ceil_mode, count_include_pad.",
        "avg_pool2d": "kernel_size, stride, padding (lists), ceil_mode, count_include_pad, divisor_override.",
        "adaptive_avg_pool1d": "output_size (list).",
        "adaptive_avg_pool2d": "output_size (list).",
        "adaptive_max_pool2d": "output_size (list).",
        "upsample": "size or scale_factor (lists), the other null; mode: nearest, nearest-exact or bilinear; "
        "align_corners (null unless bilinear).",
        "mean": "axes, keepdim.",
        "sum": "axes, keepdim.",
        "amax": "axis, keepdim.",
        "reshape": "shape, of sizes.",
        "permute": "axes.",
        "expand": "shape, of sizes.",
        "slice": "axis, start, stop, step.",
        "select": "axis, index.",
        "index_select": "axis. Weights: index.",
        "gather": "Two inputs: values, and indices along an axis, which are broadcast along the others. axis.",
        "cat": "Any number of inputs. axis.",
        "pad": "pad (as `torch.nn.functional.pad` takes it), mode, value.",
        "roll": "shifts, axes.",
        "dropout": "p. channels: true if whole channels of axis 1 are dropped.",
        "identity": "",
        "constant": "No input. Weights: value.",
        "embedding": "Weights: weight (words, dimensions).",
        **dict.fromkeys(
            ("lstm", "gru"),
            "One layer. A second input, the mask (B, T), is 1 for the steps of a row and 0 behind its end, where "
            "the output stays as it is at the end. Weights: weight_ih, weight_hh, bias_ih, bias_hh; for the "
            "other direction the same with _reverse. bidirectional, batch_first.",
        ),
    }
)
"""Operations that a graph may have: their inputs (one unless stated), weights and attributes."""
COMPARISONS = frozenset({"ge", "gt", "le", "lt", "eq", "ne"})
"""Operations whose outputs carry no relevance: what is computed from them alone, such as a mask, is constant."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. Its name is that of the layer in requests and answers."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """Names of nodes before it, or `INPUT`."""
    shape: Shape
    """Of its output."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """JSON values."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Names of tensors by their role."""
    module: str = ""
    """Dotted name of the module that it comes from."""
    kind: str = ""
    """Class of that module, such as ``Conv2d``."""
    description: str = ""
    """For people: the ``repr`` of that module."""

    def with_inputs(self, renamed: Mapping[str, str]) -> "Node":
        """Return the node with other names of its inputs, where ``renamed`` has them."""
        return replace(self, inputs=tuple(renamed.get(name, name) for name in self.inputs))


@dataclass(frozen=True, eq=False)
class Graph:
    """A network as nodes in an order in which they can run; the last one is the output, logits (B, C)."""

    input_shape: Shape
    nodes: tuple[Node, ...]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @property
    def output(self) -> Node:
        """The node of the logits."""
        return self.nodes[-1]

    @property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def users(self) -> dict[str, tuple[Node, ...]]:
        """Nodes that read a value, by the value's name, in order."""
        users: dict[str, tuple[Node, ...]] = {INPUT: (), **{node.name: () for node in self.nodes}}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users[name] += (node,)
        return users

    @property
    def is_of_tokens(self) -> bool:
        """Whether the input is numbers of tokens, (B, T), of which the negative ones are padding on the right."""
        return self.input_shape == (BATCH, TOKENS)

    @property
    def relevant(self) -> frozenset[str]:
        """Values that carry relevance: those that depend on the input otherwise than by comparisons of it."""
        found = {INPUT}
        for node in self.nodes:
            if node.op not in COMPARISONS and not found.isdisjoint(node.inputs):
                found.add(node.name)
        return frozenset(found)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Names of all tensors that the graph reads, each once."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.weights.values()))

    def shape_of(self, name: str) -> Shape:
        """Return the shape of a value."""
        return self.input_shape if name == INPUT else self.by_name[name].shape


def evaluated(size: Size, symbols: Mapping[str, int]) -> int:
    """Return a size as a number."""
    if isinstance(size, int):
        return size
    return math.prod(int(part) if part.isdigit() else symbols[part] for part in size.split("*"))


def evaluated_shape(shape: Shape, symbols: Mapping[str, int]) -> tuple[int, ...]:
    """Return a shape in numbers."""
    return tuple(evaluated(size, symbols) for size in shape)


def product(sizes: Iterable[Size]) -> Size:
    """Return the size of an axis that holds several."""
    parts = [part for size in sizes for part in str(size).split("*")]
    factor = math.prod(int(part) for part in parts if part.isdigit())
    symbols = sorted(part for part in parts if not part.isdigit())
    if not symbols or factor == 0:
        return factor
    return "*".join([str(factor), *symbols] if factor > 1 else symbols)


def has_symbol(size: Any, symbol: str) -> bool:
    """Return whether a symbol is part of a size; false for anything that is no size."""
    return isinstance(size, str) and _SIZE.fullmatch(size) is not None and symbol in size.split("*")


def to_json(graph: Graph) -> str:
    """Return the JSON form of ``graph``, which `from_json` reads."""
    nodes = [
        {
            key: value
            if isinstance(value, str)
            else dict(value)
            if isinstance(value, Mapping)
            else list(value)
            for key, value in vars(node).items()
            if value or key in ("inputs", "shape")
        }
        for node in graph.nodes
    ]
    lines = ",\n  ".join(json.dumps(node, ensure_ascii=False) for node in nodes)
    head = json.dumps({"format": FORMAT, "input_shape": list(graph.input_shape)})[1:-1]
    return f'{{{head}, "nodes": [\n  {lines}\n]}}\n'


def from_json(text: str) -> Graph:
    """Return the graph of a JSON form; raises `GraphError` that says what is wrong with it."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise GraphError(f"format {data['format']!r}; this version reads {FORMAT}")
        nodes = tuple(_node(item) for item in data["nodes"])
        graph = Graph(_shape(data["input_shape"]), nodes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GraphError(f"not a graph: {type(error).__name__} {error}") from None
    check(graph)
    return graph


def check(graph: Graph) -> None:
    """Raise `GraphError` unless names are unique, inputs come before their users and operations are known."""
    known = {INPUT}
    if not graph.nodes:
        raise GraphError("the graph has no nodes")
    if len(graph.nodes) > MAX_NODES:
        raise GraphError(f"the graph has {len(graph.nodes)} nodes; there may be {MAX_NODES}")
    for node in graph.nodes:
        if node.op not in OPERATIONS:
            raise GraphError(f"node {node.name!r}: there is no operation {node.op!r}")
        if node.name in known:
            raise GraphError(f"two nodes have the name {node.name!r}")
        missing = [name for name in node.inputs if name not in known]
        if missing:
            raise GraphError(f"node {node.name!r} reads {missing[0]!r}, which is not before it")
        known.add(node.name)


def _node(item: Mapping[str, Any]) -> Node:
    texts = {key: str(item.get(key, "")) for key in ("module", "kind", "description")}
    return Node(
        str(item["name"]),
        str(item["op"]),
        tuple(map(str, item["inputs"])),
        _shape(item["shape"]),
        dict(item.get("attributes", {})),
        {str(role): str(name) for role, name in dict(item.get("weights", {})).items()},
        **texts,
    )


def _shape(sizes: Any) -> Shape:
    for size in sizes:
        is_number = isinstance(size, int) and not isinstance(size, bool) and size >= 0
        if not is_number and not (isinstance(size, str) and _SIZE.fullmatch(size)):
            raise ValueError(f"size {size!r}")
    return tuple(sizes)
