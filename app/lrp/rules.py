"""The table of rules. A rule is one row of `RULES`.

From it follow ``GET /rules``, the query parameters and their ranges, the options of the serving protocols and of
the command line, the page's controls, what the engine computes, and the hook of the reference, Zennit.

Notation as in the papers: ``w`` (out, in, …) and ``b`` (out,) are a layer's weights and bias, w⁺ = max(w, 0),
w⁻ = min(w, 0).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from app.errors import InvalidParameterError
from app.lrp.definition import Definition, Parameter, Values
from app.lrp.sources import ANDEOL_2021, BACH_2015, BACH_2016, MONTAVON_2017, MONTAVON_2019
from app.lrp.terms import Outputs, Part, Source, Term, Terms

if TYPE_CHECKING:  # the server process reads the table and must not import torch
    from torch import Tensor

    Bias = Tensor | None

PASS = "pass"  # noqa: S105 # not a password
"""Rule of activations, max pooling, dropout and reshaping; it cannot be chosen. Relevance passes unchanged, in
max pooling to the largest input of each window.
"""
NORM = "norm"
"""Rule of average pooling, means, sums, differences and batch norms of their own; it cannot be chosen. Relevance
is shared in proportion to the contributions.
"""
CP: Literal["cp"] = "cp"
"""Conservative propagation (Ali et al. 2022): weights of attention are constants, and all relevance goes to the
values; other products of two values give each factor half. Deviations in layer and group norms are constants.
"""
ATTNLRP: Literal["attnlrp"] = "attnlrp"
"""Achtibat et al. 2024: each factor of a product gets half, and softmax x · (R − s·ΣR); relevance passes layer
and group norms unchanged.
"""
AttentionRule = Literal["cp", "attnlrp"]
ATTENTION_RULES: tuple[AttentionRule, ...] = get_args(AttentionRule)
"""Rules of softmax, of products of two values that both depend on the network's input, and of layer and group
norms.
"""

PARTITION_TOLERANCE = 1e-9
"""Largest |α − β − 1| that counts as zero; the difference of two decimal fractions is never off by more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule(Definition):
    """A rule of one layer with weights."""

    terms: Callable[..., Terms]
    """``terms(w, b, **parameters)``: the rule for a layer with these weights, as the engine computes it."""
    reference: Callable[..., Any]
    """``reference(zennit, bounds, **parameters)``: the same rule as a hook of Zennit, given the module
    ``zennit.rules`` and the smallest and the largest input of the layer.
    """
    signed_denominator: bool
    """Whether denominators have the sign of the layer's output; otherwise their sign does not depend on it.

    It decides which relevance is put in at a negative logit, see `app.lrp.attribution.output_relevance`.
    """
    reads_input: bool = True
    """Whether inputs that are zero get no relevance."""
    rule_above: str | None = None
    """For a rule of the first layer only: the rule of the other layers if it is chosen for all of them."""
    needs_bounds: bool = False
    """Whether it reads the smallest and the largest input, which numbers of tokens do not have."""


@dataclass(frozen=True)
class AssignedRule:
    """Name and parameters of the rule of one layer."""

    name: str
    parameters: tuple[tuple[str, float], ...] = ()

    @property
    def has_defaults(self) -> bool:
        """Whether the parameters are the defaults: there are few such rules, and all clients use them."""
        rule = RULES.get(self.name)
        return rule is None or self.parameters == tuple((one.name, one.default) for one in rule.parameters)


def zero(w: "Tensor", b: "Bias") -> Terms:
    """LRP-0, Bach et al. 2015 eq. 56: no stabilizer; an output of 0 redistributes nothing."""
    return (Term((Part(Source.INPUT, w),), b, epsilon=0.0),)


def epsilon(w: "Tensor", b: "Bias", epsilon: float) -> Terms:
    """LRP-ε, Bach et al. 2015 eq. 58."""
    return (Term((Part(Source.INPUT, w),), b, epsilon=epsilon),)


def z_plus(w: "Tensor", b: "Bias") -> Terms:
    """LRP-z⁺, Montavon et al. 2017, for inputs of any sign: positive contributions get all relevance."""
    return (_raising(w, b, 1.0),)


def alpha_beta(w: "Tensor", b: "Bias", alpha: float, beta: float) -> Terms:
    """LRP-αβ, Bach et al. 2015 eq. 60: positive contributions get α, negative ones −β."""
    raising = _raising(w, b, alpha)
    if beta == 0:
        return (raising,)
    lowering = Term(
        (Part(Source.POSITIVE, w.clamp(max=0)), Part(Source.NEGATIVE, w.clamp(min=0))),
        None if b is None else b.clamp(max=0),
        share=-beta,
    )
    return (raising, lowering)


