"""The engine on a CUDA device that is not there: with fake tensors, which have a device and no content.

A tensor that is made in main memory because its device was not named cannot be combined with those of the device,
so that the pass fails here as it would there. There is no default device here, since it would name it. Nor can a
pass read a value, for which the processor would wait until the device has computed it. Fake tensors do not show
numbers: `test_a_real_gpu_gives_the_cpus_numbers` does, with a device.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from small_networks import ConvNeXt, ResNet, SqueezeExcitation, VisionTransformer, random_network
from test_engine import minivgg
from test_engine_on_graphs import NETWORKS, model_of
from test_operations import CASES, Case, ValuesOf
from test_samples import traced_network
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from app.lrp.attribution import Batch
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine.engine import Engine
from app.lrp.engine.operation import OperationContext, Redistribution
from app.lrp.engine.operations import OPERATIONS
from app.lrp.graph.graph import INPUT, Node
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.rules import ATTENTION_RULES, CP, RULES, AssignedRule, AttentionRule
from app.lrp.samples import Samples, Sampling
from app.models.checkpoint import load
from app.settings import shipped_models

EVERY_RULE = [*COMPOSITES, *RULES]
SMALL = {network.__name__: network for network in (ConvNeXt, ResNet, SqueezeExcitation, VisionTransformer)}
SHIPPED = sorted(path.parent.name for path in shipped_models().glob("*/card.json"))
TARGETS = (Target(), Target(0), Target(0, 1, Start.PROBABILITY), Target(None, None, Start.LOGIT))
TOKENS = 7

each_sign = pytest.mark.parametrize("one_sign", [True, False], ids=["one sign", "both signs"])


@contextmanager
def compiling(*, one_sign: bool) -> Iterator[None]:
    """Let compilation, which reads the signs of weights, find that they have one sign or that they have both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "__bool__", lambda _: one_sign)
        yield


def on_cuda(tensor: Tensor) -> Tensor:
    """Return a tensor of the same shape and type on the device."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")


def engine_of(model: TracedModel) -> Engine:
    low, high = torch.full((), -2.0, device="cuda"), torch.full((), 2.0, device="cuda")
    return Engine(model.map_weights(on_cuda), low, high)


def inputs_of(model: TracedModel) -> Tensor:
    """Return three inputs on the device, of the graph's shape, or of `TOKENS` tokens where it is free."""
    shape = [size if isinstance(size, int) else TOKENS for size in model.graph.input_shape[1:]]
    takes_tokens = any(node.op == "embedding" and node.inputs[0] == INPUT for node in model.graph)
    dtype = next(weight.dtype for weight in model.weights.values() if weight.is_floating_point())
    return torch.empty(3, *shape, dtype=torch.int64 if takes_tokens else dtype, device="cuda")


def requests_of(model: TracedModel, rule: str, attention: AttentionRule = CP) -> list[ExplanationRequest]:
    composite = resolve(kinds(model.graph), rule, {}, [], attention=attention)
    return [ExplanationRequest(composite, target) for target in TARGETS]


def explain(model: TracedModel, rule: str, attention: AttentionRule = CP, *, one_sign: bool = False) -> None:
    """Explain three inputs, one of them twice, and check shapes and where the results are."""
    requests = requests_of(model, rule, attention)
    with FakeTensorMode():
        inputs = inputs_of(model)
        with compiling(one_sign=one_sign):
            engine = engine_of(model)
            engine.run(Batch(inputs, (*requests,), (0, 2, 1, 2)))
        result = engine.run(Batch(inputs, (*requests,), (0, 2, 1, 2)))
        there = engine.attribute(inputs, requests[0].composite, lambda z: z)
    assert result.logits.device.type == "cpu"
    for attribution in result.attributions:
        assert attribution.relevance.shape == (1, *inputs.shape[1:])
        assert attribution.relevance.device.type == attribution.sums.device.type == "cpu"
    assert there.relevance.device.type == there.sums.device.type == "cuda"


def test_a_tensor_that_is_made_in_main_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def divided(R: Tensor, z: Tensor, epsilon: float) -> Tensor:
        return R / (z + torch.full(z.shape, epsilon))

    monkeypatch.setattr("app.lrp.engine.ops.sums.divided", divided)
    with pytest.raises(RuntimeError, match="same device"):
        explain(small("ResNet"), "epsilon")


