"""The engine on networks that are not chains: against the reference, and identities, in float64."""

from functools import cache

import pytest
import torch
from small_networks import ConvNeXt, ResNet, SqueezeExcitation, VisionTransformer, random_network
from torch import Tensor

from app.lrp.attribution import Attribution
from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.rules import ATTNLRP, CP, AttentionRule

BOUNDS = torch.full((1, 3, 1, 1), -3.0, dtype=torch.double), torch.full((1, 3, 1, 1), 3.0, dtype=torch.double)
NETWORKS = {
    architecture.__name__: architecture
    for architecture in (ConvNeXt, ResNet, SqueezeExcitation, VisionTransformer)
}
each_network = pytest.mark.parametrize("name", NETWORKS)
each_attention = pytest.mark.parametrize("attention", [CP, ATTNLRP])


@cache
def traced(name: str) -> TracedModel:
    return trace(random_network(NETWORKS[name]), torch.zeros(2, 3, 16, 16, dtype=torch.double))


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def explained(
    engine: type[Engine | Reference],
    model: TracedModel,
    inputs: Tensor,
    put_in: Tensor,
    rule: str = "epsilon",
    attention: AttentionRule = CP,
    layer: str | None = None,
) -> Attribution:
    composite = resolve(kinds(model.graph), rule, {}, [], attention=attention)
    return engine(model, *BOUNDS).attribute(inputs, composite, lambda _: put_in, layer)


@each_attention
@pytest.mark.parametrize("rule", ["epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1"])
@each_network
def test_the_reference_agrees(name: str, rule: str, attention: AttentionRule) -> None:
    inputs, put_in = drawn(3, 3, 16, 16, seed=1), drawn(3, 5, seed=2)
    ours, theirs = (
        explained(engine, traced(name), inputs, put_in, rule, attention) for engine in (Engine, Reference)
    )
    assert ours.layers == theirs.layers
    for found, expected in (
        (ours.logits, theirs.logits),
        (ours.relevance, theirs.relevance),
        (ours.sums, theirs.sums),
    ):
        assert (found - expected).norm() <= 1e-8 * expected.norm()


@each_attention
@each_network
def test_rows_are_explained_as_if_alone(name: str, attention: AttentionRule) -> None:
    inputs, put_in = drawn(3, 3, 16, 16, seed=1), drawn(3, 5, seed=2)
    together = explained(Engine, traced(name), inputs, put_in, attention=attention)
    for row in range(3):
        one = slice(row, row + 1)
        alone = explained(Engine, traced(name), inputs[one], put_in[one], attention=attention)
        torch.testing.assert_close(alone.relevance, together.relevance[one], rtol=1e-9, atol=1e-9)


@each_attention
@each_network
def test_relevance_is_linear_in_what_is_put_in(name: str, attention: AttentionRule) -> None:
    inputs, first, second = drawn(2, 3, 16, 16, seed=1), drawn(2, 5, seed=2), drawn(2, 5, seed=3)
    a, b, both = (
        explained(Engine, traced(name), inputs, put_in, attention=attention).relevance
        for put_in in (first, second, 2 * first - second)
    )
    torch.testing.assert_close(2 * a - b, both, rtol=1e-9, atol=1e-9)


@each_network
def test_relevance_is_conserved_from_layer_to_layer(name: str) -> None:
    """Of layers that no way leads around, above the class token, which keeps its share."""
    model = traced(name)
    inputs = 1e3 * drawn(2, 3, 16, 16, seed=1)  # the stabilizers' share is small
    put_in = explained(Engine, model, inputs, torch.zeros(2, 5, dtype=torch.double)).logits
    found = explained(Engine, model, inputs, put_in)
    total = put_in.sum(1)
    is_token = [
        node.op == "cat" and name == "VisionTransformer" for node in model.graph if node.op != "constant"
    ]
    lowest = is_token.index(True) + 1 if any(is_token) else 0
    cut = [i for i in map(found.layers.index, bottlenecks(model)) if i >= lowest]
    assert len(cut) >= 3
    torch.testing.assert_close(found.sums[:, cut], total[:, None].expand(-1, len(cut)), rtol=1e-4, atol=0)


def bottlenecks(model: TracedModel) -> list[str]:
    """Layers such that removing one separates the input from the logits."""
    graph = model.graph
    found = []
    for removed in graph:
        reached = {"input"}
        for node in graph:
            if node is not removed and reached.intersection(node.inputs):
                reached.add(node.name)
        if graph.output.name not in reached and removed.op != "constant":
            found.append(removed.name)
    return found
