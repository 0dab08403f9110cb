"""Operations that have no choice of rules, against Jacobians of their definitions written out, in float64."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Operation, OperationContext, Redistribution, Sign
from app.lrp.engine.operations import OPERATIONS
from app.lrp.engine.ops.division import divided
from app.lrp.engine.wiring import WEIGHTED
from app.lrp.graph.graph import OPERATIONS as GRAPH_OPERATIONS
from app.lrp.graph.graph import Node
from app.lrp.rules import AssignedRule

EPSILON = 1e-6
N = 3  # rows
F64 = torch.float64

Inputs = tuple[Tensor, ...]
Forward = Callable[..., Tensor]
"""An operation as its definition has it."""
Oracle = Callable[[Forward, Inputs, Tensor, int], Tensor]
"""An operation, its inputs, relevance of its output, index of an input -> relevance of that input."""


def adjoint(f: Forward, x: Inputs, R: Tensor, i: int) -> Tensor:
    """Jᵀ R, where J is the Jacobian, by automatic differentiation."""
    value = x[i].clone().requires_grad_()
    (product,) = torch.autograd.grad(f(*x[:i], value, *x[i + 1 :]), value, R)
    return product


def proportional(f: Forward, x: Inputs, R: Tensor, i: int, shares: int = 1) -> Tensor:
    """x · Jᵀ (R / s(z)), for z = shares · f(x)."""
    z = shares * f(*x)
    return x[i] * adjoint(f, x, R / torch.where(z < 0, z - EPSILON, z + EPSILON), i)


def half_proportional(f: Forward, x: Inputs, R: Tensor, i: int) -> Tensor:
    return proportional(f, x, R, i, shares=2)


def softmax_relevance(f: Forward, x: Inputs, R: Tensor, i: int) -> Tensor:
    return x[i] * adjoint(f, x, R / f(*x), i)


def passed(f: Forward, x: Inputs, R: Tensor, i: int) -> Tensor:
    """R, summed where the input is repeated."""
    return adjoint(lambda value: value.expand_as(f(*x)), (x[i],), R, 0)


def half_passed(f: Forward, x: Inputs, R: Tensor, i: int) -> Tensor:
    return passed(f, x, R / 2, i)


@dataclass(frozen=True)
class ValuesOf:
    """What the engine hands to `Operation.relevance`: no values that it does not say it reads."""

    operation: Operation
    given: Inputs
    output: Tensor
    kept: Tensor | None
    shapes: tuple[torch.Size, ...]

    @property
    def inputs(self) -> Inputs:
        assert self.operation.reads_inputs
        return self.given

    @property
    def z(self) -> Tensor:
        assert self.operation.reads_output
        return self.output

    @property
    def extra(self) -> Tensor:
        assert self.kept is not None
        return self.kept

    def input_shape(self, index: int) -> torch.Size:
        return self.shapes[index]


@dataclass(frozen=True)
class Case:
    """One node, and what it should compute."""

    op: str
    shapes: tuple[tuple[int, ...], ...]
    definition: Forward
    oracle: Oracle
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    receivers: tuple[int, ...] = (0,)
    """Inputs that get relevance."""
    constants: tuple[int, ...] = ()
    """Inputs that do not depend on the network's."""
    clamped: tuple[int, ...] = ()
    """Inputs that have zeros and no negative values."""
    rule: str = "pass"
    row_axes: tuple[int, ...] | None = None
    """Batch axis of each input, and of the output; none if all are 0."""

    def __str__(self) -> str:
        details = [f"{name}={value}" for name, value in self.attributes.items()]
        return " ".join([self.op, *map(str, self.shapes), *details, self.rule, *map(str, self.constants)])

    @property
    def operation(self) -> Operation:
        needed = tuple(index not in self.constants for index in range(len(self.shapes)))
        node = Node("node", self.op, tuple("abc"[: len(self.shapes)]), (), self.attributes)
        return OPERATIONS[self.op](OperationContext(node, self.weights, AssignedRule(self.rule), needed, F64))

    def inputs(self) -> Inputs:
        drawn_inputs = (drawn(*shape, seed=seed) for seed, shape in enumerate(self.shapes))
        return tuple(x.clamp(min=0) if index in self.clamped else x for index, x in enumerate(drawn_inputs))

    def relevance(
        self, inputs: Inputs, R: Tensor, shapes: tuple[torch.Size, ...]
    ) -> tuple[Tensor | None, ...]:
        return self.redistributed(inputs, R, shapes).inputs

    def redistributed(self, inputs: Inputs, R: Tensor, shapes: tuple[torch.Size, ...]) -> Redistribution:
        operation = self.operation
        z, extra = operation.forward(*inputs)
        return operation.relevance(R, ValuesOf(operation, inputs, z, extra, shapes))


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def shapes_of(inputs: Inputs) -> tuple[torch.Size, ...]:
    return tuple(x.shape for x in inputs)