def gamma(w: "Tensor", b: "Bias", gamma: float) -> Terms:
    """LRP-γ, Montavon et al. 2019, generalised to any sign by Andéol et al. 2021."""
    raised, lowered = (w + gamma * part for part in (w.clamp(min=0), w.clamp(max=0)))
    return (
        Term(
            (Part(Source.POSITIVE, raised), Part(Source.NEGATIVE, lowered)),
            None if b is None else b + gamma * b.clamp(min=0),
            outputs=Outputs.POSITIVE,
        ),
        Term(
            (Part(Source.POSITIVE, lowered), Part(Source.NEGATIVE, raised)),
            None if b is None else b + gamma * b.clamp(max=0),
            outputs=Outputs.NEGATIVE,
        ),
    )


def z_box(w: "Tensor", b: "Bias") -> Terms:  # noqa: ARG001
    """LRP-z^B, Montavon et al. 2017, for a layer whose input lies between bounds; the bias cancels."""
    parts = (
        Part(Source.INPUT, w),
        Part(Source.LOW, -w.clamp(min=0)),
        Part(Source.HIGH, -w.clamp(max=0)),
    )
    return (Term(parts, None),)


def w_square(w: "Tensor", b: "Bias") -> Terms:
    """LRP-w², Montavon et al. 2017: in proportion to the squared weights, independent of the input."""
    return (Term((Part(Source.ONES, w.square()),), None if b is None else b.square()),)


def flat(w: "Tensor", b: "Bias") -> Terms:  # noqa: ARG001
    """LRP-♭, Bach et al. 2016: evenly over the receptive field, independent of input and weights."""
    return (Term((Part(Source.ONES, w.new_ones(()).expand_as(w)),), None),)


def _raising(w: "Tensor", b: "Bias", share: float) -> Term:
    return Term(
        (Part(Source.POSITIVE, w.clamp(min=0)), Part(Source.NEGATIVE, w.clamp(max=0))),
        None if b is None else b.clamp(min=0),
        share=share,
    )


def partition(values: Values, given: Values) -> Values:
    """Return ``values`` with α − β = 1: if only one of the two is ``given``, the other follows from it."""
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


def zennit_zero(zennit: Any) -> Any:
    """LRP-0, Bach et al. 2015 eq. 56. Zennit has it only as ε = 0, which is 0/0 where an output is 0."""
    return zennit.BasicHook(
        input_modifiers=[lambda x: x],
        param_modifiers=[zennit.NoMod()],
        output_modifiers=[lambda z: z],
        gradient_mapper=lambda R, outputs: (R / outputs[0]).masked_fill(outputs[0] == 0, 0),
        reducer=lambda inputs, gradients: inputs[0] * gradients[0],
    )


EPSILON = Parameter(
    "epsilon",
    default=1e-6,
    minimum=1e-12,  # float32 divides by it safely wherever an output is 0; for ε = 0 there is the rule `zero`
    maximum=1e6,
    description="ε, moves denominators away from 0; larger values absorb weak and contradictory evidence.",
    query="ε, the stabilizer, for rules that have it; default `GET /rules`.",
    example=0.01,
)
GAMMA = Parameter(
    "gamma",
    default=0.25,
    minimum=0.0,
    maximum=1e3,
    description="γ, how much contributions of the output's own sign are favoured; 0 is ε, very large is z⁺.",
    query="γ, how much positive weights are favoured, for rules that have it; default `GET /rules`.",
    example=0.25,
)
ALPHA = Parameter(
    "alpha",
    default=2.0,
    minimum=1.0,
    maximum=100.0,
    description="α, weight of what raises an output; α − β = 1, so one of the two is enough.",
    query="α, weight of what speaks for the class, for rules that have it; α − β = 1.",
    example=2.0,
)
BETA = Parameter(
    "beta",
    default=1.0,
    minimum=0.0,
    maximum=99.0,
    description="β, weight of what lowers an output; α − β = 1, so one of the two is enough.",
    query="β, weight of what speaks against the class, for rules that have it; α − β = 1.",
    example=1.0,
)

