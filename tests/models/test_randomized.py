"""Explanations of networks whose upper layers are random."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from tracing import traced

from app.lrp.attribution import Batch
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Target
from app.models.bounds import pixel_bounds
from app.models.checkpoint import load, load_image, load_module
from app.models.local import LocalModel
from app.models.protocol import Job
from app.models.randomized import RandomizedEngines, randomized, weighted_layers
from app.settings import shipped_model

NAMES = ["features.0", "features.3", "features.6", "features.9", "classifier.1", "classifier.4"]


@pytest.fixture(scope="module")
def network() -> TracedModel:
    return load(shipped_model())[0]


@pytest.fixture(scope="module")
def bounds() -> tuple[Tensor, Tensor]:
    return pixel_bounds(load_image(shipped_model())[1].normalisation)


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_only_the_last_layers_are_random(network: TracedModel, depth: int) -> None:
    random = randomized(network, depth, 0).weights
    changed = {name.rpartition(".")[0] for name, p in network.weights.items() if (p != random[name]).any()}
    assert weighted_layers(network.graph) == NAMES
    assert changed == set(NAMES[-depth:])


def test_random_parameters_do_not_depend_on_the_depth_or_on_torchs_generator(network: TracedModel) -> None:
    torch.manual_seed(1)
    one, state = randomized(network, 1, 0), torch.get_rng_state()
    torch.manual_seed(2)
    all_of_them = randomized(network, 6, 0)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    weight = "classifier.4.weight"
    assert torch.equal(one.weights[weight], all_of_them.weights[weight])
    assert not torch.equal(randomized(network, 1, 1).weights[weight], one.weights[weight])


def test_parameters_are_initialised_as_torch_initialises_new_layers(network: TracedModel) -> None:
    random, (module, _) = randomized(network, 6, 3).weights, load_module(shipped_model())
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            torch.manual_seed(4)
            layer.reset_parameters()
            assert torch.equal(random[f"{name}.weight"], layer.weight)
            assert layer.bias is not None
            assert torch.equal(random[f"{name}.bias"], layer.bias)


def test_norms_are_reset() -> None:
    norm = nn.LayerNorm(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    model = traced(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), norm, nn.Linear(4, 2)), 3)
    random = randomized(model, 2, 0).weights
    assert random["2.weight"].tolist() == [1] * 4
    assert random["2.bias"].tolist() == [0] * 4
    assert torch.equal(randomized(model, 1, 0).weights["2.weight"], norm.weight)


@pytest.mark.parametrize("depth", [1, 2, 4, 6])
def test_an_engine_that_is_joined_equals_one_of_the_randomised_network(
    network: TracedModel, bounds: tuple[Tensor, Tensor], depth: int
) -> None:
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    requests = [
        ExplanationRequest(resolve(kinds(network.graph), name, {}, []), Target(3)) for name in COMPOSITES
    ]
    batch = Batch(inputs, tuple(requests * 2), (0,) * len(requests) + (1,) * len(requests))
    engines = RandomizedEngines(network, Engine(network, *bounds), bounds)
    found = engines(depth).run(batch)
    alone = Engine(randomized(network, depth, 0), *bounds).run(batch)
    torch.testing.assert_close(found.logits, alone.logits)
    for one, other in zip(found.attributions, alone.attributions, strict=True):
        torch.testing.assert_close(one.relevance, other.relevance)
        torch.testing.assert_close(one.sums, other.sums)


def test_a_reference_explains_the_randomised_network_as_well(
    network: TracedModel, bounds: tuple[Tensor, Tensor]
) -> None:
    batch = Batch(
        torch.ones(1, 3, 32, 32),
        (ExplanationRequest(resolve(kinds(network.graph), "epsilon", {}, [])),),
        (0,),
    )
    engine, reference = Engine(network, *bounds), Reference(network, *bounds)
    (by_engine,) = RandomizedEngines(network, engine, bounds)(2).run(batch).attributions
    (by_reference,) = RandomizedEngines(network, reference, bounds)(2).run(batch).attributions
    torch.testing.assert_close(by_engine.relevance, by_reference.relevance, rtol=1e-3, atol=1e-6)


def test_a_batch_may_mix_depths_and_leaves_the_network_as_it_was() -> None:
    model = LocalModel.load(shipped_model(), "cpu", None)
    x = np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32)
    request = ExplanationRequest(resolve(model.description.chain, "gamma", {}, []))
    depths = [0, 2, 1, 0, 2]
    together = model.run([Job(x, (request,), randomized=depth) for depth in depths])
    alone = [model.run([Job(x, (request,), randomized=depth)])[0] for depth in depths]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)
        (explained,), (expected,) = one.explanations, other.explanations
        np.testing.assert_allclose(explained.relevance, expected.relevance, rtol=1e-3, atol=1e-6)
    assert together[0].logits != together[1].logits
