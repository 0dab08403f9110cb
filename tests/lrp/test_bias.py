"""What biases, constants and stabilizers absorb, computed by the engine for itself."""

from functools import cache

import oracle
import pytest
import torch
from torch import Tensor, nn
from tracing import traced

from app.lrp.attribution import Attribution, output_relevance
from app.lrp.composites import COMPOSITES, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.rules import RULES

BOUNDS = torch.tensor(-3.0), torch.tensor(3.0)
EVERY_RULE = [*COMPOSITES, *RULES]

# By hand, for `oracle.HAND_CALCULATED`: a = [1, 2], W = [[1, .5], [-1, 2]], b = [.5, -.5], R = [2.5, 2.5].
ABSORBED = {
    "zero": 0.5 - 0.5,
    "epsilon": 2.5 / 2.75 * (0.5 + 0.25) + 2.5 / 2.75 * (-0.5 + 0.25),
    "gamma": 0.8 * (0.5 + 0.125) - 2.5 / 3.5 * 0.5,
    "z_plus": 1 * 0.5 + 0,
    "alpha_beta": 2 * (0.5 + 0) - (2.5 + 2.5 / 1.5 * 0.5),  # nothing lowers the first output
    "w_square": 2.5 / 1.5 * 0.25 + 2.5 / 5.25 * 0.25,
    "flat": 0.0,
    "z_box": 0.0,
}


def dense() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(5, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )


NETWORKS = {"dense": ((5,), dense), "convolutional": ((2, 8, 8), convolutional)}


@cache
def network_of(name: str) -> tuple[nn.Module, TracedModel]:
    torch.manual_seed(0)
    shape, build = NETWORKS[name]
    module = build().double()
    return module, traced(module, *shape)


def inputs_of(name: str, count: int) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(count, *NETWORKS[name][0], dtype=torch.double, generator=random).clamp(-3, 3)


def explained(model: TracedModel, x: Tensor, rule: str, start: Start = Start.LOGIT) -> Attribution:
    """Attribution of the first class for each row."""
    composite = resolve(kinds(model.graph), rule, {}, [])
    put_in = output_relevance([ExplanationRequest(composite, Target(0, None, start))] * len(x))
    return Engine(model, *(bound.to(x) for bound in BOUNDS)).attribute(x, composite, put_in)


@pytest.mark.parametrize("rule", ABSORBED)
def test_one_layer_by_hand(rule: str) -> None:
    parameters, _ = oracle.HAND_CALCULATED[rule]
    layer = nn.Linear(2, 2).double()
    layer.weight.data = torch.tensor([[1, 0.5], [-1, 2]], dtype=torch.double)
    layer.bias.data = torch.tensor([0.5, -0.5], dtype=torch.double)
    model, x = traced(layer, 2), torch.tensor([[1.0, 2.0]], dtype=torch.double)
    composite = resolve(kinds(model.graph), rule, parameters, [])
    engine = Engine(model, *(bound.to(x) for bound in BOUNDS))
    found = engine.attribute(x, composite, lambda _: torch.full((1, 2), 2.5, dtype=torch.double))
    assert found.biases.tolist() == pytest.approx([ABSORBED[rule]], abs=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rule", EVERY_RULE)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_put_in_reaches_the_input_or_is_absorbed(
    name: str, rule: str, dtype: torch.dtype, tolerance: float
) -> None:
    model = network_of(name)[1].map_weights(lambda weight: weight.to(dtype))
    found = explained(model, inputs_of(name, 6).to(dtype), rule)
    assert float(found.biases.abs().min()) > 0
    scale = found.biases.abs() + found.input_sums.abs()  # both may be larger than their sum
    error = found.output_relevance.sum(1) - found.input_sums - found.biases
    assert float((error / scale).abs().max()) <= tolerance


@pytest.mark.parametrize("name", NETWORKS)
def test_under_zero_biases_get_their_gradient_times_themselves(name: str) -> None:
    module, model = network_of(name)
    x = inputs_of(name, 1)
    biases = [value for parameter, value in module.named_parameters() if parameter.endswith("bias")]
    gradients = torch.autograd.grad(module(x)[0, 0], biases)
    expected = sum(float(bias.detach() @ slope) for bias, slope in zip(biases, gradients, strict=True))
    found = float(explained(model, x, "zero").biases)
    assert found == pytest.approx(expected, rel=1e-4)  # average pooling has a stabilizer


def test_a_change_of_one_bias_is_found_in_its_share_alone() -> None:
    model = traced(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double(), 2)
    model = model.map_weights(lambda weight: torch.full_like(weight, 0.5))
    x = torch.tensor([[1.0, 2.0]], dtype=torch.double)
    before = explained(model, x, "zero")
    assert float(before.biases) == pytest.approx(0.5 + 2 * 0.5 * 0.5)  # of the output, and of two units
    for node, share in ((model.graph.nodes[0], 0.5), (model.graph.nodes[-1], 1.0)):
        changed = model.weights[node.weights["bias"]].clone()
        changed[0] += 0.25
        weights = {**model.weights, node.weights["bias"]: changed}
        after = explained(TracedModel(model.graph, weights), x, "zero")
        assert float(after.biases - before.biases) == pytest.approx(share * 0.25)
        torch.testing.assert_close(after.relevance, before.relevance)


def test_outputs_of_zero_keep_what_no_rule_redistributes() -> None:
    layer = nn.Linear(2, 1, bias=False).double()
    model = traced(layer, 2).map_weights(torch.ones_like)
    x = torch.tensor([[1.0, -1.0]], dtype=torch.double)
    for rule in ("zero", "gamma"):
        found = explained(model, x, rule, Start.ONE)
        assert found.relevance.tolist() == [[0.0, 0.0]]
        assert found.biases.tolist() == [1.0]
