"""Which layer gets which rule, and what is said to those who ask for what is not there."""

import math

import pytest
import torch
from torch import nn
from zennit import composites as zennit_composites
from zennit import rules as zennit_rules

from app.errors import InvalidParameterError
from app.lrp.composites import COMPOSITES, RULES, Composite, Rule, leaf_layers, resolve
from app.models.minivgg import MiniVGG

ZENNIT_COMPOSITES = {
    "epsilon_plus_flat": zennit_composites.EpsilonPlusFlat,
    "epsilon_plus": zennit_composites.EpsilonPlus,
    "epsilon_gamma_box": lambda: zennit_composites.EpsilonGammaBox(low=-1.0, high=1.0),
    "epsilon_alpha2_beta1": zennit_composites.EpsilonAlpha2Beta1,
    "epsilon_alpha2_beta1_flat": zennit_composites.EpsilonAlpha2Beta1Flat,
}
ZENNIT_RULES = {
    zennit_rules.Epsilon: "epsilon",
    zennit_rules.ZPlus: "z_plus",
    zennit_rules.AlphaBeta: "alpha_beta",
    zennit_rules.Gamma: "gamma",
    zennit_rules.ZBox: "z_box",
    zennit_rules.Flat: "flat",
    zennit_rules.Norm: "norm",
    zennit_rules.Pass: "pass",
    type(None): "pass",
}
CONV_FIRST = nn.Sequential(
    nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.AvgPool2d(2)),
    nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2)),
)
DENSE_FIRST = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
WEIGHTED = ("features.0", "features.3", "features.6", "features.9", "classifier.1", "classifier.4")


@pytest.fixture(scope="module")
def vgg() -> MiniVGG:
    return MiniVGG()


def rules_of(composite: Composite) -> dict[str, Rule]:
    return dict(composite.layers)


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("model", [CONV_FIRST, DENSE_FIRST, MiniVGG()], ids=["conv", "dense", "vgg"])
def test_every_layer_gets_the_rule_that_zennits_composite_gives_it(name: str, model: nn.Module) -> None:
    zennits, context = ZENNIT_COMPOSITES[name](), {}  # type: ignore[var-annotated] # Zennit's own notes
    expected = {
        layer_name: ZENNIT_RULES[type(zennits.module_map(context, layer_name, layer))]
        for layer_name, layer in leaf_layers(model)
    }
    composite = resolve(model, name, {}, ())
    assert {layer_name: rule.name for layer_name, rule in composite.layers} == expected


def test_layers_stand_in_the_order_in_which_they_run(vgg: MiniVGG) -> None:
    names = [name for name, _ in resolve(vgg, "epsilon", {}, ()).layers]
    assert names == [*(f"features.{i}" for i in range(12)), *(f"classifier.{i}" for i in range(5))]


def test_a_layer_that_stands_in_two_places_is_named_twice() -> None:
    relu = nn.ReLU()
    chain = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)
    assert [name for name, _ in leaf_layers(chain)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("rule", set(RULES) - {"z_box"})
def test_a_single_rule_goes_to_every_weighted_layer(vgg: MiniVGG, rule: str) -> None:
    rules = rules_of(resolve(vgg, rule, {}, ()))
    assert {name for name, given in rules.items() if given.name == rule} == set(WEIGHTED)


def test_z_box_for_all_layers_is_the_deep_taylor_decomposition(vgg: MiniVGG) -> None:
    rules = rules_of(resolve(vgg, "z_box", {}, ()))
    assert [rules[name].name for name in WEIGHTED] == ["z_box", *["z_plus"] * 5]


def test_a_composites_parameters_reach_the_rules_that_take_them(vgg: MiniVGG) -> None:
    composite = resolve(vgg, "epsilon_gamma_box", {"gamma": 0.5, "epsilon": 0.1}, ())
    rules = rules_of(composite)
    assert dict(composite.parameters) == {"epsilon": 0.1, "gamma": 0.5}
    assert rules["features.3"] == Rule("gamma", (("gamma", 0.5),))
    assert rules["classifier.1"].parameter("epsilon") == 0.1
    assert rules["features.0"] == Rule("z_box")


def test_defaults_are_those_of_zennit(vgg: MiniVGG) -> None:
    composite = resolve(vgg, "epsilon_gamma_box", {}, ())
    assert dict(composite.parameters) == {"epsilon": 1e-6, "gamma": 0.25}
    assert dict(resolve(vgg, "alpha_beta", {}, ()).parameters) == {"alpha": 2.0, "beta": 1.0}


def test_equal_questions_give_equal_composites_that_can_be_cache_keys(vgg: MiniVGG) -> None:
    first = resolve(vgg, "epsilon_plus_flat", {"epsilon": 1e-6}, ())
    assert {first: "kept"}[resolve(MiniVGG(), "epsilon_plus_flat", {}, ())] == "kept"
    assert first != resolve(vgg, "epsilon_plus_flat", {"epsilon": 1e-5}, ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"alpha": 3.0}, {"alpha": 3.0, "beta": 2.0}),
        ({"beta": 0.0}, {"alpha": 1.0, "beta": 0.0}),
        ({"beta": 0.5}, {"alpha": 1.5, "beta": 0.5}),
        ({"alpha": 2.3, "beta": 1.3}, {"alpha": 2.3, "beta": 1.3}),
    ],
)
def test_alpha_and_beta_follow_from_each_other(
    vgg: MiniVGG, given: dict[str, float], expected: dict[str, float]
) -> None:
    assert dict(resolve(vgg, "alpha_beta", given, ()).parameters) == expected