def pointwise_case(op: str, definition: Forward, **attributes: Any) -> Case:
    return Case(op, ((N, 4, 5),), definition, passed, attributes)


def moved(op: str, of: tuple[int, ...], definition: Forward, **attributes: Any) -> Case:
    return Case(op, (of,), definition, adjoint, attributes)


def centred(x: Tensor, *axes: int) -> Tensor:
    """Divide by the deviation, which is a constant for Jacobians (Ali et al. 2022)."""
    x = x - x.mean(axes, keepdim=True)
    return x / (x.square().mean(axes, keepdim=True) + 1e-5).sqrt().detach()


def softmax(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(2, keepdim=True)


GAIN = {"weight": drawn(5, seed=8), "bias": drawn(5, seed=9)}
GAIN_OF_CHANNELS = {"weight": drawn(4, 1, seed=8), "bias": drawn(4, 1, seed=9)}
SCALE = {"scale": drawn(4, seed=8), "shift": drawn(4, seed=9)}
INDEX = torch.tensor([2, 0, 2, 3])
IMAGE, ROW, TOKENS = (N, 4, 2, 3), (N, 4, 1, 1), (N, 4, 5)
WEIGHTS, MATRIX = (N, 2, 3, 4), (N, 2, 4, 5)

POINTWISE = (
    pointwise_case("relu", lambda x: x * (x > 0)),
    pointwise_case("relu6", lambda x: x.clamp(0, 6)),
    pointwise_case("leaky_relu", lambda x: torch.where(x > 0, x, 0.1 * x), negative_slope=0.1),
    pointwise_case("elu", lambda x: torch.where(x > 0, x, 0.7 * (x.exp() - 1)), alpha=0.7),
    pointwise_case("gelu", lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2, approximate="none"),
    pointwise_case(
        "gelu",
        lambda x: x / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
        approximate="tanh",
    ),
    pointwise_case("silu", lambda x: x / (1 + (-x).exp())),
    pointwise_case("mish", lambda x: x * torch.tanh(torch.log1p(x.exp()))),
    Case(
        "prelu",
        ((N, 4, 5),),
        lambda x: torch.where(x > 0, x, 0.3 * x),
        passed,
        weights={"weight": torch.full((1,), 0.3, dtype=torch.double)},
    ),
    pointwise_case("softplus", lambda x: torch.log1p(x.exp())),
    pointwise_case("sigmoid", lambda x: 1 / (1 + (-x).exp())),
    pointwise_case("hardsigmoid", lambda x: (x + 3).clamp(0, 6) / 6),
    pointwise_case("hardswish", lambda x: x * (x + 3).clamp(0, 6) / 6),
    pointwise_case("tanh", lambda x: 1 - 2 / ((2 * x).exp() + 1)),
    pointwise_case("exp", lambda x: torch.e**x),
    pointwise_case("abs", lambda x: torch.where(x < 0, -x, x)),
    pointwise_case("clamp", lambda x: x.where(x > -0.5, -0.5).where(x < 0.3, 0.3), min=-0.5, max=0.3),
    pointwise_case("clamp", lambda x: x.where(x > 0.1, 0.1), min=0.1, max=None),
    pointwise_case("pow", lambda x: x * x, exponent=2),
)
CENTRING: tuple[tuple[str, Forward, dict[str, Any], Mapping[str, Tensor]], ...] = (
    (
        "layer_norm",
        lambda x: centred(x, 2) * GAIN["weight"] + GAIN["bias"],
        {"normalized_shape": [5], "eps": 1e-5},
        GAIN,
    ),
    ("layer_norm", lambda x: centred(x, 1, 2), {"normalized_shape": [4, 5], "eps": 1e-5}, {}),
    (
        "group_norm",
        lambda x: (
            centred(x.reshape(-1, 2, 10), 2).view_as(x) * GAIN_OF_CHANNELS["weight"]
            + GAIN_OF_CHANNELS["bias"]
        ),
        {"num_groups": 2, "eps": 1e-5},
        {role: weight.flatten() for role, weight in GAIN_OF_CHANNELS.items()},
    ),
    ("group_norm", lambda x: centred(x.reshape(-1, 4, 5), 2), {"num_groups": 4, "eps": 1e-5}, {}),
)
NORMS = (
    *(
        Case(op, (TOKENS,), definition, oracle, attributes, weights, rule=rule)
        for op, definition, attributes, weights in CENTRING
        for rule, oracle in (("cp", proportional), ("attnlrp", passed))
    ),
    Case(
        "rms_norm",
        (TOKENS,),
        lambda x: x / (x.square().mean(2, keepdim=True) + 1e-5).sqrt() * GAIN["weight"],
        passed,
        {"normalized_shape": [5], "eps": 1e-5},
        {"weight": GAIN["weight"]},
    ),
    Case(
        "batch_norm",
        (IMAGE,),
        lambda x: x * SCALE["scale"].view(4, 1, 1) + SCALE["shift"].view(4, 1, 1),
        proportional,
        weights=SCALE,
    ),
    Case("batch_norm", ((N, 4),), lambda x: x * SCALE["scale"] + SCALE["shift"], proportional, weights=SCALE),
)
ARITHMETIC = (
    Case("add", (TOKENS, TOKENS), lambda a, b: a + b, proportional, receivers=(0, 1)),
    Case("add", (IMAGE, ROW), lambda a, b: a + b, proportional, receivers=(0, 1)),
    Case("add", (TOKENS, (1, 4, 5)), lambda a, b: a + b, proportional, constants=(1,)),
    Case("sub", (TOKENS, TOKENS), lambda a, b: a - b, proportional, receivers=(0, 1)),
    Case("sub", (ROW, IMAGE), lambda a, b: a - b, proportional, receivers=(0, 1)),
    Case("sub", ((), TOKENS), lambda a, b: a - b, proportional, receivers=(1,), constants=(0,)),
    Case("mul", (TOKENS, TOKENS), lambda a, b: a * b, half_passed, receivers=(0, 1)),
    Case("mul", (ROW, IMAGE), lambda a, b: a * b, half_passed, receivers=(0, 1)),
    Case("mul", (ROW, IMAGE), lambda a, b: a * b, passed, {"gate": 0}, receivers=(1,)),
    Case("mul", (IMAGE, ROW), lambda a, b: a * b, passed, {"gate": 1}),
    Case("mul", (IMAGE, ROW), lambda a, b: a * b, passed, {"gate": 0}, receivers=(1,)),
    Case("mul", (IMAGE, (4, 1, 1)), lambda a, b: a * b, passed, constants=(1,)),
    Case("mul", ((4, 1, 1), ROW), lambda a, b: a * b, passed, receivers=(1,), constants=(0,)),
    Case("div", (TOKENS, TOKENS), lambda a, b: a / b, passed),
    Case("div", (ROW, IMAGE), lambda a, b: a / b, passed),
    Case("div", (TOKENS, ()), lambda a, b: a / b, passed, constants=(1,)),
    Case("div", ((), TOKENS), lambda a, b: a / b, passed, receivers=(), constants=(0,)),
    Case("maximum", (IMAGE, ROW), torch.maximum, adjoint, receivers=(0, 1)),
    Case("minimum", (ROW, IMAGE), torch.minimum, adjoint, receivers=(0, 1)),
    Case("minimum", (TOKENS, (4, 5)), torch.minimum, adjoint, constants=(1,)),
)
CHOICES = (
    *(
        Case(
            "where",
            (ROW, IMAGE, IMAGE),
            lambda c, a, b: torch.where(c != 0, a, b),
            adjoint,
            receivers=receivers,
            constants=tuple({0, 1, 2} - {*receivers}),
            clamped=(0,),
        )
        for receivers in ((1, 2), (1,), (2,))
    ),
    Case(
        "where",
        ((4, 5), TOKENS, ()),
        lambda c, a, b: torch.where(c != 0, a, b),
        adjoint,
        receivers=(1,),
        constants=(0, 2),
        clamped=(0,),
    ),
    *(
        Case(
            op, (TOKENS, TOKENS), lambda a, b, op=op: getattr(torch, op)(a, b).double(), adjoint, receivers=()
        )
        for op in ("ge", "gt", "le", "lt", "eq", "ne")
    ),
    Case("cumsum", (TOKENS,), lambda x: x.cumsum(1), adjoint, {"axis": 1}, receivers=(), constants=(0,)),
)
PRODUCTS_OF_MATRICES = (
    Case("matmul", (WEIGHTS, MATRIX), torch.matmul, half_proportional, receivers=(0, 1), rule="cp"),
    Case(
        "matmul",
        (WEIGHTS, MATRIX),
        torch.matmul,
        half_proportional,
        {"attention": True},
        receivers=(0, 1),
        rule="attnlrp",
    ),
    Case(
        "matmul",
        (WEIGHTS, MATRIX),
        torch.matmul,
        proportional,
        {"attention": True},
        receivers=(1,),
        rule="cp",
    ),
    Case("matmul", ((N, 2, 3, 4), (N, 1, 4, 5)), torch.matmul, half_proportional, receivers=(0, 1)),
    Case("matmul", (WEIGHTS, MATRIX), torch.matmul, proportional, receivers=(0,), constants=(1,)),
    Case("softmax", (TOKENS,), softmax, softmax_relevance, {"axis": 2}, rule="attnlrp"),
    Case("softmax", (TOKENS,), softmax, softmax_relevance, {"axis": -1}, rule="attnlrp"),
    Case("softmax", (TOKENS,), softmax, softmax_relevance, {"axis": 2}, rule="cp", receivers=()),
)
REDUCTIONS = (
    Case("mean", (IMAGE,), lambda x: x.mean((2, 3)), proportional, {"axes": [2, 3], "keepdim": False}),
    Case("mean", (IMAGE,), lambda x: x.mean((2, 3), True), proportional, {"axes": [-1, -2], "keepdim": True}),
    Case("mean", (TOKENS,), lambda x: x.mean(1), proportional, {"axes": [1], "keepdim": False}),
    Case("sum", (IMAGE,), lambda x: x.sum((1, 3)), proportional, {"axes": [3, 1], "keepdim": False}),
    *(
        Case(
            "vector_norm",
            (TOKENS,),
            lambda x, order=order, keepdim=keepdim: (x.abs() ** order).sum(2, keepdim) ** (1 / order),
            proportional,
            {"axes": [-1], "keepdim": keepdim, "ord": order},
        )
        for order, keepdim in ((2.0, True), (1.0, False), (3.0, False))
    ),
    Case("sum", (TOKENS,), lambda x: x.sum(2, True), proportional, {"axes": [-1], "keepdim": True}),
    Case("amax", (TOKENS,), lambda x: x.amax(1), adjoint, {"axis": 1, "keepdim": False}),
    Case("amax", (IMAGE,), lambda x: x.amax(-1, True), adjoint, {"axis": -1, "keepdim": True}),
)
MOVEMENT = (
    moved("identity", TOKENS, lambda x: x),
    moved("dropout", TOKENS, lambda x: x, p=0.5),
    moved("reshape", TOKENS, lambda x: x.reshape(-1, 2, 10), shape=["B", 2, 10]),
    moved("reshape", IMAGE, lambda x: x.flatten(1), shape=["B", 24]),
    Case(
        "permute", (IMAGE,), lambda x: x.permute(2, 3, 0, 1), adjoint, {"axes": [2, 3, 0, 1]}, row_axes=(0, 2)
    ),
    Case("permute", (TOKENS,), lambda x: x.movedim(1, 2), adjoint, {"axes": [0, -1, 1]}),
    moved("expand", ROW, lambda x: x.expand(N, 4, 2, 3), shape=["B", 4, 2, 3]),
    moved("slice", TOKENS, lambda x: x[:, 1:4:2], axis=1, start=1, stop=4, step=2),
    moved("slice", IMAGE, lambda x: x[:, 2:], axis=-3, start=2, stop=2**63 - 1, step=1),
    moved("slice", TOKENS, lambda x: x[..., :-1], axis=2, start=None, stop=-1, step=1),
    moved("select", TOKENS, lambda x: x[:, 0], axis=1, index=0),
    moved("select", TOKENS, lambda x: x[:, :, -1], axis=-1, index=-1),
    Case("index_select", (TOKENS,), lambda x: x[:, INDEX], adjoint, {"axis": 1}, {"index": INDEX}),
    Case(
        "gather",
        (TOKENS, (1, 4, 3)),
        lambda x, index: torch.stack([x[:, t, index[0, t].long()] for t in range(4)], 1),
        adjoint,
        {"axis": 2},
        constants=(1,),
        clamped=(1,),
    ),
    moved("roll", IMAGE, lambda x: torch.roll(x, (1, -1), (2, 3)), shifts=[1, -1], axes=[2, 3]),
    moved("pad", IMAGE, lambda x: F.pad(x, (1, 2)), pad=[1, 2], mode="constant", value=None),
    moved(
        "pad",
        IMAGE,
        lambda x: F.pad(x, (1, 0, -1, 2), value=-2),
        pad=[1, 0, -1, 2],
        mode="constant",
        value=-2.0,
    ),
    *(
        moved(
            "pad",
            IMAGE,
            lambda x, mode=mode: F.pad(x, (1, 2, 1, 0), mode),
            pad=[1, 2, 1, 0],
            mode=mode,
            value=None,
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    Case(
        "cat",
        (TOKENS, (N, 2, 5), (N, 1, 5)),
        lambda *x: torch.cat(x, 1),
        adjoint,
        {"axis": 1},
        receivers=(0, 1, 2),
    ),
    Case(
        "cat",
        ((1, 1, 5), TOKENS),
        lambda a, b: torch.cat((a.expand(len(b), 1, 5), b), 1),
        adjoint,
        {"axis": -2},
        receivers=(1,),
        constants=(0,),
    ),
)
WINDOW = {"kernel_size": [3], "stride": [2], "padding": [1], "ceil_mode": True}
WINDOWS = {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0], "ceil_mode": False}
TILES = {"stride": [2, 3], "padding": [0, 0], "dilation": [1, 1]}
LARGE_IMAGE = (N, 2, 5, 6)
POOLING = (
    moved("max_pool1d", TOKENS, lambda x: F.max_pool1d(x, 3, 2, 1, 1, True), **WINDOW, dilation=[1]),
    moved(
        "max_pool2d",
        LARGE_IMAGE,
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0)),
        **WINDOWS,
        dilation=[1, 1],
    ),
    moved(
        "max_pool2d",
        (N, 2, 4, 6),
        lambda x: F.max_pool2d(x, (2, 3)),
        **TILES,
        kernel_size=[2, 3],
        ceil_mode=False,
    ),
    moved(
        "max_pool2d",
        LARGE_IMAGE,
        lambda x: F.max_pool2d(x, (2, 3), ceil_mode=True),
        **TILES,
        kernel_size=[2, 3],
        ceil_mode=True,
    ),
    moved(
        "max_pool1d",
        (N, 2, 6),
        lambda x: F.max_pool1d(x, 2),
        kernel_size=[2],
        stride=[2],
        padding=[0],
        dilation=[1],
        ceil_mode=False,
    ),
    moved("adaptive_max_pool2d", LARGE_IMAGE, lambda x: F.adaptive_max_pool2d(x, (2, 4)), output_size=[2, 4]),
    Case(
        "avg_pool1d",
        (TOKENS,),
        lambda x: F.avg_pool1d(x, 3, 2, 1, True, False),
        proportional,
        {**WINDOW, "count_include_pad": False},
    ),
    Case(
        "avg_pool2d",
        (LARGE_IMAGE,),
        lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0), divisor_override=4),
        proportional,
        {**WINDOWS, "count_include_pad": True, "divisor_override": 4},
    ),
    Case(
        "adaptive_avg_pool1d",
        (TOKENS,),
        lambda x: F.adaptive_avg_pool1d(x, 3),
        proportional,
        {"output_size": [3]},
    ),
    *(
        Case(
            "upsample",
            (LARGE_IMAGE,),
            lambda x, options=options: F.interpolate(x, **options),
            proportional,
            options,
        )
        for options in (
            {"size": None, "scale_factor": [2.0, 3.0], "mode": "nearest", "align_corners": None},
            {"size": [9, 4], "scale_factor": None, "mode": "nearest-exact", "align_corners": None},
            {"size": None, "scale_factor": [1.7, 0.6], "mode": "bilinear", "align_corners": False},
            {"size": [9, 11], "scale_factor": None, "mode": "bilinear", "align_corners": True},
        )
    ),
    Case(
        "adaptive_avg_pool2d",
        (LARGE_IMAGE,),
        lambda x: F.adaptive_avg_pool2d(x, (2, 4)),
        proportional,
        {"output_size": [2, 4]},
    ),
)
CASES = (*POINTWISE, *POOLING, *NORMS, *ARITHMETIC, *CHOICES, *PRODUCTS_OF_MATRICES, *REDUCTIONS, *MOVEMENT)
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def is_same_for_all_rows(case: Case, index: int) -> bool:
    return index in case.constants and case.shapes[index][:1] != (N,)