Rules = Mapping[str, Rule]
"""Rules by name."""
RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            name="zero",
            title="LRP-0",
            formula="x · wᵀ(R / z), z = wx + b; 0 where z = 0",
            when="To check others against: on a ReLU network without anything else it is input × gradient. "
            "Noisy.",
            source=f"{BACH_2015}, eq. 56",
            terms=zero,
            reference=lambda zennit, _: zennit_zero(zennit),
            signed_denominator=True,
        ),
        Rule(
            name="epsilon",
            title="LRP-ε",
            formula="x · wᵀ(R / s(z)), z = wx + b, s(z) = z + ε·sgn(z), sgn(0) = +1",
            parameters=(EPSILON,),
            when="Dense layers. Faithful to the function; sparse, with positive and negative evidence.",
            source=f"{BACH_2015}, eq. 58",
            terms=epsilon,
            reference=lambda zennit, _, epsilon: zennit.Epsilon(epsilon),
            signed_denominator=True,
        ),
        Rule(
            name="z_plus",
            title="LRP-z⁺",
            formula="x⁺ · w⁺ᵀ(R / s(Z)) + x⁻ · w⁻ᵀ(R / s(Z)), Z = w⁺x⁺ + w⁻x⁻ + b⁺; ε = 1e-6",
            when="Convolutions. Smooth and robust; only what raises an output counts: evidence against is lost.",
            source=MONTAVON_2017,
            terms=z_plus,
            reference=lambda zennit, _: zennit.ZPlus(),
            signed_denominator=False,
        ),
        Rule(
            name="alpha_beta",
            title="LRP-αβ",
            formula="α · (x⁺ · w⁺ᵀ + x⁻ · w⁻ᵀ)(R / s(w⁺x⁺ + w⁻x⁻ + b⁺)) "
            "− β · (x⁺ · w⁻ᵀ + x⁻ · w⁺ᵀ)(R / s(w⁻x⁺ + w⁺x⁻ + b⁻)); ε = 1e-6",
            parameters=(ALPHA, BETA),
            relate=partition,
            when="Convolutions, where evidence against should show: α = 2, β = 1. α = 1, β = 0 is z⁺. "
            "Units that nothing lowers leak relevance.",
            source=f"{BACH_2015}, eq. 60",
            terms=alpha_beta,
            # Zennit requires α − β = 1 to the last bit, and 2.3 − 1.3 is not 1.
            reference=lambda zennit, _, alpha, beta: zennit.AlphaBeta(alpha, alpha - 1),  # noqa: ARG005
            signed_denominator=False,
        ),
        Rule(
            name="gamma",
            title="LRP-γ",
            formula="Σ x · vᵀ(R / s(Σvx + c)); where z > 0: x⁺ with v = w + γw⁺, x⁻ with v = w + γw⁻, "
            "c = b + γb⁺; where z < 0: x⁺ with w + γw⁻, x⁻ with w + γw⁺, c = b + γb⁻; where z = 0: 0; ε = 1e-6",
            parameters=(GAMMA,),
            when="Lower convolutions: between ε, faithful, and z⁺, smooth.",
            source=f"{MONTAVON_2019}; for inputs of any sign {ANDEOL_2021}",
            terms=gamma,
            reference=lambda zennit, _, gamma: zennit.Gamma(gamma),
            signed_denominator=True,
        ),
        Rule(
            name="z_box",
            title="LRP-z^B",
            formula="x · wᵀ(Q) − l · w⁺ᵀ(Q) − h · w⁻ᵀ(Q), Q = R / s(wx − w⁺l − w⁻h); "
            "l and h black and white as the network sees them; ε = 1e-6",
            when="The pixel layer only, whose input has known bounds. Asked for all layers, those above get z⁺: "
            "together they are the deep Taylor decomposition.",
            source=MONTAVON_2017,
            terms=z_box,
            reference=lambda zennit, bounds: zennit.ZBox(*bounds),
            signed_denominator=False,
            reads_input=False,
            rule_above="z_plus",
            needs_bounds=True,
        ),
        Rule(
            name="w_square",
            title="LRP-w²",
            formula="(w²)ᵀ(R / s(Σw² + b²)); ε = 1e-6",
            when="The first layer, where inputs have no bounds: by weight, whatever the input.",
            source=MONTAVON_2017,
            terms=w_square,
            reference=lambda zennit, _: zennit.WSquare(),
            signed_denominator=False,
            reads_input=False,
        ),
        Rule(
            name="flat",
            title="LRP-♭",
            formula="1ᵀ(R / s(Σ1)), over each output's receptive field; ε = 1e-6",
            when="The first layer, for maps that show regions and not texture: evenly, whatever the input.",
            source=BACH_2016,
            terms=flat,
            reference=lambda zennit, _: zennit.Flat(),
            signed_denominator=False,
            reads_input=False,
        ),
    )
}
