"""Which layer gets which rule, and the errors for rules, parameters and overrides that are not valid."""

import time
from contextlib import suppress

import pytest
import torch
from torch import nn
from tracing import traced

from app.errors import InvalidParameterError
from app.lrp.composites import COMPOSITES, Composite, definitions, resolve, rule_parameters
from app.lrp.definition import Definition
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.overrides import MAX_OVERRIDES
from app.lrp.rules import RULES, AssignedRule, Rule
from app.lrp.terms import Source
from app.models.architectures.minivgg import MiniVGG

CONVOLUTIONS = ("features.0", "features.3", "features.6", "features.9")
DENSE = ("classifier.1", "classifier.4")
WEIGHTED = (*CONVOLUTIONS, *DENSE)
EVERYTHING = definitions()

EPSILON = AssignedRule("epsilon", (("epsilon", 1e-6),))
GAMMA = AssignedRule("gamma", (("gamma", 0.25),))
ALPHA_BETA = AssignedRule("alpha_beta", (("alpha", 2.0), ("beta", 1.0)))
Z_PLUS, FLAT, Z_BOX = AssignedRule("z_plus"), AssignedRule("flat"), AssignedRule("z_box")


@pytest.fixture(scope="module")
def model() -> TracedModel:
    return traced(MiniVGG(), 3, 32, 32)


@pytest.fixture(scope="module")
def dense_only() -> TracedModel:
    return traced(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), 2, 2)


def rules_of(composite: Composite) -> dict[str, AssignedRule]:
    return {name: rule for name, rule in composite.layers if name in WEIGHTED}


@pytest.mark.parametrize(
    ("composite", "first", "convolution"),
    [
        ("epsilon_plus_flat", FLAT, Z_PLUS),
        ("epsilon_plus", Z_PLUS, Z_PLUS),
        ("epsilon_gamma_box", Z_BOX, GAMMA),
        ("epsilon_alpha2_beta1", ALPHA_BETA, ALPHA_BETA),
        ("epsilon_alpha2_beta1_flat", FLAT, ALPHA_BETA),
    ],
)
def test_composites_give_rules_by_kind_of_layer(
    model: TracedModel, composite: str, first: AssignedRule, convolution: AssignedRule
) -> None:
    expected = (
        dict.fromkeys(CONVOLUTIONS, convolution) | {"features.0": first} | dict.fromkeys(DENSE, EPSILON)
    )

    assert rules_of(resolve(kinds(model.graph), composite, {}, [])) == expected


@pytest.mark.parametrize(
    ("composite", "first"),
    [
        ("epsilon_plus_flat", FLAT),
        ("epsilon_plus", EPSILON),
        ("epsilon_gamma_box", EPSILON),
        ("epsilon_alpha2_beta1", EPSILON),
        ("epsilon_alpha2_beta1_flat", FLAT),
    ],
)
def test_a_first_dense_layer_gets_its_own_rule(
    dense_only: TracedModel, composite: str, first: AssignedRule
) -> None:
    assigned = dict(resolve(kinds(dense_only.graph), composite, {}, []).layers)

    assert (assigned["1"], assigned["3"]) == (first, EPSILON)


@pytest.mark.parametrize("name", [name for name in RULES if name != "z_box"])
def test_a_single_rule_goes_to_every_layer_with_weights(model: TracedModel, name: str) -> None:
    assigned = rules_of(resolve(kinds(model.graph), name, {}, []))

    assert {rule.name for rule in assigned.values()} == {name}
    assert tuple(assigned) == WEIGHTED


def test_z_box_for_all_layers_is_z_plus_above_the_pixels(model: TracedModel) -> None:
    assigned = rules_of(resolve(kinds(model.graph), "z_box", {}, []))

    assert assigned == dict.fromkeys(WEIGHTED, Z_PLUS) | {"features.0": Z_BOX}