def selected(case: Case, inputs: Inputs, row: int) -> Inputs:
    axes = case.row_axes or (0,) * (len(inputs) + 1)
    return tuple(
        x if is_same_for_all_rows(case, index) else x.narrow(axis, row, 1)
        for index, (x, axis) in enumerate(zip(inputs, axes[:-1], strict=True))
    )


def row_of(case: Case, z: Tensor, row: int) -> Tensor:
    return z.narrow(case.row_axes[-1] if case.row_axes else 0, row, 1)


def of_rows(x: Tensor, axis: int) -> Tensor:
    """Sum of each row."""
    return x.movedim(axis, 0).flatten(1).sum(1)


def test_every_operation_has_a_case() -> None:
    assert {case.op for case in CASES} == set(OPERATIONS) - {"constant", "embedding", "lstm", "gru"}


@each_case
def test_outputs_follow_the_definition(case: Case) -> None:
    z, _ = case.operation.forward(*case.inputs())
    torch.testing.assert_close(z, case.definition(*case.inputs()), rtol=1e-12, atol=1e-12)


@each_case
def test_relevance_follows_the_jacobian(case: Case) -> None:
    inputs = case.inputs()
    z = case.definition(*inputs)
    R = drawn(*z.shape, seed=5)
    before = R.clone()
    relevance = case.relevance(inputs, R, shapes_of(inputs))
    assert [index for index, part in enumerate(relevance) if part is not None] == list(case.receivers)
    assert sorted(case.operation.receivers) == list(case.receivers)
    for index, part in enumerate(relevance):
        if part is not None:
            torch.testing.assert_close(
                part, case.oracle(case.definition, inputs, R, index), rtol=1e-10, atol=1e-12
            )
    assert torch.equal(R, before)
    assert all(torch.equal(x, again) for x, again in zip(inputs, case.inputs(), strict=True))