@pytest.mark.parametrize(
    ("rule", "parameters", "at_fault", "words"),
    [
        ("lrp", {}, "rule", "epsilon_plus_flat"),
        ("epsilon", {"gamma": 0.5}, "gamma", "takes epsilon"),
        ("flat", {"epsilon": 0.5}, "epsilon", "takes no parameters"),
        ("epsilon_alpha2_beta1", {"alpha": 3.0}, "alpha", "takes epsilon"),
        ("epsilon", {"epsilon": 0.0}, "epsilon", "from 1e-12"),
        ("epsilon", {"epsilon": -1.0}, "epsilon", "-1 is not allowed"),
        ("epsilon", {"epsilon": math.nan}, "epsilon", "nan is not allowed"),
        ("epsilon", {"epsilon": math.inf}, "epsilon", "inf is not allowed"),
        ("gamma", {"gamma": -0.1}, "gamma", "from 0"),
        ("alpha_beta", {"alpha": 0.5}, "alpha", "from 1"),
        ("alpha_beta", {"beta": -0.5}, "beta", "from 0"),
        ("alpha_beta", {"alpha": 2.0, "beta": 2.0}, "alpha", "must be 1"),
    ],
)
def test_what_a_rule_does_not_take_is_refused_by_name(
    vgg: MiniVGG, rule: str, parameters: dict[str, float], at_fault: str, words: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        resolve(vgg, rule, parameters, ())
    assert caught.value.parameter == at_fault
    assert words in caught.value.message


def test_overrides_go_to_the_weighted_layers_that_match_and_the_last_wins(vgg: MiniVGG) -> None:
    overrides = ["features.*:gamma(gamma=0.5)", "features.0:w_square", "classifier.4 : zero".replace(" ", "")]
    rules = rules_of(resolve(vgg, "epsilon_plus_flat", {"epsilon": 0.1}, overrides))
    assert [rules[name].name for name in WEIGHTED] == ["w_square", *["gamma"] * 3, "epsilon", "zero"]
    assert rules["features.3"].parameter("gamma") == 0.5
    assert rules["classifier.1"].parameter("epsilon") == 0.1
    assert rules["features.1"] == Rule("pass")


def test_an_override_has_the_defaults_of_its_rule(vgg: MiniVGG) -> None:
    rules = rules_of(resolve(vgg, "epsilon", {"epsilon": 0.1}, ["features.3:alpha_beta(beta=0)"]))
    assert dict(rules["features.3"].parameters) == {"alpha": 1.0, "beta": 0.0}
    rules = rules_of(resolve(vgg, "epsilon", {"epsilon": 0.1}, ["features.3:epsilon"]))
    assert rules["features.3"].parameter("epsilon") == 1e-6


def test_the_pixel_layer_can_be_given_z_box(vgg: MiniVGG) -> None:
    assert rules_of(resolve(vgg, "epsilon_plus", {}, ["features.0:z_box"]))["features.0"] == Rule("z_box")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("features.0", "write LAYER:RULE"),
        ("", "write LAYER:RULE"),
        (":flat", "write LAYER:RULE"),
        ("features.0:gamma(gamma=0.5", "write LAYER:RULE"),
        ("features.0:nonsense", "no rule 'nonsense'"),
        ("features.0:epsilon_plus", "no rule 'epsilon_plus'"),
        ("head.*:flat", "no layer with weights matches; there are features.0"),
        ("features.1:flat", "no layer with weights matches"),
        ("features.0:flat(gamma=1)", "takes no parameters"),
        ("features.0:gamma(gamma=-1)", "-1 is not allowed"),
        ("features.0:gamma(gamma=nan)", "nan is not allowed"),
        ("features.0:gamma(gamma)", "does not give a number"),
        ("features.0:gamma(gamma=much)", "does not give a number"),
        ("features.0:alpha_beta(alpha=1,beta=1)", "must be 1"),
        ("features.3:z_box", "it can be given to features.0"),
        ("features.*:z_box", "it can be given to features.0"),
    ],
)
def test_an_override_that_cannot_be_followed_is_refused(vgg: MiniVGG, override: str, words: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        resolve(vgg, "epsilon_plus_flat", {}, [override])
    assert caught.value.parameter == "layers"
    assert words in caught.value.message
    assert repr(override) in caught.value.message


def test_every_rule_and_composite_can_be_asked_for_with_its_defaults(vgg: MiniVGG) -> None:
    for name, info in {**RULES, **COMPOSITES}.items():
        assert info.name == name
        defaults = {parameter.name: parameter.default for parameter in info.parameters}
        assert dict(resolve(vgg, name, defaults, ()).parameters) == defaults


def test_the_ends_of_every_range_are_finite_in_float32() -> None:
    for info in RULES.values():
        for parameter in info.parameters:
            assert parameter.admits(parameter.maximum)
            assert parameter.admits(parameter.minimum) is not parameter.exclusive_minimum
            ends = torch.tensor([parameter.minimum, parameter.maximum, 1 / parameter.maximum])
            assert ends.isfinite().all()
