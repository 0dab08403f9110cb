"""Translation of an exported program into a graph."""

import operator
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves, tree_map

from app.errors import UnsupportedNetworkError
from app.lrp.graph.assemble import assembled
from app.lrp.graph.aten.call import Call
from app.lrp.graph.aten.table import TRANSLATIONS
from app.lrp.graph.graph import BATCH, Shape
from app.lrp.graph.memory import Memory, is_in_place
from app.lrp.graph.traced import TracedModel
from app.lrp.graph.values import (
    Constant,
    Origin,
    Signal,
    UntranslatableError,
    Value,
    for_batch,
    is_size,
    shape_of,
    size_of,
)

_FILLS_LIKE = frozenset({"new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like"})
"""Operators that read nothing of their first argument but its shape and type."""
_CHECKS = frozenset(
    {"_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size"}
)
"""Operators without an output."""
_FRAME = re.compile(r'File "(.+)", line (\d+)')


def translated(program: ExportedProgram) -> TracedModel:
    """Return the graph of a program with one input, whose first axis is the batch.

    Raises `UnsupportedNetworkError` with all operations that are not supported.
    """
    return _Translator(program).run()


class _Translator:
    """Translates one program; `values` has what its nodes became."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.values: dict[fx.Node, Any] = {}
        self.memory = Memory()
        self.problems: list[str] = []
        self.nodes_of_constants: dict[tuple[int, Shape], Signal] = {}

    def run(self) -> TracedModel:
        """Translate all nodes and return the network."""
        self.values |= _placeholders(self.program)
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                self._node(node)
        if self.problems:
            problems = "".join(f"\n- {problem}" for problem in dict.fromkeys(self.problems))
            raise UnsupportedNetworkError(f"the network has operations that are not supported:{problems}")
        return assembled(self._output())

    def _output(self) -> Signal:
        (outputs,) = self.program.graph.output_node().args
        if not isinstance(outputs, tuple) or len(outputs) != 1:
            raise UnsupportedNetworkError("the network must return one tensor, logits (B, C)")
        output = self.values[outputs[0]] if isinstance(outputs[0], fx.Node) else None
        if not isinstance(output, Signal) or not output.op:
            raise UnsupportedNetworkError("what the network returns does not depend on its input")
        if len(output.shape) != 2 or output.shape[0] != BATCH or not isinstance(output.shape[1], int):
            raise UnsupportedNetworkError(
                f"the network must return logits of shape (B, C), but returns {list(output.shape)}; "
                "wrap it in a module that does"
            )
        return output

    def _node(self, node: fx.Node) -> None:
        try:
            self.values[node] = self._translated(node)
        except UntranslatableError as problem:
            self.problems.append(f"{_operator(node)}: {problem}{_place(node)}")
            self.values[node] = _placeholder_result(node)

    def _translated(self, node: fx.Node) -> Any:
        value = node.meta.get("val")
        if node.target is operator.getitem:
            of, index = node.args[0], node.args[1]
            assert isinstance(of, fx.Node)
            assert isinstance(index, int)
            self.memory.share(node, of)
            return self._item(node, self.values[of], index)
        if isinstance(value, int | float | bool | torch.SymInt | torch.SymBool | torch.SymFloat):
            return size_of(value) if isinstance(value, int | torch.SymInt) else None
        if value is None:
            return self._without_output(node)
        if not isinstance(node.target, OpOverload):
            raise UntranslatableError("there is no operation for it")
        arguments = dict(fx.map_arg(bound(node), lambda of: self.values[of]))
        if functional_name(node) in _FILLS_LIKE and isinstance(arguments["self"], Signal):
            arguments["self"] = _unread(arguments["self"])
        if not any(isinstance(leaf, Signal) for leaf in tree_leaves(arguments)):
            return _evaluated(node, arguments)
        result = self._call(node, arguments)
        self.memory.record(node, self.values, result)
        return result

    def _item(self, node: fx.Node, values: list[Value], index: int) -> Value | None:
        if index < len(values):
            return values[index]
        if node.users:
            raise UntranslatableError("only its first output is supported")
        return None

    def _without_output(self, node: fx.Node) -> None:
        if not isinstance(node.target, OpOverload) or node.target._opname not in _CHECKS:
            raise UntranslatableError("there is no operation for it")

    def _call(self, node: fx.Node, arguments: Mapping[str, Any]) -> Value | list[Value]:
        name = functional_name(node)
        if name not in TRANSLATIONS:
            raise UntranslatableError("there is no operation for it")
        constants = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Constant)]
        if not all(constant.has_equal_rows for constant in constants):
            raise UntranslatableError("it reads a constant that is not the same for all rows of a batch")
        outputs = _tensors(node.meta["val"])
        shapes = tuple(shape_of(tensor.shape) for tensor in outputs)
        call = Call(arguments, shapes[0], shapes, outputs[0].dtype, _origin(node), self.nodes_of_constants)
        return TRANSLATIONS[name](call)


def bound(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by their names in the operator's schema, defaults included."""
    schema = overload(node)._schema.arguments
    given = dict(zip((argument.name for argument in schema), node.args, strict=False)) | node.kwargs
    return {argument.name: given.get(argument.name, argument.default_value) for argument in schema}