def test_layers_without_weights_pass_relevance_on_and_averages_normalise() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 1, 1),
        nn.ReLU(),
        nn.MaxPool2d(1),
        nn.AvgPool2d(1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )

    assigned = dict(resolve(kinds(traced(net, 1, 2, 2).graph), "zero", {}, []).layers)

    assert [assigned[name].name for name in "012345"] == ["zero", "pass", "pass", "norm", "norm", "pass"]


def test_every_layer_is_listed_in_the_order_in_which_it_runs(model: TracedModel) -> None:
    names = [name for name, _ in resolve(kinds(model.graph), "zero", {}, []).layers]

    assert names == [*(f"features.{i}" for i in range(12)), *(f"classifier.{i}" for i in range(5))]


def test_a_layer_that_stands_in_two_places_is_listed_twice() -> None:
    relu = nn.ReLU()
    net = nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)

    names = [name for name, _ in kinds(traced(net, 2).graph)]

    assert len(set(names)) == len(names) == 4
    assert names[:3] == ["0", "1", "2"]


def test_parameters_reach_the_layers_whose_rule_takes_them(model: TracedModel) -> None:
    assigned = rules_of(resolve(kinds(model.graph), "epsilon_gamma_box", {"epsilon": 0.5, "gamma": 2.0}, []))

    assert assigned["classifier.1"] == AssignedRule("epsilon", (("epsilon", 0.5),))
    assert assigned["features.3"] == AssignedRule("gamma", (("gamma", 2.0),))
    assert assigned["features.0"] == Z_BOX


def test_a_composite_states_its_parameters_with_their_defaults(model: TracedModel) -> None:
    assert resolve(kinds(model.graph), "epsilon_gamma_box", {"gamma": 1.0}, []).parameters == (
        ("epsilon", 1e-6),
        ("gamma", 1.0),
    )


def test_an_override_changes_one_layer_and_leaves_the_rest(model: TracedModel) -> None:
    plain = rules_of(resolve(kinds(model.graph), "epsilon_plus_flat", {}, []))

    changed = rules_of(resolve(kinds(model.graph), "epsilon_plus_flat", {}, ["features.3:gamma(gamma=0.5)"]))

    assert changed == plain | {"features.3": AssignedRule("gamma", (("gamma", 0.5),))}


def test_a_pattern_reaches_all_layers_that_match_and_only_those_with_weights(model: TracedModel) -> None:
    composite = resolve(kinds(model.graph), "epsilon_plus_flat", {}, ["features.*:w_square"])

    assert {name for name, rule in composite.layers if rule == AssignedRule("w_square")} == set(CONVOLUTIONS)


def test_the_last_of_several_overrides_wins(model: TracedModel) -> None:
    assigned = rules_of(
        resolve(kinds(model.graph), "zero", {}, ["features.*:flat", "features.6:gamma", "*.9:epsilon"])
    )

    assert [assigned[name] for name in CONVOLUTIONS] == [FLAT, FLAT, GAMMA, EPSILON]


def test_an_override_takes_several_parameters_and_spaces(model: TracedModel) -> None:
    assigned = rules_of(
        resolve(kinds(model.graph), "zero", {}, ["features.3:alpha_beta( alpha = 3 , beta = 2 )"])
    )

    assert assigned["features.3"] == AssignedRule("alpha_beta", (("alpha", 3.0), ("beta", 2.0)))


def test_the_pixel_rule_may_be_given_to_the_first_layer(model: TracedModel) -> None:
    assert rules_of(resolve(kinds(model.graph), "zero", {}, ["features.0:z_box"]))["features.0"] == Z_BOX