@each_case
def test_a_row_alone_is_as_in_the_batch(case: Case) -> None:
    inputs = case.inputs()
    R = drawn(*case.definition(*inputs).shape, seed=5)
    together = case.relevance(inputs, R, shapes_of(inputs))
    for row in range(N):
        own = selected(case, inputs, row)
        alone = case.relevance(own, row_of(case, R, row), shapes_of(own))
        for index in case.receivers:
            expected = selected(case, tuple(part if part is not None else R for part in together), row)[index]
            torch.testing.assert_close(alone[index], expected, rtol=1e-10, atol=1e-12)


@each_case
def test_a_row_that_all_share_is_broadcast(case: Case) -> None:
    one = selected(case, case.inputs(), 1)
    axes = case.row_axes or (0,) * (len(one) + 1)
    all_rows = tuple(
        x if is_same_for_all_rows(case, index) else torch.cat([x] * N, axes[index])
        for index, x in enumerate(one)
    )
    R = drawn(*case.definition(*all_rows).shape, seed=5)
    expected = case.relevance(all_rows, R, shapes_of(all_rows))
    for index, part in enumerate(case.relevance(one, R, shapes_of(all_rows))):
        assert (part is None) == (expected[index] is None)
        if part is not None:
            assert part.shape == all_rows[index].shape
            torch.testing.assert_close(part, expected[index], rtol=1e-10, atol=1e-12)


