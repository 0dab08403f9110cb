"""Translation of an exported program into a graph."""

import operator
import re
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
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
from app.lrp.graph.graph import BATCH, TOKENS, Shape, Size, evaluated, evaluated_shape, has_symbol
from app.lrp.graph.memory import Memory, is_in_place
from app.lrp.graph.traced import TracedModel
from app.lrp.graph.values import (
    Constant,
    FreeSizes,
    Origin,
    Signal,
    UntranslatableError,
    Value,
)

_FILLS_LIKE = frozenset({"new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like"})
"""Operators that read nothing of their first argument but its shape and type."""
_CHECKS = frozenset(
    {"_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size"}
)
"""Operators without an output."""
_ONE, _TWO, _FEWER = "tensor", "for_two", "for_fewer"
"""Cases of the free sizes that constants are computed in, by the fields of `Constant`."""
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
        self.sizes = FreeSizes(input_of(program).meta["val"].shape)
        self.values: dict[fx.Node, Any] = {}
        self.memory = Memory()
        self.problems: list[str] = []
        self.nodes_of_constants: dict[Hashable, Signal] = {}

    def run(self) -> TracedModel:
        """Translate all nodes and return the network."""
        self.values |= _placeholders(self.program, self.sizes)
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
        if isinstance(output, Signal) and output.op == "log_softmax" and output.attributes["axis"] == 1:
            (output,) = output.inputs  # the same classes' probabilities, and logits that LRP can start from
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
            self.values[node] = self._placeholder_result(node)

    def _translated(self, node: fx.Node) -> Any:
        value = node.meta.get("val")
        if node.target is operator.getitem:
            of, index = node.args[0], node.args[1]
            assert isinstance(of, fx.Node)
            assert isinstance(index, int)
            self.memory.share(node, of)
            return self._item(node, self.values[of], index)
        if isinstance(value, int | float | bool | torch.SymInt | torch.SymBool | torch.SymFloat):
            return self.sizes.size_of(value) if isinstance(value, int | torch.SymInt) else None
        if value is None:
            return self._without_output(node)
        if not isinstance(node.target, OpOverload):
            raise UntranslatableError("there is no operation for it")
        arguments = dict(fx.map_arg(bound(node), lambda of: self.values[of]))
        shapes = tuple(self.sizes.shape_of(tensor.shape) for tensor in _tensors(value))
        if functional_name(node) in _FILLS_LIKE and isinstance(arguments["self"], Signal):
            arguments["self"] = self._unread(arguments["self"])
        if not any(isinstance(leaf, Signal) for leaf in tree_leaves(arguments)):
            return self._evaluated(node, arguments, shapes)
        result = self._call(node, arguments, shapes)
        self.memory.record(node, self.values, result)
        return result

    def _item(self, node: fx.Node, values: list[Value], index: int) -> Value | None:
        if index < len(values):
            return values[index]
        if node.users:
            raise UntranslatableError(f"its output {index} is not supported")
        return None

    def _without_output(self, node: fx.Node) -> None:
        if not isinstance(node.target, OpOverload) or node.target._opname not in _CHECKS:
            raise UntranslatableError("there is no operation for it")

    def _call(
        self, node: fx.Node, arguments: Mapping[str, Any], shapes: tuple[Shape, ...]
    ) -> Value | list[Value]:
        name = functional_name(node)
        if name not in TRANSLATIONS:
            raise UntranslatableError("there is no operation for it")
        constants = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Constant)]
        if not all(constant.has_equal_rows for constant in constants):
            raise UntranslatableError("it reads a constant that is not the same for all rows of a batch")
        if not all(constant.is_beginning for constant in constants):
            raise UntranslatableError(
                "it reads a constant that depends on the number of tokens otherwise than by its length"
            )
        dtype = _tensors(node.meta["val"])[0].dtype
        tokens = self.sizes.tokens
        call = Call(arguments, shapes[0], shapes, dtype, _origin(node), tokens, self.nodes_of_constants)
        return TRANSLATIONS[name](call)

    def _evaluated(
        self, node: fx.Node, arguments: Mapping[str, Any], shapes: Sequence[Shape]
    ) -> Value | list[Value]:
        """Return what a call computes from constants alone."""
        first = next(iter(arguments.values()), None)
        if is_in_place(node) and isinstance(first, Constant) and first.name:
            raise UntranslatableError("it changes a parameter or buffer")
        leaves = [*tree_leaves(arguments), *chain(*shapes)]
        result = self._run(node, arguments, _ONE)
        none: list[Tensor | None] = [None] * len(shapes)
        for_two, for_fewer = (
            [*_tensors(self._run(node, arguments, case))] if any(map(depends, leaves)) else none
            for case, depends in ((_TWO, _depends_on_batch), (_FEWER, _depends_on_tokens))
        )
        constants = [
            Constant(tensor, shape, for_two=two, for_fewer=fewer)
            for tensor, shape, two, fewer in zip(_tensors(result), shapes, for_two, for_fewer, strict=True)
        ]
        return constants[0] if isinstance(result, Tensor) else list(constants)

    def _run(self, node: fx.Node, arguments: Mapping[str, Any], case: str) -> Any:
        """Return what a call computes in one case of the free sizes."""
        values = [
            (argument.kwarg_only, argument.name, self._concrete(arguments[argument.name], case))
            for argument in overload(node)._schema.arguments
        ]
        positional = [value for keyword_only, _, value in values if not keyword_only]
        keywords = {name: value for keyword_only, name, value in values if keyword_only}
        with torch.no_grad():
            try:
                return overload(node)(*positional, **keywords)
            except (RuntimeError, IndexError) as error:
                reason = " ".join(str(error).split())
                raise UntranslatableError(f"it cannot be computed for other sizes ({reason})") from error

    def _concrete(self, argument: Any, case: str) -> Any:
        """Return an argument with tensors in place of constants, and sizes in numbers."""

        def concrete(leaf: Any) -> Any:
            if isinstance(leaf, Constant):
                value: Tensor | None = getattr(leaf, case)
                return leaf.tensor if value is None else value
            is_size = has_symbol(leaf, BATCH) or has_symbol(leaf, TOKENS)
            return evaluated(leaf, self._sizes_in(case)) if is_size else leaf

        return tree_map(concrete, argument)

    def _unread(self, signal: Signal) -> Constant:
        """Return a tensor of the shape and type of a signal."""
        one, two, fewer = (
            torch.empty(evaluated_shape(signal.shape, self._sizes_in(case)), dtype=signal.dtype)
            for case in (_ONE, _TWO, _FEWER)
        )
        return Constant(one, signal.shape, for_two=two, for_fewer=fewer)

    def _sizes_in(self, case: str) -> Mapping[str, int]:
        tokens = self.sizes.tokens
        return {BATCH: 2 if case == _TWO else 1, TOKENS: (tokens + 1) // 2 if case == _FEWER else tokens}

    def _placeholder_result(self, node: fx.Node) -> Any:
        """Return signals in place of the outputs of an unsupported operation, to find all others too."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor | tuple | list):
            return None
        read = (self.values[of] for of in node.all_input_nodes)
        inputs = tuple(of for of in read if isinstance(of, Signal))
        signals = []
        for tensor in _tensors(value):
            shape = tuple(map(self._size_or_batch, tensor.shape))
            signals.append(Signal("unsupported", inputs, shape, tensor.dtype, _origin(node)))
        return signals[0] if isinstance(value, Tensor) else signals

    def _size_or_batch(self, size: int | torch.SymInt) -> Size:
        try:
            return self.sizes.size_of(size)
        except UntranslatableError:
            return BATCH


def input_of(program: ExportedProgram) -> fx.Node:
    """Return the placeholder of the network's input; raises `UnsupportedNetworkError` if there are several."""
    names = program.graph_signature.user_inputs
    inputs: list[fx.Node] = [
        node for node in program.graph.nodes if node.op == "placeholder" and node.name in names
    ]
    if len(inputs) != 1 or not isinstance(inputs[0].meta["val"], Tensor):
        raise UnsupportedNetworkError(
            f"the network has {len(names)} inputs; it must have one, a tensor (B, …)"
        )
    return inputs[0]


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


def _placeholders(program: ExportedProgram, sizes: FreeSizes) -> dict[fx.Node, Value]:
    """Return what the inputs of a program are: parameters and other constants, and the network's input."""
    tensors = {**program.constants, **program.state_dict}
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values: dict[fx.Node, Value] = {}
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            fake = node.meta["val"]
            values[node] = Signal("", (), sizes.shape_of(fake.shape), fake.dtype, Origin())
        elif isinstance(spec.target, str) and isinstance(tensors.get(spec.target), Tensor):
            tensor = tensors[spec.target].detach()
            name = "" if spec.kind is InputKind.CONSTANT_TENSOR else spec.target
            values[node] = Constant(tensor, tuple(tensor.shape), name)
    return values


def _depends_on_batch(leaf: Any) -> bool:
    if isinstance(leaf, Constant):
        return leaf.for_two is not None
    return has_symbol(leaf, BATCH)


def _depends_on_tokens(leaf: Any) -> bool:
    if isinstance(leaf, Constant):
        return leaf.for_fewer is not None
    return has_symbol(leaf, TOKENS)


def _tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else [leaf for leaf in value if isinstance(leaf, Tensor)]


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