@pytest.mark.parametrize(
    ("given", "alpha", "beta"),
    [
        ({}, 2.0, 1.0),
        ({"alpha": 3.0}, 3.0, 2.0),
        ({"beta": 0.5}, 1.5, 0.5),
        ({"alpha": 1.0}, 1.0, 0.0),
        ({"alpha": 1.3, "beta": 0.3}, 1.3, 0.3),
        ({"alpha": 2.3, "beta": 1.3}, 2.3, 1.3),
    ],
)
def test_alpha_and_beta_are_completed_to_differ_by_1(
    model: TracedModel, given: dict[str, float], alpha: float, beta: float
) -> None:
    composite = resolve(kinds(model.graph), "alpha_beta", given, [])

    assert dict(composite.parameters) == pytest.approx({"alpha": alpha, "beta": beta}, rel=1e-12)
    assert dict(composite.layers)["features.3"].parameters == composite.parameters


WRONG: list[tuple[str, dict[str, float], list[str], str, str]] = [
    ("lrp", {}, [], "rule", "there is no 'lrp'.*epsilon_plus_flat.*z_plus"),
    ("", {}, [], "rule", "composites"),
    ("norm", {}, [], "rule", "there is no 'norm'"),
    ("epsilon", {"gamma": 1.0}, [], "gamma", "epsilon takes epsilon; leave gamma out"),
    ("z_plus", {"epsilon": 1.0}, [], "epsilon", "z_plus takes no parameters"),
    ("epsilon_plus", {"alpha": 1.0}, [], "alpha", "takes epsilon"),
    ("epsilon", {"epsilon": 0.0}, [], "epsilon", "0 is not allowed; a number from 1e-12 up to 1e"),
    ("epsilon", {"epsilon": float("nan")}, [], "epsilon", "nan is not allowed"),
    ("epsilon", {"epsilon": float("inf")}, [], "epsilon", "inf is not allowed"),
    ("gamma", {"gamma": -0.1}, [], "gamma", "-0.1 is not allowed; a number from 0 up to 1000"),
    ("gamma", {"gamma": 1001.0}, [], "gamma", "not allowed"),
    ("alpha_beta", {"alpha": 0.5}, [], "alpha", "from 1 up to 100"),
    ("alpha_beta", {"beta": -1.0}, [], "beta", "from 0 up to 99"),
    ("alpha_beta", {"alpha": 2.0, "beta": 2.0}, [], "alpha", "alpha − beta must be 1, and 2 − 2 is not"),
    ("zero", {}, ["features.0"], "layers", "write LAYER:RULE"),
    ("zero", {}, ["features.0:gamma(gamma=1"], "layers", "write LAYER:RULE"),
    ("zero", {}, ["features.0:magic"], "layers", "no rule 'magic'.*there are zero"),
    ("zero", {}, ["features.0:epsilon_plus"], "layers", "no rule 'epsilon_plus' for a layer"),
    ("zero", {}, ["body.*:gamma"], "layers", "no layer with weights matches; there are features.0"),
    ("zero", {}, ["features.1:gamma"], "layers", "no layer with weights matches"),
    ("zero", {}, ["features.*:z_box"], "layers", "pixel layer.*features.0"),
    ("zero", {}, ["features.3:z_box"], "layers", "pixel layer"),
    ("zero", {}, ["features.0:gamma(gamma=much)"], "layers", "'gamma=much' does not give a number"),
    ("zero", {}, ["features.0:gamma(0.5)"], "layers", "write name=value"),
    ("zero", {}, ["features.0:gamma(epsilon=1)"], "layers", "gamma takes gamma; leave epsilon out"),
    ("zero", {}, ["features.0:gamma(gamma=-1)"], "layers", "-1 is not allowed"),
    ("zero", {}, ["features.0:alpha_beta(alpha=3, beta=3)"], "layers", "alpha − beta must be 1"),
    ("zero", {}, ["features.0:gamma(gamma=1, gamma=2)"], "layers", "gamma is given twice"),
    ("zero", {}, ["features.0:zero" + " " * 90], "layers", "105 characters are over 100"),
    ("zero", {}, ["[" * 30_000 + ":zero"], "layers", "characters are over 100"),
    ("zero", {}, ["*a" * 9 + ":zero"], "layers", "more than 8 wildcards"),
    ("zero", {}, ["features.0:zero"] * 33, "layers", "33 overrides are over 32"),
]


