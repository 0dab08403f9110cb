"""The search for a composite: groups of layers, candidates, and finding a known best one."""

import itertools
from collections.abc import Callable

import pytest

from app.lrp.composites import COMPOSITES, DEFAULT_RULE, Chain, resolve
from app.lrp.overrides import as_text
from app.lrp.rules import AssignedRule
from app.quality.tuning import Candidate, layer_groups, overrides, search

CHAIN: Chain = (
    ("features.0", "convolution"),
    ("features.1", "other"),
    ("features.2", "convolution"),
    ("features.3", "convolution"),
    ("features.4", "convolution"),
    ("pool", "proportional"),
    ("classifier.0", "dense"),
    ("classifier.1", "dense"),
)
GROUPS = layer_groups(CHAIN)
BEST: Candidate = (
    AssignedRule("w_square"),
    AssignedRule("gamma", (("gamma", 0.7),)),
    AssignedRule("z_plus"),
    AssignedRule("alpha_beta", (("alpha", 1.5), ("beta", 0.5))),
    AssignedRule("epsilon", (("epsilon", 0.2),)),
)


def candidate_of(rule: str) -> Candidate:
    rules = dict(resolve(CHAIN, rule, {}, []).layers)
    return tuple(rules[group.layers[0]] for group in GROUPS)


def likeness(candidate: Candidate) -> float:
    """The largest, 0, for `BEST`; a right rule with a wrong parameter is better than a wrong rule."""
    return -sum(map(distance, candidate, BEST))


def distance(one: AssignedRule, other: AssignedRule) -> float:
    if one.name != other.name:
        return 10
    return sum(abs(a - b) / b for (_, a), (_, b) in zip(one.parameters, other.parameters, strict=True))


def after(count: int) -> Callable[[], bool]:
    """Time that is over after it was looked at ``count`` times."""
    looks = itertools.count(1)
    return lambda: next(looks) > count


def test_groups_are_the_first_layer_two_halves_of_convolutions_dense_layers_and_the_output() -> None:
    assert [group.layers for group in GROUPS] == [
        ("features.0",),
        ("features.2", "features.3"),
        ("features.4",),
        ("classifier.0",),
        ("classifier.1",),
    ]
    only_first = {"flat", "w_square", "z_box"}
    assert only_first <= {rule.name for rule in GROUPS[0].options}
    assert not any(only_first & {rule.name for rule in group.options} for group in GROUPS[1:])


@pytest.mark.parametrize("chain", [CHAIN[:1], (("only", "dense"),), (("a", "dense"), ("b", "dense"))])
def test_small_networks_have_fewer_groups(chain: Chain) -> None:
    assert [group.layers for group in layer_groups(chain)] == [(name,) for name, _ in chain]


def test_every_option_is_a_rule_that_its_layers_can_have() -> None:
    for index, group in enumerate(GROUPS):
        for option in group.options:
            candidate = (
                *candidate_of(DEFAULT_RULE)[:index],
                option,
                *candidate_of(DEFAULT_RULE)[index + 1 :],
            )
            assigned = dict(resolve(CHAIN, DEFAULT_RULE, {}, overrides(GROUPS, candidate)).layers)
            assert all(assigned[layer] == option for layer in group.layers)


def test_a_candidate_as_overrides_is_the_composite_it_came_from() -> None:
    for rule in COMPOSITES:
        expected = resolve(CHAIN, rule, {}, []).layers
        assert resolve(CHAIN, DEFAULT_RULE, {}, overrides(GROUPS, candidate_of(rule))).layers == expected


def test_parameters_are_written_as_they_are_read() -> None:
    assert (
        as_text(AssignedRule("alpha_beta", (("alpha", 1.5), ("beta", 0.5))))
        == "alpha_beta(alpha=1.5, beta=0.5)"
    )
    assert as_text(AssignedRule("z_plus")) == "z_plus"


def test_the_search_finds_the_rules_and_refines_their_parameters() -> None:
    result = search(GROUPS, [candidate_of(DEFAULT_RULE)], likeness, after(4000))
    assert [rule.name for rule in result.best] == [rule.name for rule in BEST]
    assert result.score == likeness(result.best) > -0.3  # factors of √2 end within a factor of 1.19


def test_the_search_never_ends_below_what_it_started_from() -> None:
    starts = [candidate_of(rule) for rule in COMPOSITES]
    for count in (0, 1, 7, 50):
        result = search(GROUPS, starts, likeness, after(count))
        assert result.score >= max(map(likeness, starts[: count + 1]))
        assert result.tried <= count + 1


def test_no_candidate_is_scored_twice_and_a_seed_fixes_the_search() -> None:
    def run(seed: int) -> list[Candidate]:
        scored: list[Candidate] = []
        score: Callable[[Candidate], float] = lambda one: scored.append(one) or likeness(one)  # type: ignore[func-returns-value] # noqa: E731
        search(GROUPS, [candidate_of(DEFAULT_RULE)], score, after(300), seed)
        return scored

    first = run(1)
    assert len(set(first)) == len(first)
    assert run(1) == first
    assert run(2) != first


def test_the_search_leaves_a_local_best() -> None:
    # From one wrong group every change makes it worse but the one that is right in both.
    groups, target = GROUPS[2:4], ("gamma", "alpha_beta")

    def deceptive(candidate: Candidate) -> float:
        right = sum(rule.name == name for rule, name in zip(candidate, target, strict=True))
        return (0.0, -1.0, 1.0)[right]

    assert search(groups, [candidate_of(DEFAULT_RULE)[2:4]], deceptive, after(3000)).score == 1.0
