"""The engine against Zennit, matrix algebra and itself."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg11_bn, vgg13
from tracing import traced
from zennit.canonizers import SequentialMergeBatchNorm

from app.lrp.attribution import Attribution, Batch, OutputRelevance, output_relevance
from app.lrp.composites import COMPOSITES, Composite, resolve
from app.lrp.engine import backward
from app.lrp.engine.engine import Engine
from app.lrp.engine.ops.affine import NotCompilableError
from app.lrp.graph.graph import INPUT, Graph, Node
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.rules import RULES
from app.models.architectures.minivgg import MiniVGG
from app.models.checkpoint import load
from app.settings import shipped_model

EVERY_RULE = [*COMPOSITES, *RULES]
TARGETS = [Target(), Target(3, 5), Target(2, None, Start.LOGIT)]


def bounds(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return torch.full((1, 3, 1, 1), -2.0, dtype=dtype), torch.full((1, 3, 1, 1), 2.0, dtype=dtype)


def put_in(composite: Composite, targets: Sequence[Target]) -> OutputRelevance:
    """The output relevance of one target for each row."""
    return output_relevance([ExplanationRequest(composite, target) for target in targets])


def difference(ours: Attribution, theirs: Attribution) -> float:
    return float((ours.relevance - theirs.relevance).norm() / theirs.relevance.norm())


@cache
def minivgg() -> TracedModel:
    torch.manual_seed(0)
    return traced(MiniVGG(), 3, 32, 32)


@cache
def shipped() -> TracedModel:
    return load(shipped_model())[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("rule", EVERY_RULE)
def test_engine_equals_zennit_on_the_shipped_network(rule: str, dtype: torch.dtype, tolerance: float) -> None:
    model = shipped().map_weights(lambda weight: weight.to(dtype))
    inputs = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=dtype)
    composite = resolve(kinds(model.graph), rule, {}, [])
    ours, theirs = (
        engine(model, *bounds(dtype)).attribute(inputs, composite, put_in(composite, TARGETS))
        for engine in (Engine, Reference)
    )
    assert difference(ours, theirs) <= tolerance
    assert ours.layers == theirs.layers
    torch.testing.assert_close(ours.sums, theirs.sums, rtol=100 * tolerance, atol=100 * tolerance)
    torch.testing.assert_close(ours.biases, theirs.biases, rtol=100 * tolerance, atol=100 * tolerance)


def test_layer_gives_the_relevance_at_its_input() -> None:
    model = minivgg().map_weights(Tensor.double)
    inputs = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    composite = resolve(kinds(model.graph), "epsilon_plus", {}, ["features.0:w_square"])
    for layer in ("features.6", "classifier.1"):
        ours, theirs = (
            engine(model, *bounds(torch.float64)).attribute(
                inputs, composite, put_in(composite, [Target()] * 2), layer
            )
            for engine in (Engine, Reference)
        )
        assert difference(ours, theirs) <= 1e-10


def test_threads_do_not_spoil_each_other() -> None:
    model = minivgg()
    engine = Engine(model, *bounds(torch.float32))
    inputs = torch.randn(1, 3, 32, 32)
    composites = [
        resolve(kinds(model.graph), rule, {}, []) for rule in ("epsilon_plus_flat", "epsilon_gamma_box")
    ]
    alone = [engine.attribute(inputs, c, put_in(c, [Target()])).relevance for c in composites]
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(5):
            c = composites[which]
            again = engine.attribute(inputs, c, put_in(c, [Target()])).relevance
            if not torch.allclose(again, alone[which], rtol=1e-4, atol=1e-6):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(i % 2,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_operations_that_are_not_supported_are_named() -> None:
    node = Node("fold", "col2im", (INPUT,), ("B", 2))
    with pytest.raises(NotCompilableError, match=r"fold \(col2im\)"):
        Engine(TracedModel(Graph(("B", 2), (node,)), {}), torch.zeros(1), torch.ones(1))


# Networks of many shapes, with five logits each

F64 = torch.float64
SCALARS = torch.tensor(-2.0, dtype=F64), torch.tensor(2.0, dtype=F64)
Chain = Callable[[bool], nn.Sequential]


def with_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    """Give a batch norm random parameters and statistics."""
    for numbers in (norm.weight.data, norm.bias.data, norm.running_mean):
        assert isinstance(numbers, Tensor)
        numbers.copy_(torch.randn(numbers.shape))
    assert isinstance(norm.running_var, Tensor)
    norm.running_var.copy_(torch.rand(norm.running_var.shape) + 0.5)
    return norm


CHAINS: Mapping[str, tuple[tuple[int, ...], Chain]] = {
    "strides, dilation, groups and pools": (
        (3, 21, 21),
        lambda b: nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=b),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, dilation=2, bias=b),
            nn.ReLU(),
            nn.MaxPool2d(3, 1),
            nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=b),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 8, 1, bias=b),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 5, bias=b),
        ),
    ),
    "padding that keeps the size": (
        (2, 5, 6),
        lambda b: nn.Sequential(
            nn.Conv2d(2, 4, (1, 3), padding="same", bias=b),
            nn.ReLU(),
            nn.Conv2d(4, 4, 5, padding="same", groups=2, bias=b),
            nn.ReLU(),
            nn.Conv2d(4, 3, 3, padding="same", dilation=2, bias=b),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(90, 5, b),
        ),
    ),
    "dense layers on more axes": (
        (3, 6),
        lambda b: nn.Sequential(
            nn.Linear(6, 7, b), nn.ReLU(), nn.Linear(7, 4, b), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5, b)
        ),
    ),
    "dense only": ((6,), lambda b: nn.Sequential(nn.Linear(6, 7, b), nn.ReLU(), nn.Linear(7, 5, b))),
    "one layer": ((6,), lambda b: nn.Sequential(nn.Linear(6, 5, b))),
    "no activation": ((6,), lambda b: nn.Sequential(nn.Linear(6, 7, b), nn.Linear(7, 5, b))),
    "flattened picture": (
        (2, 3, 3),
        lambda b: nn.Sequential(nn.Flatten(), nn.Linear(18, 7, b), nn.ReLU(), nn.Linear(7, 5, b)),
    ),
    "one dimension": (
        (2, 9),
        lambda b: nn.Sequential(
            nn.Conv1d(2, 8, 3, stride=2, padding=1, bias=b),
            nn.ReLU(),
            nn.Conv1d(8, 8, 2, dilation=2, groups=2, bias=b),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 5, b),
        ),
    ),
    "stride that leaves a rest": (
        (2, 8, 7),
        lambda b: nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=(3, 2), bias=b), nn.ReLU(), nn.Flatten(), nn.Linear(18, 5, b)
        ),
    ),
    "padding wider than the kernel": (
        (2, 4, 4),
        lambda b: nn.Sequential(
            nn.Conv2d(2, 3, 2, padding=3, bias=b), nn.ReLU(), nn.Flatten(), nn.Linear(243, 5, b)
        ),
    ),
    "overlapping padded pools": (
        (2, 7, 7),
        lambda b: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=b),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            nn.Conv2d(4, 4, 2, bias=b),
            nn.ReLU(),
            nn.AvgPool2d(2, 1, padding=1),
            nn.Flatten(),
            nn.Linear(64, 5, b),
        ),
    ),
    "pools in one dimension": (
        (2, 17),
        lambda b: nn.Sequential(
            nn.Conv1d(2, 6, 3, bias=b),
            nn.ReLU(),
            nn.MaxPool1d(3, 2, padding=1),
            nn.Conv1d(6, 4, 2, bias=b),
            nn.ReLU(),
            nn.AvgPool1d(2, 1, padding=1),
            nn.AdaptiveAvgPool1d(3),
            nn.Flatten(),
            nn.Linear(12, 5, b),
        ),
    ),
    "batch norm behind a convolution and a dense layer": (
        (2, 6, 6),
        lambda b: nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=b),
            with_statistics(nn.BatchNorm2d(4)),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 6, b),
            with_statistics(nn.BatchNorm1d(6)),
            nn.ReLU(),
            nn.Linear(6, 5, b),
        ).eval(),
    ),
    "adaptive pool of uneven windows": (
        (2, 7, 7),
        lambda b: nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=b),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((2, 3)),
            nn.Flatten(),
            nn.Linear(24, 5, b),
        ),
    ),
    "layers before the first weights": (
        (2, 6, 6),
        lambda b: nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(2, 3, 2, bias=b),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(12, 5, b),
        ),
    ),
}


def module_of(name: str, *, bias: bool) -> nn.Sequential:
    torch.manual_seed(3)
    return CHAINS[name][1](bias).double()


@cache
def traced_chain(name: str, *, bias: bool) -> TracedModel:
    return traced(module_of(name, bias=bias), *CHAINS[name][0])


def chain_of(name: str, *, bias: bool, batch: int) -> tuple[TracedModel, Tensor]:
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(batch, *CHAINS[name][0], dtype=F64, generator=random).clamp(-2, 2)
    return traced_chain(name, bias=bias), inputs


def random_start(logits: Tensor) -> Tensor:
    """Relevance of either sign at every class."""
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(4)).to(logits)


def both(
    model: TracedModel, inputs: Tensor, composite: Composite, layer: str | None = None
) -> tuple[Attribution, Attribution]:
    ours, theirs = (
        engine(model, *SCALARS).attribute(inputs, composite, random_start, layer)
        for engine in (Engine, Reference)
    )
    return ours, theirs


@pytest.mark.parametrize(("bias", "batch"), [(True, 17), (False, 1)], ids=["bias-17", "no bias-1"])
@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("name", CHAINS)
def test_engine_equals_zennit_whatever_the_shape(name: str, rule: str, batch: int, *, bias: bool) -> None:
    model, inputs = chain_of(name, bias=bias, batch=batch)
    ours, theirs = both(model, inputs, resolve(kinds(model.graph), rule, {}, []))
    assert ours.relevance.shape == inputs.shape
    assert float(theirs.relevance.norm()) > 0
    assert difference(ours, theirs) <= 1e-10
    torch.testing.assert_close(ours.sums, theirs.sums, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(ours.biases, theirs.biases, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        ("epsilon", {"epsilon": 0.5}),
        ("gamma", {"gamma": 0.0}),
        ("gamma", {"gamma": 100.0}),
        ("alpha_beta", {"alpha": 1.0}),
        ("alpha_beta", {"alpha": 1.3, "beta": 0.3}),
    ],
)
def test_engine_equals_zennit_for_other_parameters(rule: str, parameters: dict[str, float]) -> None:
    model, inputs = chain_of("overlapping padded pools", bias=True, batch=3)
    assert difference(*both(model, inputs, resolve(kinds(model.graph), rule, parameters, []))) <= 1e-10


@pytest.mark.parametrize("above", ["flat", "w_square"])
@pytest.mark.parametrize("below", [name for name in RULES if name != "z_box"])
def test_a_rule_that_ignores_its_input_may_be_above_any_other(above: str, below: str) -> None:
    """It gives relevance to units that a ReLU masks, which the engine otherwise leaves out."""
    model, inputs = chain_of("overlapping padded pools", bias=True, batch=3)
    composite = resolve(kinds(model.graph), below, {}, [f"3:{above}"])
    for layer in (None, "1", "3"):
        assert difference(*both(model, inputs, composite, layer)) <= 1e-10


ORACLE_CHAINS = ("dense only", "no activation", "flattened picture", "stride that leaves a rest")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ORACLE_CHAINS)
def test_engine_equals_matrix_algebra(name: str, rule: str) -> None:
    model, inputs = chain_of(name, bias=True, batch=2)
    module = module_of(name, bias=True)
    composite = resolve(kinds(model.graph), rule, {}, [])
    ours = Engine(model, *SCALARS).attribute(inputs, composite, random_start)
    rules = [(given.name, dict(given.parameters)) for _, given in composite.layers]
    for row, x in enumerate(inputs):
        explained = oracle.explain(module, x.numpy(), rules, ours.output_relevance[row].numpy(), -2.0, 2.0)
        expected = explained.relevances[0]
        np.testing.assert_allclose(ours.logits[row].numpy(), explained.logits, rtol=1e-10)
        assert np.linalg.norm(ours.relevance[row].numpy() - expected) <= 1e-10 * np.linalg.norm(expected)


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_bounds_go_through_the_layers_below_the_first_weights(rule: str) -> None:
    torch.manual_seed(5)
    model = traced(nn.Sequential(nn.Flatten(), nn.Linear(8, 5)).double(), 2, 2, 2)
    low, high = (torch.tensor(edge, dtype=F64).view(1, 2, 1, 1) for edge in ([-1.0, -2.0], [3.0, 4.0]))
    inputs, composite = torch.rand(2, 2, 2, 2, dtype=F64), resolve(kinds(model.graph), rule, {}, [])
    ours, theirs = (
        engine(model, low, high).attribute(inputs, composite, random_start) for engine in (Engine, Reference)
    )
    assert difference(ours, theirs) <= 1e-10


def test_a_relu_that_stands_in_two_places_runs_in_both() -> None:
    torch.manual_seed(6)
    relu = nn.ReLU()
    module = nn.Sequential(nn.Linear(6, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 5)).double()
    inputs, model = torch.randn(4, 6, dtype=F64), traced(module, 6)
    ours, theirs = both(model, inputs, resolve(kinds(model.graph), "epsilon", {}, []))
    torch.testing.assert_close(ours.logits, module(inputs).detach())
    assert ours.layers == theirs.layers
    assert difference(ours, theirs) <= 1e-10


@pytest.mark.parametrize("layer", [None, "0", "1", "2", "3", "6", "7"])
def test_relevance_at_every_layer_is_zennits(layer: str | None) -> None:
    model, inputs = chain_of("overlapping padded pools", bias=True, batch=3)
    ours, theirs = both(model, inputs, resolve(kinds(model.graph), "epsilon_gamma_box", {}, []), layer)
    assert ours.relevance.shape == theirs.relevance.shape
    assert difference(ours, theirs) <= 1e-10


def test_eight_threads_get_what_one_alone_gets() -> None:
    model, inputs = chain_of("overlapping padded pools", bias=True, batch=2)
    composites = [resolve(kinds(model.graph), rule, {}, []) for rule in EVERY_RULE]
    alone = [Engine(model, *SCALARS).attribute(inputs, c, random_start).relevance for c in composites]
    engine = Engine(model, *SCALARS)  # new: the threads compile at once as well
    jobs = list(range(len(composites))) * 8
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda i: engine.attribute(inputs, composites[i], random_start).relevance, jobs)
        )
    assert all(torch.equal(answer, alone[i]) for i, answer in zip(jobs, answers, strict=True))


def test_the_model_and_the_inputs_are_left_as_they_were() -> None:
    model, inputs = chain_of("overlapping padded pools", bias=True, batch=2)
    weights, copied = {key: value.clone() for key, value in model.weights.items()}, inputs.clone()
    for rule in EVERY_RULE:
        Engine(model, *SCALARS).attribute(inputs, resolve(kinds(model.graph), rule, {}, []), random_start)
    assert all(torch.equal(value, weights[key]) for key, value in model.weights.items())
    assert torch.equal(inputs, copied)


@pytest.mark.parametrize("rule", ["epsilon_plus_flat", "epsilon_gamma_box", "alpha_beta"])
def test_folded_batch_norm_is_what_zennits_canonizer_makes_of_it(rule: str) -> None:
    name = "batch norm behind a convolution and a dense layer"
    ours_of, inputs = chain_of(name, bias=True, batch=3)
    module = module_of(name, bias=True)
    logits = module(inputs).detach()
    merged = SequentialMergeBatchNorm().apply(module)
    theirs_of = traced(module, *inputs.shape[1:])
    for one in merged:
        one.remove()
    ours, theirs = (
        engine(model, *SCALARS).attribute(inputs, resolve(kinds(model.graph), rule, {}, []), random_start)
        for engine, model in ((Engine, ours_of), (Reference, theirs_of))
    )
    torch.testing.assert_close(ours.logits, logits)
    assert difference(ours, theirs) <= 1e-4  # it leaves out each norm's own ε of 1e-5


@pytest.mark.parametrize("rule", ["epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1"])
@pytest.mark.parametrize("build", [vgg11_bn, vgg13], ids=["vgg11_bn", "vgg13"])
def test_engine_equals_zennit_on_torchvisions_vgg(build: Callable[[], nn.Module], rule: str) -> None:
    torch.manual_seed(7)
    vgg: Any = build()
    dense = nn.Sequential(nn.Linear(512 * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10))
    module = nn.Sequential(vgg.features, vgg.avgpool, nn.Flatten(), dense).eval().double()
    inputs, model = torch.randn(1, 3, 64, 64, dtype=F64).clamp(-2, 2), traced(module, 3, 64, 64)
    composite = resolve(kinds(model.graph), rule, {}, [])
    ours, theirs = both(model, inputs, composite)
    torch.testing.assert_close(ours.logits, module(inputs).detach())
    assert difference(ours, theirs) <= 1e-10


MIXED = [
    ("epsilon_plus_flat", Target(), None, 0),
    ("epsilon_gamma_box", Target(1), None, 0),
    ("epsilon_plus_flat", Target(2, 3), "3", 0),
    ("epsilon", Target(4, None, Start.LOGIT), None, 2),
    ("epsilon_plus", Target(0), None, 1),
    ("epsilon_plus_flat", Target(1), None, 2),
    ("flat", Target(1, None, Start.PROBABILITY), "7", 1),
    ("epsilon_gamma_box", Target(), None, 2),
]


@pytest.mark.parametrize("engine", [Engine, Reference])
def test_requests_of_a_batch_get_what_they_get_alone(engine: type[Engine | Reference]) -> None:
    model, inputs = chain_of("overlapping padded pools", bias=True, batch=3)
    explainer = engine(model, *SCALARS)
    requests = tuple(
        ExplanationRequest(resolve(kinds(model.graph), rule, {}, []), target, layer)
        for rule, target, layer, _ in MIXED
    )
    rows = tuple(row for *_, row in MIXED)
    result = explainer.run(Batch(inputs, requests, rows))
    own = module_of("overlapping padded pools", bias=True)(inputs).detach()
    torch.testing.assert_close(result.logits, own)
    for request, row, together in zip(requests, rows, result.attributions, strict=True):
        alone = Reference(model, *SCALARS).attribute(
            inputs[row : row + 1], request.composite, output_relevance([request]), request.layer
        )
        assert difference(together, alone) <= 1e-10
        torch.testing.assert_close(together.output_relevance, alone.output_relevance)
        assert together.layers == alone.layers
        torch.testing.assert_close(together.sums, alone.sums, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(together.extremes, alone.extremes)


def test_a_batch_without_requests_returns_logits_only() -> None:
    model, inputs = chain_of("dense only", bias=True, batch=2)
    result = Engine(model, *SCALARS).run(Batch(inputs, (), ()))
    assert result.attributions == ()
    torch.testing.assert_close(result.logits, module_of("dense only", bias=True)(inputs).detach())


def test_composites_share_the_backward_pass_as_far_as_their_rules_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = minivgg()
    engine = Engine(model, *bounds(torch.float32))
    steps: list[tuple[int, int]] = []  # layer, rows
    propagate = backward.propagate

    def counted(forward: Any, index: int, piece: backward.Piece, *rest: Any) -> Any:
        steps.append((index, piece.stop - piece.start))
        return propagate(forward, index, piece, *rest)

    monkeypatch.setattr(backward, "propagate", counted)
    names = ("epsilon_plus_flat", "epsilon_plus", "epsilon_plus_flat")
    requests = tuple(
        ExplanationRequest(resolve(kinds(model.graph), name, {}, []), Target(i))
        for i, name in enumerate(names)
    )
    engine.run(Batch(torch.randn(1, 3, 32, 32), requests, (0, 0, 0)))
    layers = [index for index, _ in steps]
    assert layers == [*reversed(range(1, 17)), 0, 0]  # they differ in the first layer only
    assert sorted(rows for index, rows in steps if index == 0) == [1, 2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_real_gpu_gives_the_cpus_numbers(rule: str) -> None:
    model, inputs = chain_of("overlapping padded pools", bias=True, batch=3)
    requests = tuple(
        ExplanationRequest(resolve(kinds(model.graph), rule, {}, []), Target(i)) for i in range(3)
    )
    expected = Engine(model, *SCALARS).run(Batch(inputs, requests, (0, 1, 2)))
    low, high = (bound.cuda() for bound in SCALARS)
    there = Engine(model.map_weights(Tensor.cuda), low, high).run(Batch(inputs.cuda(), requests, (0, 1, 2)))
    for mine, other in zip(there.attributions, expected.attributions, strict=True):
        assert difference(mine, other) <= 1e-10
