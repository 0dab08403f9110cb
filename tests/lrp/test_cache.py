"""What is kept of compiled networks."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from app.lrp.attribution import output_relevance
from app.lrp.composites import resolve
from app.lrp.engine import compile as compilation
from app.lrp.engine.cache import MemoryCache
from app.lrp.engine.compile import CompiledNetwork, CompiledRule, RuleKey
from app.lrp.engine.engine import Engine
from app.lrp.graph.canonize import kinds
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
    monkeypatch.setattr(compilation, "MAX_WEIGHT_BYTES", 2**26)
    low, high = torch.full((1, 3, 1, 1), -2.0), torch.full((1, 3, 1, 1), 2.0)
    model = MiniVGG().eval()
    network, chain = CompiledNetwork(model, low, high), kinds(model)
    before = network.steps(resolve(chain, default, {}, ()), SHAPE, F32)
    for number in range(40):
        composite = resolve(chain, "gamma", {"gamma": 1 + number / 100}, ("features.*:zero",))
        network.steps(composite, SHAPE, F32)
        assert network.weights.nbytes <= 2**26
    compiled.clear()
    after = network.steps(resolve(chain, default, {}, ()), SHAPE, F32)
    assert not compiled
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_another_shape_of_the_input_shares_the_weights() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    ).eval()
    low, high = torch.full((1, 3, 1, 1), -2.0), torch.full((1, 3, 1, 1), 2.0)
    composite = resolve(kinds(model), "epsilon_gamma_box", {}, ())
    start = output_relevance([ExplanationRequest(composite)])
    engine, sizes = Engine(model, low, high), set()
    for side in (16, 21, 16, 22):
        picture = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))
        ours = engine.attribute(picture, composite, start).relevance
        alone = Engine(model, low, high).attribute(picture, composite, start).relevance
        torch.testing.assert_close(ours, alone)
        assert isinstance(engine._network, CompiledNetwork)
        sizes.add(engine._network.weights.nbytes)
    assert len(sizes) == 1
