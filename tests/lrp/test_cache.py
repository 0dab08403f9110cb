"""What is kept of compiled networks."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from tracing import traced

from app.lrp.attribution import output_relevance
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine import compile as compilation
from app.lrp.engine.cache import MemoryCache
from app.lrp.engine.compile import CompiledNetwork, CompiledRule, RuleKey
from app.lrp.engine.engine import Engine
from app.lrp.graph.graph import INPUT, Graph, Node
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest
from app.models.architectures.minivgg import MiniVGG

SHAPE = torch.Size((3, 32, 32))
F32 = torch.float32


@dataclass
class Block:
    """Of so many bytes."""

    nbytes: int


def test_the_least_recently_used_go_first_and_preferred_ones_last() -> None:
    cache = MemoryCache[str, Block](lambda key: Block(len(key)), 6, str.isupper)
    for key in ("AA", "bb", "cc"):
        cache(key)
    cache("bb")
    cache("dd")
    assert [key in cache for key in ("AA", "bb", "cc", "dd")] == [True, True, False, True]
    cache("EEEE")
    assert [key in cache for key in ("AA", "bb", "dd", "EEEE")] == [True, False, False, True]
    assert cache.nbytes == 6
    cache("FF")
    assert ("AA" in cache, "EEEE" in cache, "FF" in cache) == (False, True, True)


def test_what_is_larger_than_the_cache_is_computed_and_not_kept() -> None:
    cache = MemoryCache[str, Block](lambda key: Block(len(key)), 3, lambda _: False)
    assert cache("large").nbytes == 5
    assert cache.nbytes == 0
    assert "large" not in cache


@pytest.mark.parametrize("default", ["epsilon_plus_flat", "epsilon_gamma_box"])
def test_a_sweep_of_a_parameter_leaves_the_default_and_stays_within_the_bound(
    monkeypatch: pytest.MonkeyPatch, default: str
) -> None:
    compiled: list[RuleKey] = []
    compile_weights = CompiledNetwork._compile_weights

    def counted(network: CompiledNetwork, key: RuleKey) -> CompiledRule:
        compiled.append(key)
        return compile_weights(network, key)

    monkeypatch.setattr(CompiledNetwork, "_compile_weights", counted)
    bound = 4 * 4 * sum(weight.numel() for weight in MiniVGG().parameters())
    monkeypatch.setattr(compilation, "MIN_WEIGHT_BYTES", 0)
    low, high = torch.full((1, 3, 1, 1), -2.0), torch.full((1, 3, 1, 1), 2.0)
    model = traced(MiniVGG(), *SHAPE)
    network, chain = CompiledNetwork(model, (low, high)), kinds(model.graph)
    before = network.steps(resolve(chain, default, {}, ()), SHAPE, F32)
    for number in range(40):
        composite = resolve(chain, "gamma", {"gamma": 1 + number / 100}, ("features.*:zero",))
        network.steps(composite, SHAPE, F32)
        assert network.weights.nbytes <= bound
    compiled.clear()
    after = network.steps(resolve(chain, default, {}, ()), SHAPE, F32)
    assert not compiled
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_another_shape_of_the_input_shares_the_weights() -> None:
    model = words()
    low, high = torch.tensor(-2.0), torch.tensor(2.0)
    composite = resolve(kinds(model.graph), "epsilon_gamma_box", {}, ())
    start = output_relevance([ExplanationRequest(composite)])
    engine, sizes = Engine(model, low, high), set()
    for length in (5, 9, 5, 7):
        inputs = torch.randn(1, length, 3, generator=torch.Generator().manual_seed(length))
        ours = engine.attribute(inputs, composite, start).relevance
        alone = Engine(model, low, high).attribute(inputs, composite, start).relevance
        assert ours.shape == inputs.shape
        torch.testing.assert_close(ours, alone)
        assert isinstance(engine._network, CompiledNetwork)
        sizes.add(engine._network.weights.nbytes)
    assert len(sizes) == 1


def words() -> TracedModel:
    """A network for texts of any length: (B, T, 3) -> (B, 5)."""
    torch.manual_seed(0)
    layers = {"first": nn.Linear(3, 4), "last": nn.Linear(4, 5)}
    weights = {
        f"{name}.{role}": tensor
        for name, layer in layers.items()
        for role, tensor in (("weight", layer.weight.detach()), ("bias", layer.bias.detach()))
    }
    of_first, of_last = ({role: f"{name}.{role}" for role in ("weight", "bias")} for name in layers)
    nodes = (
        Node("first", "linear", (INPUT,), ("B", "T", 4), weights=of_first),
        Node("relu", "relu", ("first",), ("B", "T", 4)),
        Node("mean", "mean", ("relu",), ("B", 4), {"axes": [1], "keepdim": False}),
        Node("last", "linear", ("mean",), ("B", 5), weights=of_last),
    )
    return TracedModel(Graph(("B", "T", 3), nodes), weights)


def test_an_input_of_another_shape_than_the_networks_is_refused() -> None:
    low, high = torch.tensor(-2.0), torch.tensor(2.0)
    model = words()
    composite = resolve(kinds(model.graph), "epsilon", {}, ())
    with pytest.raises(ValueError, match=r"shape \(6, 4\); the network takes \('T', 3\)"):
        Engine(model, low, high).attribute(torch.randn(1, 6, 4), composite, torch.ones_like)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_all_weights_of_a_composite_are_kept_however_large_the_network(
    monkeypatch: pytest.MonkeyPatch, composite: str
) -> None:
    monkeypatch.setattr(compilation, "MIN_WEIGHT_BYTES", 0)
    model = traced(MiniVGG(), *SHAPE)
    network = CompiledNetwork(model, (torch.full((1, 3, 1, 1), -2.0), torch.full((1, 3, 1, 1), 2.0)))
    resolved = resolve(kinds(model.graph), composite, {}, ())
    first, second = (network.steps(resolved, SHAPE, F32) for _ in range(2))
    assert all(a is b for a, b in zip(first, second, strict=True))
