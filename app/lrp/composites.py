"""Composites: which layer gets which rule.

    "epsilon_plus_flat", {"epsilon": 0.01}, ["features.3:gamma(gamma=0.5)"]
        -> Composite: the name of every layer and its rule

A composite is one row of `COMPOSITES`. Roles of layers follow Zennit's composites: dense layers have one rule,
convolutions another, and the first layer with weights, whose input is the network's, a third.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.errors import InvalidParameterError
from app.lrp.definition import Definition, Parameter, Values
from app.lrp.overrides import check_count, overridden, parsed_rule
from app.lrp.rules import CP, EPSILON, GAMMA, NORM, PASS, RULES, AssignedRule, AttentionRule, Rule, Rules
from app.lrp.sources import KOHLBRENNER_2020, MONTAVON_2019

Kind = Literal["convolution", "dense", "proportional", "attention", "sequence", "other"]
"""Kind of a layer; the first two have weights, for which a rule is chosen. ``attention``: softmax, products
of two values that both depend on the network's input, and layer and group norms. ``sequence``: embeddings, LSTM
and GRU, which have their own rule.
"""
Chain = Sequence[tuple[str, Kind]]
"""Names and kinds of the layers of a network, in the order in which they run."""


@dataclass(frozen=True)
class Roles:
    """Names of rules by kind of layer; the first layer with weights has its own."""

    dense: str
    convolution: str
    first_dense: str
    first_convolution: str


@dataclass(frozen=True, kw_only=True, eq=False)
class CompositeDefinition(Definition):
    """A composite: rules by kind of layer, for any network; or by layer, for one network."""

    roles: Roles
    overrides: tuple[str, ...] = ()
    """``GLOB:RULE`` or ``GLOB:RULE(name=value, …)`` for layers of one network; others follow ``roles``."""


@dataclass(frozen=True)
class Composite:
    """A composite for one network: name and parameters as requested, and every layer with its rule."""

    name: str
    parameters: tuple[tuple[str, float], ...]
    layers: tuple[tuple[str, AssignedRule], ...]
    """In the order in which they run. Layers without weights have the rule `NORM` or `PASS`, or one of
    `ATTENTION_RULES`.
    """

    @property
    def output_rule(self) -> AssignedRule:
        """Rule of the output layer, the last one that does not only pass relevance on."""
        rules = [rule for _, rule in self.layers if rule.name != PASS]
        return rules[-1] if rules else AssignedRule(PASS)

    @property
    def divides_by_logit(self) -> bool:
        """Whether the denominator of the output layer has the sign of the logit."""
        rule = RULES.get(self.output_rule.name)  # None: means and sums, whose denominator is their output
        return rule is None or rule.signed_denominator

    def position(self, layer: str | None) -> int:
        """Return the index of ``layer``, 0 for ``None``; raises `InvalidParameterError`."""
        names = [name for name, _ in self.layers]
        if layer is not None and layer not in names:
            raise InvalidParameterError("layer", f"there is no layer {layer!r}; there are {', '.join(names)}")
        return 0 if layer is None else names.index(layer)


MEANING_WITH_SIGN = (
    "Red, positive relevance, speaks for the class and blue against it, with every start, whether the class's "
    "logit is positive or negative."
)
"""Under rules of the output layer with a `Rule.signed_denominator`."""
MEANING_WITHOUT_SIGN = (
    "Red, positive relevance, speaks for the class with start=one and start=probability. With start=logit or "
    "versus it does so only where the logits are positive: a negative one exchanges red and blue."
)
"""Under all other rules of the output layer."""

DEFAULT_RULE = "epsilon_plus_flat"
"""Rule of an explanation for which none is named."""

Composites = Mapping[str, CompositeDefinition]
"""Composites by name."""
COMPOSITES: dict[str, CompositeDefinition] = {
    composite.name: composite
    for composite in (
        CompositeDefinition(
            name=DEFAULT_RULE,
            title="EpsilonPlusFlat",
            formula="dense: ε; convolutions: z⁺; first layer: ♭",
            parameters=(EPSILON,),
            when="The default: smooth, easy to read, shows where the evidence is.",
            source=KOHLBRENNER_2020,
            roles=Roles("epsilon", "z_plus", first_dense="flat", first_convolution="flat"),
        ),
        CompositeDefinition(
            name="epsilon_plus",
            title="EpsilonPlus",
            formula="dense: ε; convolutions: z⁺, the first as well",
            parameters=(EPSILON,),
            when="Like the default, down to the single pixel.",
            source=KOHLBRENNER_2020,
            roles=Roles("epsilon", "z_plus", first_dense="epsilon", first_convolution="z_plus"),
        ),
        CompositeDefinition(
            name="epsilon_gamma_box",
            title="EpsilonGammaBox",
            formula="dense: ε; convolutions: γ; first convolution: z^B",
            parameters=(EPSILON, GAMMA),
            when="Finer detail than the default; takes into account that pixels lie between black and white.",
            source=MONTAVON_2019,
            roles=Roles("epsilon", "gamma", first_dense="epsilon", first_convolution="z_box"),
        ),
        CompositeDefinition(
            name="epsilon_alpha2_beta1",
            title="EpsilonAlpha2Beta1",
            formula="dense: ε; convolutions: αβ with α = 2, β = 1, the first as well",
            parameters=(EPSILON,),
            when="When evidence against the class matters: twice what speaks for, once what speaks against.",
            source=KOHLBRENNER_2020,
            roles=Roles("epsilon", "alpha_beta", first_dense="epsilon", first_convolution="alpha_beta"),
        ),
        CompositeDefinition(
            name="epsilon_alpha2_beta1_flat",
            title="EpsilonAlpha2Beta1Flat",
            formula="dense: ε; convolutions: αβ with α = 2, β = 1; first layer: ♭",
            parameters=(EPSILON,),
            when="Evidence for and against, by region.",
            source=KOHLBRENNER_2020,
            roles=Roles("epsilon", "alpha_beta", first_dense="flat", first_convolution="flat"),
        ),
    )
}


def weighted(chain: Chain) -> dict[str, Kind]:
    """Return name and kind of the layers with weights, in the order in which they run."""
    return {name: kind for name, kind in chain if kind in ("convolution", "dense")}


def resolve(
    chain: Chain,
    rule: str,
    parameters: Values,
    overrides: Sequence[str],
    composites: Composites = COMPOSITES,
    attention: AttentionRule = CP,
    rules: Rules = RULES,
) -> Composite:
    """Return the rule of every layer of ``chain``.

    Args:
        chain: layers of the network.
        rule: name of a composite, or of a rule for every layer with weights.
        parameters: parameters of that composite or rule, by name.
        overrides: ``GLOB:RULE`` or ``GLOB:RULE(name=value, …)`` for names of layers; the last match counts.
        composites: composites that ``rule`` may name.
        attention: rule of attention.
        rules: rules that ``rule`` and ``overrides`` may name.

    Raises:
        InvalidParameterError: if one of them is unknown, malformed or out of range.

    """
    check_count(overrides)
    chosen = definition(rule, composites, rules)
    values = chosen.complete(parameters)
    with_weights = weighted(chain)
    without_weights = {"proportional": NORM, "attention": attention}
    assigned = {name: AssignedRule(without_weights.get(kind, PASS)) for name, kind in chain}
    assigned |= _by_role(chain, _roles(chosen), values)
    assigned |= overridden((*_own_overrides(chosen), *overrides), list(with_weights), rules)
    return Composite(rule, tuple(values.items()), tuple(assigned.items()))


def has_attention(chain: Chain) -> bool:
    """Return whether a network has layers whose rule is one of `ATTENTION_RULES`."""
    return any(kind == "attention" for _, kind in chain)


def parametrized(chain: Chain) -> list[str]:
    """Return the names of the layers that have parameters to be learnt, in the order in which they run."""
    return [name for name, kind in chain if kind in ("convolution", "dense", "sequence")]


def definition(
    name: str, composites: Composites = COMPOSITES, rules: Rules = RULES
) -> Rule | CompositeDefinition:
    """Return the rule or composite of that name; raises `InvalidParameterError`."""
    found = composites.get(name) or rules.get(name)
    if found is None:
        known = f"the composites {', '.join(composites)} and the rules {', '.join(rules)}"
        is_known = name in COMPOSITES or name in RULES
        problem = f"{name!r} needs bounds of the input, which the model's does not have" if is_known else ""
        raise InvalidParameterError("rule", f"{problem or f'there is no {name!r}'}; there are {known}")
    return found


def definitions(
    composites: Composites = COMPOSITES, rules: Rules = RULES
) -> tuple[Rule | CompositeDefinition, ...]:
    """Return all composites and rules, in the order in which they are listed."""
    return (*composites.values(), *rules.values())


def without_bounds(composites: Composites, rules: Rules) -> tuple[Composites, Rules]:
    """Return those that need no bounds of the input."""
    kept = {name: rule for name, rule in rules.items() if not rule.needs_bounds}
    return {
        name: one
        for name, one in composites.items()
        if all(rule in kept for rule in vars(one.roles).values())
    }, kept


def meaning_of_signs(chosen: Rule | CompositeDefinition) -> str:
    """Return what positive and negative relevance mean under a rule or composite, for ``GET /rules``."""
    own = _own_overrides(chosen)  # of a composite for one network: the last one is of its output layer
    output_rule = parsed_rule(own[-1]) if own else RULES[_roles(chosen).dense]
    signed = output_rule.signed_denominator
    return MEANING_WITH_SIGN if signed else MEANING_WITHOUT_SIGN


def rule_parameters() -> tuple[Parameter, ...]:
    """Return the parameters of all composites and rules, each once."""
    return tuple(dict.fromkeys(parameter for one in definitions() for parameter in one.parameters))


def _own_overrides(chosen: Rule | CompositeDefinition) -> tuple[str, ...]:
    return chosen.overrides if isinstance(chosen, CompositeDefinition) else ()


def _roles(chosen: Rule | CompositeDefinition) -> Roles:
    if isinstance(chosen, CompositeDefinition):
        return chosen.roles
    above = chosen.rule_above or chosen.name
    return Roles(above, above, first_dense=chosen.name, first_convolution=chosen.name)


def _by_role(chain: Chain, roles: Roles, values: Values) -> dict[str, AssignedRule]:
    """Return the rule of each layer with weights; of ``values`` it gets those that it takes.

    The first one is that whose input is the network's: there is none above embeddings and recurrent layers.
    """
    assigned: dict[str, AssignedRule] = {}
    is_first = True
    for name, kind in chain:
        if kind == "sequence":
            is_first = False
        if kind not in ("convolution", "dense"):
            continue
        if kind == "convolution":
            rule = roles.first_convolution if is_first else roles.convolution
        else:
            rule = roles.first_dense if is_first else roles.dense
        is_first = False
        own = {parameter.name: parameter.default for parameter in RULES[rule].parameters}
        taken = tuple((key, values.get(key, default)) for key, default in own.items())
        assigned[name] = AssignedRule(rule, taken)
    return assigned