@each_case
def test_signs_of_outputs_are_known(case: Case) -> None:
    signed, nonnegative = case.inputs(), tuple(x.abs() for x in case.inputs())
    forward, sign = case.operation.forward, case.operation.sign
    if sign is not Sign.ANY:
        assert (forward(*nonnegative)[0] >= 0).all()
    if sign is Sign.NONNEGATIVE:
        assert (forward(*signed)[0] >= 0).all()
    else:
        assert (forward(*signed)[0] < 0).any(), "a stronger fact holds"


@each_case
def test_relevance_where_inputs_are_zero_is_known(case: Case) -> None:
    inputs = tuple(
        torch.where(drawn(*x.shape, seed=7) < 0, 0, x) if index in case.receivers else x
        for index, x in enumerate(case.inputs())
    )
    z, _ = case.operation.forward(*inputs)
    R = drawn(*z.shape, seed=5)
    anywhere = case.relevance(inputs, R, shapes_of(inputs))
    where_output_is_not_zero = case.relevance(inputs, R * (z != 0), shapes_of(inputs))
    for index in case.receivers:
        is_zero = inputs[index] == 0
        in_general, masked = (parts[index] for parts in (anywhere, where_output_is_not_zero))
        assert in_general is not None
        assert masked is not None
        assert (in_general[is_zero] == 0).all() == (case.operation.at_zero is AtZero.NONE)
        assert (masked[is_zero] == 0).all() == (case.operation.at_zero is not AtZero.ANY)