def overload(node: fx.Node) -> OpOverload[..., Any]:
    """Return the operator of a node that calls one of PyTorch's."""
    assert isinstance(node.target, OpOverload)
    return node.target


def functional_name(node: fx.Node) -> str:
    """Return the name of a node's operator, without the underscore of a variant in place."""
    name: str = overload(node)._opname
    return name.removesuffix("_") if is_in_place(node) else name


def _placeholders(program: ExportedProgram) -> dict[fx.Node, Value]:
    """Return what the inputs of a program are: parameters and other constants, and the network's input."""
    tensors = {**program.constants, **program.state_dict}
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values: dict[fx.Node, Value] = {}
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            fake = node.meta["val"]
            values[node] = Signal("", (), shape_of(fake.shape), fake.dtype, Origin())
        elif isinstance(spec.target, str) and isinstance(tensors.get(spec.target), Tensor):
            tensor = tensors[spec.target].detach()
            name = "" if spec.kind is InputKind.CONSTANT_TENSOR else spec.target
            values[node] = Constant(tensor, tuple(tensor.shape), name)
    return values


def _evaluated(node: fx.Node, arguments: Mapping[str, Any]) -> Value | list[Value]:
    """Return what a call computes from constants alone."""
    first = next(iter(arguments.values()), None)
    if is_in_place(node) and isinstance(first, Constant) and first.name:
        raise UntranslatableError("it changes a parameter or buffer")
    shapes = [shape_of(tensor.shape) for tensor in _tensors(node.meta["val"])]
    leaves = [*tree_leaves(arguments), *(size for shape in shapes for size in shape)]
    result = _run(node, arguments, 1)
    for_two: list[Tensor | None] = [None] * len(shapes)
    if any(map(_depends_on_batch, leaves)):
        for_two = [*_tensors(_run(node, arguments, 2))]
    constants = [
        Constant(tensor, shape, for_two=other)
        for tensor, shape, other in zip(_tensors(result), shapes, for_two, strict=True)
    ]
    return constants[0] if isinstance(result, Tensor) else list(constants)


def _run(node: fx.Node, arguments: Mapping[str, Any], batch_size: int) -> Any:
    """Return what a call computes for a batch size."""
    schema = overload(node)._schema.arguments
    values = [
        (argument.kwarg_only, argument.name, _concrete(arguments[argument.name], batch_size))
        for argument in schema
    ]
    positional = [value for keyword_only, _, value in values if not keyword_only]
    keywords = {name: value for keyword_only, name, value in values if keyword_only}
    with torch.no_grad():
        return overload(node)(*positional, **keywords)


def _depends_on_batch(leaf: Any) -> bool:
    if isinstance(leaf, Constant):
        return leaf.for_two is not None
    return isinstance(leaf, str) and is_size(leaf)


def _unread(signal: Signal) -> Constant:
    """Return a tensor of the shape and type of a signal."""
    one, two = (torch.empty(for_batch(signal.shape, size), dtype=signal.dtype) for size in (1, 2))
    return Constant(one, signal.shape, for_two=two)


def _concrete(argument: Any, batch_size: int) -> Any:
    """Return an argument with tensors in place of constants, and sizes in numbers."""

    def concrete(leaf: Any) -> Any:
        if isinstance(leaf, Constant):
            return leaf.tensor if batch_size == 1 or leaf.for_two is None else leaf.for_two
        return for_batch((leaf,), batch_size)[0] if isinstance(leaf, str) and is_size(leaf) else leaf

    return tree_map(concrete, argument)


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [leaf for leaf in value if isinstance(leaf, Tensor)]


def _placeholder_result(node: fx.Node) -> Any:
    """Return signals in place of the outputs of an operation that is not supported, to find all others too."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor | tuple | list):
        return None
    signals = []
    for tensor in _tensors(value):
        shape = tuple(_size_or_batch(size) for size in tensor.shape)
        signals.append(Signal("unsupported", (), shape, tensor.dtype, _origin(node)))
    return signals[0] if isinstance(value, Tensor) else signals


def _size_or_batch(size: int | torch.SymInt) -> int | str:
    try:
        return size_of(size)
    except UntranslatableError:
        return BATCH


def _origin(node: fx.Node) -> Origin:
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return Origin()
    call, (module, kind) = list(stack.items())[-1]
    name = module.split("@")[0]
    kind = kind if isinstance(kind, str) else kind.__name__
    return Origin(name, kind.rsplit(".", 1)[-1], call)


def _operator(node: fx.Node) -> str:
    return str(node.target) if isinstance(node.target, OpOverload) else getattr(node.target, "__name__", "?")


def _place(node: fx.Node) -> str:
    """Return where a node comes from: its module, and the line that torch.export recorded."""
    origin = _origin(node)
    module = f" in {origin.module} ({origin.kind})" if origin.module else ""
    lines = [line.strip() for line in (node.meta.get("stack_trace") or "").strip().splitlines()]
    frames = [index for index, line in enumerate(lines) if line.startswith("File ")]
    if not frames:
        return module
    frame = _FRAME.match(lines[frames[-1]])
    text = " ".join(lines[frames[-1] + 1 :])
    return f"{module}, {frame[1]}:{frame[2]}: {text}" if frame else module
