"""The reference against Zennit's own use, matrix algebra, Captum, hand numbers and exact identities."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import oracle
import pytest
import torch
from captum.attr import LRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule, GammaRule, PropagationRule
from torch import Tensor, nn
from tracing import traced
from zennit import composites as zennit_composites
from zennit import core as zennit_core
from zennit import rules as zennit_rules
from zennit.attribution import Gradient

from app.errors import InvalidParameterError
from app.lrp.attribution import Attribution, OutputRelevance, output_relevance
from app.lrp.composites import COMPOSITES, Chain, Composite, resolve
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.rules import RULES, AssignedRule
from app.models.architectures.minivgg import MiniVGG

LOW, HIGH = -2.0, 2.5


def dense(*, bias: bool) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 6, bias=bias), nn.ReLU(), nn.Linear(6, 4, bias=bias))


def padded(*, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=bias),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 4, 3, padding=1, bias=bias),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(36, 4, bias=bias),
    )


def strided(*, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=2, padding=1, bias=bias),
        nn.ReLU(),
        nn.Conv2d(3, 4, 2, bias=bias),
        nn.AvgPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(8, 4, bias=bias),
    )


NETWORKS: Mapping[str, Callable[[], nn.Sequential]] = {
    "dense with bias": lambda: dense(bias=True),
    "dense without bias": lambda: dense(bias=False),
    "padded with bias": lambda: padded(bias=True),
    "padded without bias": lambda: padded(bias=False),
    "strided with bias": lambda: strided(bias=True),
    "strided without bias": lambda: strided(bias=False),
}
"""Networks of (2, 6, 6) pictures or 5 numbers, 4 classes."""


def network(name: str) -> nn.Sequential:
    torch.manual_seed(0)
    return NETWORKS[name]().double()


def shape_of(model: nn.Module) -> tuple[int, ...]:
    """Return the shape of inputs, without the batch axis."""
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d))
    if isinstance(model, MiniVGG):
        return MiniVGG.input_size
    return (first.in_features,) if isinstance(first, nn.Linear) else (2, 6, 6)


def inputs_for(model: nn.Module, batch: int = 3) -> Tensor:
    x = torch.randn(batch, *shape_of(model), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x.clamp(LOW, HIGH)


@lru_cache(maxsize=8)
def graph_of(model: nn.Module, *shape: int) -> TracedModel:
    return traced(model, *(shape or shape_of(model)))


def chain_of(model: nn.Module, *shape: int) -> Chain:
    return kinds(graph_of(model, *shape).graph)


def reference_of(model: nn.Module, low: float = LOW, high: float = HIGH) -> Reference:
    return Reference(graph_of(model), torch.tensor(low), torch.tensor(high))


def random_start(logits: Tensor) -> Tensor:
    """Relevance of either sign at every class."""
    return torch.randn(logits.shape, generator=torch.Generator().manual_seed(2)).to(logits)


def put_in(composite: Composite, targets: Sequence[Target]) -> OutputRelevance:
    """The output relevance of one target for each row."""
    return output_relevance([ExplanationRequest(composite, target) for target in targets])


def explain(model: nn.Module, x: Tensor, rule: str, parameters: Mapping[str, float] | None = None) -> Tensor:
    composite = resolve(chain_of(model), rule, parameters or {}, ())
    return reference_of(model).attribute(x, composite, random_start).relevance


def everywhere(model: nn.Module, name: str, **parameters: float) -> Composite:
    """A rule for all layers with weights, with parameters that may be out of range."""
    rule = AssignedRule(name, tuple(parameters.items()))
    layers = resolve(chain_of(model), "epsilon", {}, ()).layers
    return Composite(name, (), tuple((n, rule if r.name == "epsilon" else r) for n, r in layers))


# By hand


@pytest.mark.parametrize("rule", oracle.HAND_CALCULATED)
def test_rules_give_the_numbers_computed_by_hand(rule: str) -> None:
    layer = nn.Linear(2, 2).double()
    layer.load_state_dict(
        {"weight": torch.tensor([[1.0, 0.5], [-1.0, 2.0]]), "bias": torch.tensor([0.5, -0.5])}
    )
    model = nn.Sequential(layer)
    parameters, expected = oracle.HAND_CALCULATED[rule]
    composite = resolve(chain_of(model), rule, parameters, ())
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    explanation = reference_of(model, -3.0, 3.0).attribute(x, composite, lambda logits: logits)
    assert explanation.output_relevance.tolist() == [[2.5, 2.5]]
    np.testing.assert_allclose(explanation.relevance[0].numpy(), expected, atol=5e-6)


def test_the_talks_example_is_reproduced() -> None:
    hidden, output = nn.Linear(3, 4, bias=False), nn.Linear(4, 3, bias=False)
    hidden.weight = nn.Parameter(torch.tensor([[0.6, 0.4, 0.0], *[[0.0, 0.0, 1.0]] * 3]))
    contributions = [[0.8, 0.6, 0.2, 0.4], [0.1, 0.3, 0.45, 0.15], [0.5, 0.3, 0.6, 0.6]]  # of 2, 1 and 2
    output.weight = nn.Parameter(torch.tensor(contributions))
    model = nn.Sequential(hidden, output)
    reference, composite = reference_of(model), resolve(chain_of(model), "zero", {}, ())
    expected = {"1": [0.28, 0.27, 0.245, 0.205], "0": [0.168, 0.112, 0.72]}
    for layer, R in expected.items():
        explanation = reference.attribute(torch.ones(1, 3), composite, talks_outputs, layer)
        torch.testing.assert_close(explanation.relevance, torch.tensor([R]))
        assert float(explanation.relevance.sum()) == pytest.approx(1)


def talks_outputs(_: Tensor) -> Tensor:
    return torch.tensor([[0.5, 0.3, 0.2]])


# Against matrix algebra


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rule", [*RULES, *COMPOSITES])
def test_every_rule_and_composite_equals_matrix_algebra_at_every_layer(name: str, rule: str) -> None:
    model = network(name)
    check_against_oracle(model, inputs_for(model), resolve(chain_of(model), rule, {}, ()))


@pytest.mark.parametrize("rule", RULES)
def test_rules_equal_matrix_algebra_on_inputs_without_negative_values(rule: str) -> None:
    model = network("padded with bias")
    check_against_oracle(model, inputs_for(model, batch=1).abs(), resolve(chain_of(model), rule, {}, ()))


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        ("epsilon", {"epsilon": 0.3}),
        ("gamma", {"gamma": 0.0}),
        ("gamma", {"gamma": 10.0}),
        ("alpha_beta", {"alpha": 1.0}),
        ("alpha_beta", {"alpha": 2.3, "beta": 1.3}),
    ],
)
@pytest.mark.parametrize("name", ["padded with bias", "strided with bias"])
def test_rules_equal_matrix_algebra_for_other_parameters(
    name: str, rule: str, parameters: dict[str, float]
) -> None:
    model = network(name)
    check_against_oracle(model, inputs_for(model), resolve(chain_of(model), rule, parameters, ()))


def test_overrides_equal_matrix_algebra() -> None:
    model = network("padded with bias")
    overrides = ["0:w_square", "3:alpha_beta(alpha=3)", "6:gamma"]
    check_against_oracle(
        model, inputs_for(model), resolve(chain_of(model), "epsilon_plus_flat", {}, overrides)
    )


def check_against_oracle(model: nn.Sequential, x: Tensor, composite: Composite) -> None:
    rules = [(rule.name, dict(rule.parameters)) for _, rule in composite.layers]
    reference = reference_of(model)
    explanations = [
        reference.attribute(x, composite, random_start, layer)
        for layer, rule in composite.layers
        if rule.name not in {"pass", "norm"}
    ]
    for row in range(len(x)):
        start = explanations[0].output_relevance[row].numpy()
        expected = oracle.explain(model, x[row].numpy(), rules, start, LOW, HIGH)
        np.testing.assert_allclose(explanations[0].logits[row].numpy(), expected.logits, rtol=1e-10)
        sums = explanations[0].sums[row].tolist()
        scale = max(float(np.abs(R).sum()) for R in expected.relevances)
        np.testing.assert_allclose(
            sums, [R.sum() for R in expected.relevances], rtol=1e-10, atol=1e-10 * scale
        )
        weighted = [
            R for R, (rule, _) in zip(expected.relevances, rules, strict=True) if rule not in {"pass", "norm"}
        ]
        for explanation, R in zip(explanations, weighted, strict=True):
            assert distance(explanation.relevance[row], torch.from_numpy(R)) < 1e-10


def distance(R: Tensor, expected: Tensor) -> float:
    """‖R − R_ref‖ / ‖R_ref‖; infinite for shapes that differ."""
    assert R.shape == expected.shape
    return float((R - expected).norm() / expected.norm())


# Against Zennit's own composites

ZENNIT: Mapping[str, Callable[[], zennit_composites.Composite]] = {
    "epsilon_plus_flat": zennit_composites.EpsilonPlusFlat,
    "epsilon_plus": zennit_composites.EpsilonPlus,
    "epsilon_gamma_box": lambda: zennit_composites.EpsilonGammaBox(torch.tensor(LOW), torch.tensor(HIGH)),
    "epsilon_alpha2_beta1": zennit_composites.EpsilonAlpha2Beta1,
    "epsilon_alpha2_beta1_flat": zennit_composites.EpsilonAlpha2Beta1Flat,
    "epsilon": lambda: on_all_weighted_layers(zennit_rules.Epsilon()),
    "z_plus": lambda: on_all_weighted_layers(zennit_rules.ZPlus()),
    "alpha_beta": lambda: on_all_weighted_layers(zennit_rules.AlphaBeta()),
    "gamma": lambda: on_all_weighted_layers(zennit_rules.Gamma()),
    "w_square": lambda: on_all_weighted_layers(zennit_rules.WSquare()),
    "flat": lambda: on_all_weighted_layers(zennit_rules.Flat()),
}


def on_all_weighted_layers(hook: zennit_rules.Hook) -> zennit_composites.Composite:
    layer_map = [*zennit_composites.layer_map_base(), ((nn.Conv2d, nn.Linear), hook)]
    return zennit_composites.LayerMapComposite(layer_map)


@pytest.mark.parametrize("rule", ZENNIT)
@pytest.mark.parametrize("name", ["dense with bias", "padded with bias", "strided with bias"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_are_identical_to_zennits_own(rule: str, name: str, dtype: torch.dtype) -> None:
    model = network(name).to(dtype)
    x = inputs_for(model).to(dtype)
    expected = zennits(copy.deepcopy(model), x, ZENNIT[rule]())
    assert torch.equal(explain(model, x, rule), expected)


def zennits(model: nn.Module, x: Tensor, composite: zennit_composites.Composite) -> Tensor:
    for layer in model.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    with Gradient(model=model, composite=composite) as attributor:
        _, relevance = attributor(x.clone().requires_grad_(), random_start)
    assert isinstance(relevance, Tensor)
    return relevance


def test_the_served_network_is_explained_as_zennit_does_it() -> None:
    torch.manual_seed(0)
    model = MiniVGG().eval()
    x = torch.randn(2, 3, 32, 32)
    low, high = (
        torch.tensor([-2.0, -1.9, -1.8]).view(1, 3, 1, 1),
        torch.tensor([2.0, 1.9, 1.8]).view(1, 3, 1, 1),
    )
    expected = zennits(copy.deepcopy(model), x, zennit_composites.EpsilonGammaBox(low, high))
    composite = resolve(chain_of(model), "epsilon_gamma_box", {}, ())
    explanation = Reference(graph_of(model), low, high).attribute(x, composite, random_start)
    assert torch.equal(explanation.relevance, expected)


# Against Captum, where the two define the same


@pytest.mark.parametrize(
    ("rule", "parameters", "captums"),
    [
        ("epsilon", {"epsilon": 1e-2}, lambda: EpsilonRule(1e-2)),
        ("gamma", {"gamma": 0.25}, lambda: GammaRule(0.25)),
        ("z_plus", {}, Alpha1_Beta0_Rule),
    ],
)
def test_captum_agrees_where_inputs_are_not_negative_and_there_is_no_bias(
    rule: str, parameters: dict[str, float], captums: Callable[[], PropagationRule]
) -> None:
    model, x = network("padded without bias"), inputs_for(network("padded without bias"), batch=1).abs()
    theirs = copy.deepcopy(model)  # Captum modifies it
    for layer in theirs:
        if isinstance(layer, nn.Flatten):
            layer.rule = EpsilonRule(1e-15)  # it has no rule for Flatten
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.rule = captums()
    target = int(model(x).argmax())
    expected = LRP(theirs).attribute(x.clone().requires_grad_(), target=target).detach()
    composite = resolve(chain_of(model), rule, parameters, ())
    ours = (
        reference_of(model)
        .attribute(x, composite, put_in(composite, [Target(target, start=Start.LOGIT)]))
        .relevance
    )
    assert distance(ours, expected) < 1e-4  # its stabilizer is 1e-9, Zennit's 1e-6


# Identities


@pytest.mark.parametrize("name", ["dense with bias", "padded with bias"])
def test_lrp_0_is_input_times_gradient(name: str) -> None:
    model = network(name)
    x = inputs_for(model).requires_grad_()
    logits = model(x)
    weights = random_start(logits)
    (gradient,) = torch.autograd.grad(logits, x, weights)
    composite = resolve(chain_of(model), "zero", {}, ())
    relevance = reference_of(model).attribute(x, composite, lambda z: weights * z).relevance
    torch.testing.assert_close(relevance, (x * gradient).detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["dense with bias", "padded with bias"])
def test_what_lrp_0_does_not_give_to_the_input_is_what_biases_contribute(name: str) -> None:
    model = network(name)
    x = inputs_for(model, batch=1)
    biases = [parameter for key, parameter in model.named_parameters() if key.endswith("bias")]
    logit = model(x)[0, 1]
    contributed = sum((b * g).sum() for b, g in zip(biases, torch.autograd.grad(logit, biases), strict=True))
    composite = resolve(chain_of(model), "zero", {}, ())
    explanation = reference_of(model).attribute(
        x, composite, put_in(composite, [Target(1, start=Start.LOGIT)])
    )
    torch.testing.assert_close(explanation.relevance.sum() + contributed, logit, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rule", [*RULES, *COMPOSITES])
def test_relevance_is_linear_in_what_is_put_in(rule: str) -> None:
    model = network("padded with bias")
    x, composite = inputs_for(model), resolve(chain_of(model), rule, {}, ())
    reference = reference_of(model)
    cat, dog, rather = (
        reference.attribute(x, composite, put_in(composite, [target] * len(x))).relevance
        for target in (Target(3), Target(1), Target(3, versus=1))
    )
    torch.testing.assert_close(rather, cat - dog, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["dense without bias", "padded without bias"])
def test_without_biases_a_vanishing_epsilon_conserves(name: str) -> None:
    model = network(name)
    composite = everywhere(model, "epsilon", epsilon=1e-15)
    explanation = reference_of(model).attribute(inputs_for(model), composite, random_start)
    for total in explanation.sums.T:
        torch.testing.assert_close(total, explanation.output_relevance.sum(1), rtol=1e-9, atol=1e-9)


def test_lrp_0_gives_nothing_where_an_output_is_zero() -> None:
    model = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
    model[0].weight = nn.Parameter(torch.tensor([[1.0, -1.0]], dtype=torch.float64))
    x = torch.ones(1, 2, dtype=torch.float64)
    explanation = reference_of(model).attribute(x, resolve(chain_of(model), "zero", {}, ()), torch.ones_like)
    assert explanation.relevance.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("rule", [*RULES, *COMPOSITES])
def test_a_black_picture_and_dead_units_give_finite_relevance(rule: str) -> None:
    model = network("padded without bias").float()
    x = torch.zeros(1, 2, 6, 6)
    assert explain(model, x, rule).isfinite().all()


# Batches, output relevance and layers


@pytest.mark.parametrize("rule", [*RULES, *COMPOSITES])
def test_each_row_of_a_batch_is_explained_as_if_alone(rule: str) -> None:
    model = network("padded with bias")
    x, composite = inputs_for(model, batch=3), resolve(chain_of(model), rule, {}, ())
    targets = [Target(), Target(2, versus=0), Target(1, start=Start.PROBABILITY)]
    together = reference_of(model).attribute(x, composite, put_in(composite, targets), "3")
    for row, target in enumerate(targets):
        alone = reference_of(model).attribute(x[row : row + 1], composite, put_in(composite, [target]), "3")
        torch.testing.assert_close(together.relevance[row], alone.relevance[0], rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(
            together.output_relevance[row], alone.output_relevance[0], rtol=1e-10, atol=1e-14
        )


def test_starts_are_one_the_logit_or_the_probability() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0]] * 5)
    probabilities = logits[0].softmax(0)
    start = put_in(
        everywhere(network("dense with bias"), "epsilon"),
        [
            Target(),
            Target(0, start=Start.LOGIT),
            Target(start=Start.PROBABILITY),
            Target(2, versus=0),
            Target(2, versus=1, start=Start.LOGIT),
        ],
    )(logits)
    expected = [[0, 1, 0], [1, 0, 0], [0, float(probabilities[1]), 0], [-1, 0, 1], [0, -3, 2]]
    torch.testing.assert_close(start, torch.tensor(expected))


def test_as_many_targets_as_rows_are_needed() -> None:
    with pytest.raises(ValueError, match="1 requests for 2 rows"):
        put_in(everywhere(network("dense with bias"), "epsilon"), [Target()])(torch.zeros(2, 3))


def test_relevance_is_shaped_like_the_input_of_the_requested_layer() -> None:
    model = MiniVGG()
    reference, composite = reference_of(model), resolve(chain_of(model), "epsilon_plus_flat", {}, ())
    x = torch.zeros(2, 3, 32, 32)
    shapes = {
        layer: reference.attribute(
            x, composite, put_in(composite, [Target()] * len(x)), layer
        ).relevance.shape
        for layer in (None, "features.0", "features.3", "classifier.0", "classifier.4")
    }
    assert shapes == {
        None: (2, 3, 32, 32),
        "features.0": (2, 3, 32, 32),
        "features.3": (2, 32, 32, 32),
        "classifier.0": (2, 128, 8, 8),
        "classifier.4": (2, 256),
    }


def test_sums_name_every_layer_and_total_what_arrives_there() -> None:
    model = network("padded with bias")
    x, composite = inputs_for(model), resolve(chain_of(model), "epsilon_plus_flat", {}, ())
    explanation = reference_of(model).attribute(x, composite, random_start)
    assert explanation.layers == tuple(str(i) for i in range(7))
    for name, total in zip(explanation.layers, explanation.sums.T, strict=True):
        at_layer = reference_of(model).attribute(x, composite, random_start, name).relevance
        torch.testing.assert_close(total, at_layer.flatten(1).sum(1))


def test_an_unknown_layer_is_refused_by_name() -> None:
    model = network("dense with bias")
    with pytest.raises(InvalidParameterError, match=r"no layer 'conv'; there are 0, 1, 2") as caught:
        reference_of(model).attribute(
            inputs_for(model), resolve(chain_of(model), "zero", {}, ()), random_start, "conv"
        )
    assert caught.value.parameter == "layer"


def test_bounds_go_through_the_layers_below_the_first_weighted_one() -> None:
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(8, 3)).double()
    low, high = torch.tensor([-1.0, -2.0]).view(1, 2, 1, 1), torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    x = torch.rand(2, 2, 2, 2, dtype=torch.float64)
    composite = resolve(chain_of(flat, 2, 2, 2), "z_box", {}, ())
    ours = Reference(graph_of(flat, 2, 2, 2), low, high).attribute(x, composite, random_start).relevance
    wide = Reference(
        graph_of(nn.Sequential(flat[1])),
        low.expand(1, 2, 2, 2).flatten(1),
        high.expand(1, 2, 2, 2).flatten(1),
    )
    renamed = Composite("z_box", (), (("0", AssignedRule("z_box")),))
    expected = wide.attribute(x.flatten(1), renamed, random_start).relevance
    assert torch.equal(ours.flatten(1), expected)


def test_a_relu_that_stands_in_two_places_is_two_layers() -> None:
    torch.manual_seed(0)
    relu = nn.ReLU()
    layers = [nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 4)]
    shared = nn.Sequential(layers[0], relu, layers[1], relu, layers[2]).double()
    x = inputs_for(shared)
    own = copy.deepcopy(shared)
    own[3] = nn.ReLU()
    assert torch.equal(explain(shared, x, "epsilon"), explain(own, x, "epsilon"))


# Nothing stays behind


def test_the_callers_model_is_never_touched() -> None:
    model = network("padded with bias").train()
    before = copy.deepcopy(model.state_dict())
    x = inputs_for(model)
    copied = x.clone()
    for rule in [*RULES, *COMPOSITES]:
        explain(model, x, rule)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(layer.training for layer in model)
    assert model[1].inplace
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(x, copied)
    assert not x.requires_grad


def test_dropout_is_off_though_the_model_is_in_training() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.9), nn.Linear(6, 4)).double().train()
    x = inputs_for(model)
    assert torch.equal(explain(model, x, "epsilon"), explain(model, x, "epsilon"))


def fail(*_: object) -> Tensor:
    raise RuntimeError("on purpose")


def test_after_an_exception_between_the_passes_the_next_request_is_clean() -> None:
    model = network("padded with bias")
    reference, composite = reference_of(model), resolve(chain_of(model), "alpha_beta", {}, ())
    with pytest.raises(RuntimeError, match="on purpose"):
        reference.attribute(inputs_for(model), composite, fail)
    check_clean(model, reference)


def test_after_an_exception_in_the_backward_pass_the_next_request_is_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network("padded with bias")
    reference, composite = reference_of(model), resolve(chain_of(model), "alpha_beta", {}, ())
    monkeypatch.setattr(zennit_core.Stabilizer, "__call__", fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        reference.attribute(inputs_for(model), composite, random_start)
    monkeypatch.undo()
    check_clean(model, reference)


def test_after_an_exception_while_hooks_are_registered_the_next_request_is_clean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network("padded with bias")
    reference, composite = reference_of(model), resolve(chain_of(model), "alpha_beta", {}, ())
    monkeypatch.setattr(zennit_rules.Pass, "register", fail)  # the second layer, a ReLU, has it
    with pytest.raises(RuntimeError, match="on purpose"):
        reference.attribute(inputs_for(model), composite, random_start)
    monkeypatch.undo()
    check_clean(model, reference)


def check_clean(model: nn.Module, reference: Reference) -> None:
    """Assert that ``reference`` has no hooks and computes what a new one does."""
    assert hooks_of(reference) == 0
    x, composite = inputs_for(network("padded with bias")), resolve(chain_of(model), "z_plus", {}, ())
    again = reference.attribute(x, composite, random_start)
    assert torch.equal(again.relevance, reference_of(model).attribute(x, composite, random_start).relevance)
    assert torch.equal(again.logits, model(x).detach())


def hooks_of(reference: Reference) -> int:
    return sum(
        len(hooks)
        for layer in reference._modules.values()
        for hooks in (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks)
    )


def test_no_hook_stays_after_an_explanation() -> None:
    model = network("padded with bias")
    reference = reference_of(model)
    reference.attribute(inputs_for(model), resolve(chain_of(model), "gamma", {}, ()), random_start)
    assert hooks_of(reference) == 0


def test_it_works_where_gradients_are_off_and_returns_plain_tensors() -> None:
    model = network("padded with bias")
    x, composite = inputs_for(model), resolve(chain_of(model), "epsilon_plus_flat", {}, ())
    reference = reference_of(model)
    expected = reference.attribute(x, composite, random_start).relevance
    for off in (torch.no_grad, torch.inference_mode):
        with off():
            explanation = reference.attribute(x * 1, composite, random_start)
        assert torch.equal(explanation.relevance, expected)
        assert not any(tensor.requires_grad for tensor in tensors_of(explanation))


def tensors_of(explanation: Attribution) -> list[Tensor]:
    return [
        getattr(explanation, name) for name in ("logits", "output_relevance", "relevance", "extremes", "sums")
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_of_the_model_is_used() -> None:
    model = network("padded with bias")
    x, composite = inputs_for(model), resolve(chain_of(model), "epsilon_gamma_box", {}, ())
    expected = reference_of(model).attribute(x, composite, random_start).relevance
    on_device = reference_of(model.cuda()).attribute(x.cuda(), composite, random_start)
    assert on_device.relevance.is_cuda
    assert distance(on_device.relevance.cpu(), expected) < 1e-10