@pytest.mark.parametrize("op", sorted({case.op for case in CASES}))
def test_operations_that_always_conserve_relevance_are_known(op: str) -> None:
    for_all = []
    for case in (case for case in CASES if case.op == op):
        inputs = case.inputs()
        R = drawn(*case.definition(*inputs).shape, seed=5)
        parts = case.relevance(inputs, R, shapes_of(inputs))
        total = sum(float(part.sum()) for part in parts if part is not None)
        conserved = total == pytest.approx(float(R.sum()), rel=1e-12)
        assert conserved or not case.operation.conserves
        for_all.append(conserved or case.operation.conserves)
    assert all(for_all) == all(case.operation.conserves for case in CASES if case.op == op)


@each_case
def test_each_row_shows_what_constants_and_stabilizers_absorb(case: Case) -> None:
    inputs = case.inputs()
    R = drawn(*case.definition(*inputs).shape, seed=5)
    found = case.redistributed(inputs, R, shapes_of(inputs))
    axes = case.row_axes or (0,) * (len(inputs) + 1)
    reached = zeros = torch.zeros(N, dtype=torch.double)
    for part, axis in zip(found.inputs, axes, strict=False):
        reached = reached + (zeros if part is None else of_rows(part, axis))
    absorbed = zeros if found.absorbed is None else of_rows(found.absorbed, axes[-1])
    torch.testing.assert_close(reached + absorbed, of_rows(R, axes[-1]), rtol=1e-10, atol=1e-10)
    assert (found.absorbed is None) == case.operation.conserves