def test_a_pass_that_waits_for_a_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def divided(R: Tensor, z: Tensor, epsilon: float) -> Tensor:
        return R / (z + epsilon) if z.any() else R

    monkeypatch.setattr("app.lrp.engine.ops.sums.divided", divided)
    with pytest.raises(RuntimeError, match="_local_scalar_dense"):
        explain(small("ResNet"), "epsilon")


@each_sign
@pytest.mark.parametrize("rule", EVERY_RULE)
def test_minivgg_is_explained_under_every_rule(rule: str, one_sign: bool) -> None:
    explain(minivgg(), rule, one_sign=one_sign)


@cache
def small(name: str) -> TracedModel:
    return trace(random_network(SMALL[name]), torch.zeros(2, 3, 16, 16, dtype=torch.double))


@pytest.mark.parametrize("rule", ["epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1"])
@pytest.mark.parametrize("name", SMALL)
def test_small_networks_are_explained(name: str, rule: str) -> None:
    explain(small(name), rule)


@pytest.mark.parametrize("attention", ATTENTION_RULES)
def test_attention_is_explained_under_its_rules(attention: AttentionRule) -> None:
    explain(small("VisionTransformer"), "epsilon", attention)


@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_with_several_users_of_a_value_are_explained(name: str) -> None:
    explain(model_of(name)[1], "epsilon_plus_flat")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_explained(name: str) -> None:
    explain(load(shipped_models() / name / "card.json")[0], "epsilon")


@pytest.mark.parametrize("sampling", Sampling)
def test_samples_are_explained(sampling: Sampling) -> None:
    """In parts of several rows, as a fake index of one element needs CUDA's driver."""
    model = traced_network()
    with FakeTensorMode(), compiling(one_sign=False):
        requests = requests_of(model, "epsilon_plus")
        result = engine_of(model).sample(inputs_of(model)[:1], requests, Samples(6, sampling), max_rows=3)
    assert result.sample_logits.device.type == "cpu"
    assert result.sample_logits.shape == (6, 5)
    assert all(one.relevance.device.type == "cpu" for one in result.attributions)


# Each operation alone


def redistributed(case: Case) -> tuple[Tensor, Redistribution]:
    """Return the output of an operation on the device, and where its relevance goes."""
    needed = tuple(index not in case.constants for index in range(len(case.shapes)))
    node = Node("node", case.op, tuple("abc"[: len(case.shapes)]), (), case.attributes)
    real = case.inputs()
    inputs = tuple(map(on_cuda, real))
    weights = {role: on_cuda(weight) for role, weight in case.weights.items()}
    rule = AssignedRule(case.rule)
    operation = OPERATIONS[case.op](OperationContext(node, weights, rule, needed, torch.double))
    z, extra = operation.forward(*inputs)
    values = ValuesOf(operation, inputs, z, extra, tuple(x.shape for x in inputs))
    return z, operation.relevance(torch.empty_like(z, dtype=torch.double), values)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operations_stay_on_the_device(case: Case) -> None:
    with FakeTensorMode():
        z, found = redistributed(case)
    tensors = [z, *(part for part in (*found.inputs, found.absorbed) if part is not None)]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
    reached = [index for index, part in enumerate(found.inputs) if part is not None]
    assert reached == list(case.receivers)


class Recurrent(nn.Module):
    """Tokens, a layer of two directions and a dense layer: (B, T) -> (B, 3)."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.layer, self.head = kind(4, 5, bidirectional=True, batch_first=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layer(self.embedding(x.clamp(min=0)))[0].mean(1))
        return logits


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_are_explained(kind: type[nn.LSTM | nn.GRU]) -> None:
    model = trace(Recurrent(kind).eval(), torch.ones(2, TOKENS, dtype=torch.int64))
    assert kind.__name__.lower() in {node.op for node in model.graph}
    explain(model, "epsilon")


def test_every_operation_is_among_them() -> None:
    alone = {case.op for case in CASES}
    models: Mapping[str, Any] = {name: load(shipped_models() / name / "card.json")[0] for name in SHIPPED}
    explained = {node.op for model in models.values() for node in model.graph} | {"lstm", "gru"}
    assert set(OPERATIONS) <= alone | explained
