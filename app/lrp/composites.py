"""Which layer gets which rule: the rules and composites by name, their parameters, and overrides.

    "epsilon_plus_flat", {"epsilon": 0.01}, ["features.3:gamma(gamma=0.5)"]
        -> Composite: every layer's name and its rule, ready to run, to cache and to print

Roles follow Zennit's composites: dense layers get ε, convolutions the middle rule, and the first layer,
the one that sees the pixels, the last.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Literal

from app.errors import InvalidParameterError

Kind = Literal["convolution", "dense", "average", "other"]
"""What a layer is to a composite; the first two have weights."""
Chain = Sequence[tuple[str, Kind]]
"""The layers of a network by name, in the order in which they run."""

MOST_OVERRIDES = 32
"""Of one explanation; networks with more layers have globs."""
LONGEST_OVERRIDE = 100
"""Characters."""
MOST_WILDCARDS = 8
"""In one glob. Each takes microseconds, and requests with many pictures may have a thousand globs."""

PARTITION_TOLERANCE = 1e-9
"""How far α − β may be from 1: no two decimal fractions of the right difference miss it by more."""


@dataclass(frozen=True)
class Parameter:
    """A number that a rule takes."""

    name: str
    default: float
    minimum: float
    maximum: float
    description: str
    exclusive_minimum: bool = False

    @property
    def allowed(self) -> str:
        """The range in words."""
        return f"{'above' if self.exclusive_minimum else 'from'} {self.minimum:g} up to {self.maximum:g}"

    def admits(self, value: float) -> bool:
        """Whether ``value`` is a number in range."""
        above = value > self.minimum if self.exclusive_minimum else value >= self.minimum
        return math.isfinite(value) and above and value <= self.maximum


@dataclass(frozen=True)
class Info:
    """What ``GET /rules`` says of a rule or a composite."""

    name: str
    title: str
    formula: str
    parameters: tuple[Parameter, ...]
    when: str
    source: str


@dataclass(frozen=True)
class RuleInfo(Info):
    """A rule of one weighted layer."""

    above: str | None = None
    """For a rule of the pixel layer alone: the rule of the layers above it, where it is asked for all."""


@dataclass(frozen=True)
class Roles:
    """Names of the rules by kind of layer; the first is the first weighted layer."""

    dense: str
    convolution: str
    first_dense: str
    first_convolution: str


@dataclass(frozen=True)
class CompositeInfo(Info):
    """Rules by kind of layer."""

    roles: Roles


@dataclass(frozen=True)
class Rule:
    """A rule with its parameters, as one layer gets it."""

    name: str
    parameters: tuple[tuple[str, float], ...] = ()

    def parameter(self, name: str) -> float:
        """The value of one parameter."""
        return dict(self.parameters)[name]


@dataclass(frozen=True)
class Composite:
    """What was asked for and what it comes to: every layer of the chain, by name, with its rule.

    Besides the rules of weighted layers there is ``norm``, for average pooling: in proportion to the input;
    and ``pass``, for all others: activations hand relevance on, max pooling hands it to the winner.
    """

    name: str
    parameters: tuple[tuple[str, float], ...]
    layers: tuple[tuple[str, Rule], ...]

    def position(self, layer: str | None) -> int:
        """Which layer of the chain that is, the first for none; raises `InvalidParameterError`."""
        names = [name for name, _ in self.layers]
        if layer is not None and layer not in names:
            raise InvalidParameterError("layer", f"there is no layer {layer!r}; there are {_list(names)}")
        return 0 if layer is None else names.index(layer)


EPSILON = Parameter(
    "epsilon",
    default=1e-6,
    minimum=1e-12,  # float32 divides by it safely wherever an output is 0; for ε = 0 there is the rule `zero`
    maximum=1e6,
    description="ε, moves denominators away from 0; larger values absorb weak and contradictory evidence.",
)
GAMMA = Parameter(
    "gamma",
    default=0.25,
    minimum=0.0,
    maximum=1e3,
    description="γ, how much contributions of the output's own sign are favoured; 0 is ε, very large is z⁺.",
)
ALPHA = Parameter(
    "alpha",
    default=2.0,
    minimum=1.0,
    maximum=100.0,
    description="α, weight of what raises an output; α − β = 1, so one of the two is enough.",
)
BETA = Parameter(
    "beta",
    default=1.0,
    minimum=0.0,
    maximum=99.0,
    description="β, weight of what lowers an output; α − β = 1, so one of the two is enough.",
)

BACH_2015 = (
    "Bach et al. 2015, On pixel-wise explanations for non-linear classifier decisions by layer-wise "
    "relevance propagation, PLoS ONE 10(7), e0130140"
)
BACH_2016 = "Bach et al. 2016, Controlling explanatory heatmap resolution and semantics, ICIP, 2271–2275"
MONTAVON_2017 = (
    "Montavon et al. 2017, Explaining nonlinear classification decisions with deep Taylor decomposition, "
    "Pattern Recognition 65, 211–222"
)
MONTAVON_2019 = "Montavon et al. 2019, Layer-wise relevance propagation: an overview, LNCS 11700, 193–209"
ANDEOL_2021 = (
    "Andéol et al. 2021, Learning domain invariant representations by joint Wasserstein distance minimization"
)
KOHLBRENNER_2020 = (
    "Kohlbrenner et al. 2020, Towards best practice in explaining neural network decisions with LRP, IJCNN"
)

RULES: Mapping[str, RuleInfo] = {
    info.name: info
    for info in (
        RuleInfo(
            "zero",
            "LRP-0",
            "x · wᵀ(R / z), z = wx + b; 0 where z = 0",
            (),
            "To check others against: on a ReLU network without anything else it is input × gradient. Noisy.",
            f"{BACH_2015}, eq. 56",
        ),
        RuleInfo(
            "epsilon",
            "LRP-ε",
            "x · wᵀ(R / s(z)), z = wx + b, s(z) = z + ε·sgn(z), sgn(0) = +1",
            (EPSILON,),
            "Dense layers. Faithful to the function; sparse, with positive and negative evidence.",
            f"{BACH_2015}, eq. 58",
        ),
        RuleInfo(
            "z_plus",
            "LRP-z⁺",
            "x⁺ · w⁺ᵀ(R / s(Z)) + x⁻ · w⁻ᵀ(R / s(Z)), Z = w⁺x⁺ + w⁻x⁻ + b⁺; ε = 1e-6",
            (),
            "Convolutions. Smooth and robust; only what raises an output counts: evidence against is lost.",
            MONTAVON_2017,
        ),
        RuleInfo(
            "alpha_beta",
            "LRP-αβ",
            "α · (x⁺ · w⁺ᵀ + x⁻ · w⁻ᵀ)(R / s(w⁺x⁺ + w⁻x⁻ + b⁺)) "
            "− β · (x⁺ · w⁻ᵀ + x⁻ · w⁺ᵀ)(R / s(w⁻x⁺ + w⁺x⁻ + b⁻)); ε = 1e-6",
            (ALPHA, BETA),
            "Convolutions, where evidence against should show: α = 2, β = 1. α = 1, β = 0 is z⁺. "
            "Units that nothing lowers leak relevance.",
            f"{BACH_2015}, eq. 60",
        ),
        RuleInfo(
            "gamma",
            "LRP-γ",
            "Σ x · vᵀ(R / s(Σvx + c)); where z > 0: x⁺ with v = w + γw⁺, x⁻ with v = w + γw⁻, c = b + γb⁺; "
            "where z < 0: x⁺ with w + γw⁻, x⁻ with w + γw⁺, c = b + γb⁻; where z = 0: 0; ε = 1e-6",
            (GAMMA,),
            "Lower convolutions: between ε, faithful, and z⁺, smooth.",
            f"{MONTAVON_2019}; for inputs of any sign {ANDEOL_2021}",
        ),
        RuleInfo(
            "z_box",
            "LRP-z^B",
            "x · wᵀ(Q) − l · w⁺ᵀ(Q) − h · w⁻ᵀ(Q), Q = R / s(wx − w⁺l − w⁻h); "
            "l and h black and white as the network sees them; ε = 1e-6",
            (),
            "The pixel layer only, whose input has known bounds. Asked for all layers, those above get z⁺: "
            "together they are the deep Taylor decomposition.",
            MONTAVON_2017,
            above="z_plus",
        ),
        RuleInfo(
            "w_square",
            "LRP-w²",
            "(w²)ᵀ(R / s(Σw² + b²)); ε = 1e-6",
            (),
            "The first layer, where inputs have no bounds: by weight, whatever the input.",
            MONTAVON_2017,
        ),
        RuleInfo(
            "flat",
            "LRP-♭",
            "1ᵀ(R / s(Σ1)), over each output's receptive field; ε = 1e-6",
            (),
            "The first layer, for maps that show regions and not texture: evenly, whatever the input.",
            BACH_2016,
        ),
    )
}

COMPOSITES: Mapping[str, CompositeInfo] = {
    info.name: info
    for info in (
        CompositeInfo(
            "epsilon_plus_flat",
            "EpsilonPlusFlat",
            "dense: ε; convolutions: z⁺; first layer: ♭",
            (EPSILON,),
            "The default: smooth, easy to read, shows where the evidence is.",
            KOHLBRENNER_2020,
            Roles("epsilon", "z_plus", first_dense="flat", first_convolution="flat"),
        ),
        CompositeInfo(
            "epsilon_plus",
            "EpsilonPlus",
            "dense: ε; convolutions: z⁺, the first as well",
            (EPSILON,),
            "Like the default, down to the single pixel.",
            KOHLBRENNER_2020,
            Roles("epsilon", "z_plus", first_dense="epsilon", first_convolution="z_plus"),
        ),
        CompositeInfo(
            "epsilon_gamma_box",
            "EpsilonGammaBox",
            "dense: ε; convolutions: γ; first convolution: z^B",
            (EPSILON, GAMMA),
            "Finer detail than the default; takes into account that pixels lie between black and white.",
            MONTAVON_2019,
            Roles("epsilon", "gamma", first_dense="epsilon", first_convolution="z_box"),
        ),
        CompositeInfo(
            "epsilon_alpha2_beta1",
            "EpsilonAlpha2Beta1",
            "dense: ε; convolutions: αβ with α = 2, β = 1, the first as well",
            (EPSILON,),
            "When evidence against the class matters: twice what speaks for, once what speaks against.",
            KOHLBRENNER_2020,
            Roles("epsilon", "alpha_beta", first_dense="epsilon", first_convolution="alpha_beta"),
        ),
        CompositeInfo(
            "epsilon_alpha2_beta1_flat",
            "EpsilonAlpha2Beta1Flat",
            "dense: ε; convolutions: αβ with α = 2, β = 1; first layer: ♭",
            (EPSILON,),
            "Evidence for and against, by region.",
            KOHLBRENNER_2020,
            Roles("epsilon", "alpha_beta", first_dense="flat", first_convolution="flat"),
        ),
    )
}


def resolve(chain: Chain, rule: str, parameters: Mapping[str, float], overrides: Sequence[str]) -> Composite:
    """The rule of every layer of ``chain``.

    ``rule`` names a composite, or a rule for every weighted layer; ``parameters`` are its own.
    ``overrides`` are ``GLOB:RULE`` or ``GLOB:RULE(name=value, …)`` on layer names; the last match wins.
    Raises `InvalidParameterError`.
    """
    info = rule_info(rule)
    given = _complete(info, parameters)
    weighted = {name: kind for name, kind in chain if kind in ("convolution", "dense")}
    chosen = _by_role(weighted, _roles(info), given)
    if len(overrides) > MOST_OVERRIDES:
        raise InvalidParameterError(
            "layers", f"{len(overrides)} overrides are over {MOST_OVERRIDES}; a glob reaches many layers"
        )
    for override in overrides:
        chosen |= _overridden(override, list(weighted))
    unweighted = {name: Rule("norm" if kind == "average" else "pass") for name, kind in chain}
    return Composite(rule, tuple(given.items()), tuple((unweighted | chosen).items()))


def rule_info(name: str) -> RuleInfo | CompositeInfo:
    """The rule or composite of that name; raises `InvalidParameterError`."""
    info = COMPOSITES.get(name) or RULES.get(name)
    if info is None:
        known = f"the composites {_list(COMPOSITES)} and the rules {_list(RULES)}"
        raise InvalidParameterError("rule", f"there is no {name!r}; there are {known}")
    return info


def _roles(info: RuleInfo | CompositeInfo) -> Roles:
    if isinstance(info, CompositeInfo):
        return info.roles
    above = info.above or info.name
    return Roles(above, above, first_dense=info.name, first_convolution=info.name)


def _by_role(weighted: Mapping[str, Kind], roles: Roles, given: Mapping[str, float]) -> dict[str, Rule]:
    """The rule of each weighted layer, with those of the ``given`` parameters that are its own."""
    rules: dict[str, Rule] = {}
    for name, kind in weighted.items():
        if kind == "convolution":
            rule = roles.convolution if rules else roles.first_convolution
        else:
            rule = roles.dense if rules else roles.first_dense
        own = {parameter.name: parameter.default for parameter in RULES[rule].parameters}
        rules[name] = Rule(rule, tuple((key, given.get(key, default)) for key, default in own.items()))
    return rules


def _complete(info: Info, given: Mapping[str, float]) -> dict[str, float]:
    """All parameters of ``info``: those ``given``, checked, and defaults for the rest."""
    known = {parameter.name: parameter for parameter in info.parameters}
    for name, value in given.items():
        if name not in known:
            takes = f"takes {_list(known)}" if known else "takes no parameters"
            raise InvalidParameterError(name, f"{info.name} {takes}; leave {name} out")
        if not known[name].admits(value):
            raise InvalidParameterError(name, f"{value:g} is not allowed; a number {known[name].allowed} is")
    defaults = {name: parameter.default for name, parameter in known.items()}
    return _partitioned({**defaults, **given}, given)


def _partitioned(values: dict[str, float], given: Mapping[str, float]) -> dict[str, float]:
    """``values`` with α − β = 1: where only one was ``given``, the other follows from it."""
    if "alpha" not in values:
        return values
    if "beta" not in given:
        return {**values, "beta": values["alpha"] - 1}
    if "alpha" not in given:
        return {**values, "alpha": values["beta"] + 1}
    if abs(values["alpha"] - values["beta"] - 1) > PARTITION_TOLERANCE:
        message = (
            f"alpha − beta must be 1, and {values['alpha']:g} − {values['beta']:g} is not; give one of them"
        )
        raise InvalidParameterError("alpha", message)
    return values


_OVERRIDE = re.compile(r"(?P<glob>[^:]+):(?P<rule>\w+)(?:\((?P<parameters>[^()]*)\))?")


def _overridden(override: str, weighted: Sequence[str]) -> dict[str, Rule]:
    """The rules that one override gives to layers; ``weighted`` are their names, first layer first."""
    try:
        return _matches(override, weighted)
    except InvalidParameterError as error:
        message = f"{override!r}: {error.message}"
        raise InvalidParameterError("layers", message) from None


def _matches(override: str, weighted: Sequence[str]) -> dict[str, Rule]:
    if len(override) > LONGEST_OVERRIDE:
        raise InvalidParameterError(
            "layers", f"{len(override)} characters are over {LONGEST_OVERRIDE}; a glob makes names short"
        )
    parsed = _OVERRIDE.fullmatch(override)
    if parsed is None:
        example = "features.*:gamma(gamma=0.5)"
        raise InvalidParameterError("layers", f"write LAYER:RULE or LAYER:RULE(name=value), like {example}")
    info = RULES.get(parsed["rule"])
    if info is None:
        raise InvalidParameterError(
            "layers", f"there is no rule {parsed['rule']!r} for a layer; there are {_list(RULES)}"
        )
    names = _matching(parsed["glob"], weighted)
    if not names:
        raise InvalidParameterError("layers", f"no layer with weights matches; there are {_list(weighted)}")
    if info.above is not None and names != list(weighted[:1]):
        message = (
            f"{info.name} needs bounds, which only the pixel layer has; it can be given to {weighted[0]}"
        )
        raise InvalidParameterError("layers", message)
    given = assignments(parsed["parameters"] or "")
    rule = Rule(info.name, tuple(_complete(info, given).items()))
    return dict.fromkeys(names, rule)


def _matching(glob: str, names: Sequence[str]) -> list[str]:
    if sum(map(glob.count, "*?[")) > MOST_WILDCARDS:
        raise InvalidParameterError("layers", f"more than {MOST_WILDCARDS} wildcards; one or two will do")
    pattern = re.compile(translate(glob))  # `fnmatch` would keep tens of thousands of them
    return [name for name in names if pattern.match(name)]


def assignments(text: str) -> dict[str, float]:
    """The pairs of ``name=value, name=value``; raises `InvalidParameterError`."""
    pairs: dict[str, float] = {}
    for assignment in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (part.strip() for part in assignment.partition("="))
        if name in pairs:
            raise InvalidParameterError("layers", f"{name} is given twice; give it once")
        try:
            pairs[name] = float(value)
        except ValueError:
            message = f"{assignment!r} does not give a number; write name=value"
            raise InvalidParameterError("layers", message) from None
    return pairs


def _list(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names)