def test_masks_absorb_nothing() -> None:
    case = Case("add", (TOKENS, TOKENS), torch.add, proportional, constants=(1,))
    scores, is_masked = drawn(*TOKENS, seed=3).abs() + 1, drawn(*TOKENS, seed=6) > 0
    mask = torch.zeros(TOKENS, dtype=torch.double).masked_fill(is_masked, -torch.inf)
    R = drawn(*TOKENS, seed=4).masked_fill(is_masked, 0)
    absorbed = case.redistributed((scores, mask), R, (scores.shape, mask.shape)).absorbed
    torch.testing.assert_close(absorbed, EPSILON * R / (scores + EPSILON))


def test_constants_return_their_value_and_know_its_sign() -> None:
    for value, sign in ((torch.tensor([0.0, 1.0]), Sign.NONNEGATIVE), (torch.tensor([-1.0, 1.0]), Sign.ANY)):
        node = Node("node", "constant", (), (2,), {}, {"value": "value"})
        constant = OPERATIONS["constant"](
            OperationContext(node, {"value": value}, AssignedRule("pass"), (), F64)
        )
        assert constant.forward()[0] is value
        assert constant.sign is sign


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 2])
def test_denominators_move_away_from_zero(dtype: torch.dtype, rows: int) -> None:
    z = torch.tensor([[0.0, 1e-6, -1e-6, 2.0, -2.0]], dtype=dtype).expand(rows, -1)
    R = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, -2.0, -3.0, -4.0, -5.0]], dtype=dtype)
    denominators = torch.tensor([1e-6, 2e-6, -2e-6, 2.000001, -2.000001], dtype=dtype)
    torch.testing.assert_close(divided(R, z, EPSILON), R / denominators)