@pytest.mark.parametrize(("rule", "parameters", "overrides", "culprit", "message"), WRONG)
def test_errors_name_the_parameter_and_say_what_is_possible(
    model: TracedModel,
    rule: str,
    parameters: dict[str, float],
    overrides: list[str],
    culprit: str,
    message: str,
) -> None:
    with pytest.raises(InvalidParameterError, match=message) as caught:
        resolve(kinds(model.graph), rule, parameters, overrides)

    assert caught.value.parameter == culprit


@pytest.mark.parametrize(
    "glob", ["*a" * 8, "[!a]*" * 4, "?" * 8 + "a" * 80, "*" * 8 + "b" * 80, "[a-z&&||~~--]*"]
)
def test_the_worst_globs_take_no_time(model: TracedModel, glob: str) -> None:
    worst = [f"{str(i) * (i % 3)}{glob}:zero" for i in range(MAX_OVERRIDES - 1)]

    started = time.perf_counter()
    for override in worst:
        with suppress(InvalidParameterError):
            resolve(kinds(model.graph), "zero", {}, [override])

    assert time.perf_counter() - started < 0.5  # a hundred times what they take


def test_an_error_in_an_override_quotes_it(model: TracedModel) -> None:
    with pytest.raises(InvalidParameterError, match=r"'features\.3:magic'"):
        resolve(kinds(model.graph), "zero", {}, ["features.0:gamma", "features.3:magic"])


@pytest.mark.parametrize("info", EVERYTHING, ids=lambda info: info.name)
def test_every_rule_and_composite_is_fully_described(info: Definition) -> None:
    assert all((info.title, info.formula, info.when, info.source))
    assert all(parameter.description for parameter in info.parameters)


@pytest.mark.parametrize("info", EVERYTHING, ids=lambda info: info.name)
def test_every_default_is_within_its_own_range(info: Definition) -> None:
    assert all(parameter.admits(parameter.default) for parameter in info.parameters)


def test_the_tables_are_keyed_by_name_and_share_none() -> None:
    assert all(name == info.name for table in (RULES, COMPOSITES) for name, info in table.items())
    assert not RULES.keys() & COMPOSITES.keys()


def test_composites_are_made_of_rules_of_the_table() -> None:
    roles = [info.roles for info in COMPOSITES.values()]
    named = {name for role in roles for name in (role.dense, role.convolution, role.first_dense)}
    assert named | {role.first_convolution for role in roles} <= set(RULES)


def test_a_name_means_one_parameter_wherever_it_is_taken() -> None:
    names = [parameter.name for parameter in rule_parameters()]
    assert sorted(set(names)) == sorted(names)
    assert all(parameter.admits(parameter.example) and parameter.query for parameter in rule_parameters())


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_rules_that_read_their_input_have_no_constant_term(rule: Rule) -> None:
    """Zero inputs of such a rule get no relevance, and the engine leaves them out."""
    terms = rule.terms(torch.ones(2, 2), torch.ones(2), **rule.complete({}))
    sources = {part.source for term in terms for part in term.parts}
    assert rule.reads_input == sources.isdisjoint({Source.ONES, Source.LOW, Source.HIGH})


def test_equal_requests_give_equal_composites_that_hash_alike(model: TracedModel) -> None:
    one, other = (
        resolve(kinds(model.graph), "epsilon_gamma_box", given, ["features.3:flat"])
        for given in ({"epsilon": 0.1, "gamma": 1.0}, {"gamma": 1.0, "epsilon": 0.1})
    )

    assert one == other
    assert hash(one) == hash(other)


def test_different_requests_give_different_composites(model: TracedModel) -> None:
    requests: list[tuple[dict[str, float], list[str]]] = [
        ({}, []),
        ({"epsilon": 0.1}, []),
        ({}, ["features.3:flat"]),
    ]

    assert (
        len({resolve(kinds(model.graph), "epsilon_plus", given, overrides) for given, overrides in requests})
        == 3
    )