def test_tokens_get_the_sum_over_the_dimensions_of_their_vectors() -> None:
    tokens, weight = torch.tensor([[3, 0, 3]]), drawn(4, 5, seed=1)
    node = Node("node", "embedding", ("input",), ("B", 3, 5))
    operation = OPERATIONS["embedding"](
        OperationContext(node, {"weight": weight}, AssignedRule("pass"), (True,), F64)
    )
    z, extra = operation.forward(tokens)
    assert torch.equal(z, weight[tokens])
    R = drawn(2, 3, 5, seed=2)
    values = ValuesOf(operation, (tokens,), z, extra, (torch.Size((2, 3)),))
    (relevance,) = operation.relevance(R, values).inputs
    torch.testing.assert_close(relevance, R.sum(2))


def test_scores_that_are_masked_get_no_relevance() -> None:
    case = Case("softmax", (TOKENS,), softmax, softmax_relevance, {"axis": 2}, rule="attnlrp")
    (scores,) = case.inputs()
    is_masked = drawn(*TOKENS, seed=3) > 1
    z = softmax(scores.masked_fill(is_masked, -torch.inf))
    R = drawn(*TOKENS, seed=4).masked_fill(is_masked, 0)  # in proportion to the weights
    (relevance,) = case.relevance((scores.masked_fill(is_masked, -torch.inf),), R, (scores.shape,))
    assert relevance is not None
    expected = scores * (R - z * R.sum(2, keepdim=True))
    torch.testing.assert_close(relevance, expected.masked_fill(is_masked, 0))


def test_every_operation_of_graphs_is_compiled() -> None:
    assert OPERATIONS.keys() | set(WEIGHTED) == GRAPH_OPERATIONS.keys()
