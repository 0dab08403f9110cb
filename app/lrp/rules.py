"""Every rule of relevance propagation through a weighted layer, one pure function each.

All of them are sums of terms of one form. With sources u (the layer's input, its positive part, ones, …),
each behind its own weights v, a term is

    share · Σ u · vᵀ(R / s(Σ v u + c)),    s(z) = z + ε·sgn(z), sgn(0) = +1

so a rule is fully described by its sources, weights, biases and share: a table that the engine compiles.
Notation as in the papers: ``w``, ``b`` the layer's parameters, w⁺ = max(w, 0), w⁻ = min(w, 0).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from torch import Tensor

STABILIZER = 1e-6
"""ε of the rules that have it only to be safe from division by zero; Zennit's default."""


class Source(Enum):
    """What a weight is multiplied with."""

    INPUT = auto()
    POSITIVE = auto()  # max(input, 0)
    NEGATIVE = auto()  # min(input, 0)
    ONES = auto()
    LOW = auto()  # the smallest value that the input may have
    HIGH = auto()  # the largest


class Outputs(Enum):
    """The outputs whose relevance a term passes on."""

    ALL = auto()
    POSITIVE = auto()
    NEGATIVE = auto()


@dataclass(frozen=True, eq=False)
class Part:
    """One source and the weights, shaped like the layer's, that it goes through."""

    source: Source
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Term:
    """One term of the form at the top of this module; ``bias`` is c, (out,)."""

    parts: tuple[Part, ...]
    bias: Tensor | None
    share: float = 1.0
    outputs: Outputs = Outputs.ALL
    epsilon: float = STABILIZER


RuleFunction = Callable[[Tensor, Tensor | None, Mapping[str, float]], tuple[Term, ...]]


def zero(w: Tensor, b: Tensor | None, _: Mapping[str, float]) -> tuple[Term, ...]:
    """LRP-0, Bach et al. 2015 eq. 56: no stabilizer, and nothing where the output is 0."""
    return (Term((Part(Source.INPUT, w),), b, epsilon=0.0),)


def epsilon(w: Tensor, b: Tensor | None, parameters: Mapping[str, float]) -> tuple[Term, ...]:
    """LRP-ε, Bach et al. 2015 eq. 58."""
    return (Term((Part(Source.INPUT, w),), b, epsilon=parameters["epsilon"]),)


def z_plus(w: Tensor, b: Tensor | None, _: Mapping[str, float]) -> tuple[Term, ...]:
    """LRP-z⁺, Montavon et al. 2017, for inputs of any sign: what raises the output gets it all."""
    return (_raising(w, b, 1.0),)


def alpha_beta(w: Tensor, b: Tensor | None, parameters: Mapping[str, float]) -> tuple[Term, ...]:
    """LRP-αβ, Bach et al. 2015 eq. 60: what raises the output weighs α, what lowers it −β."""
    raising = _raising(w, b, parameters["alpha"])
    if parameters["beta"] == 0:
        return (raising,)
    lowering = Term(
        (Part(Source.POSITIVE, w.clamp(max=0)), Part(Source.NEGATIVE, w.clamp(min=0))),
        None if b is None else b.clamp(max=0),
        share=-parameters["beta"],
    )
    return (raising, lowering)


def gamma(w: Tensor, b: Tensor | None, parameters: Mapping[str, float]) -> tuple[Term, ...]:
    """LRP-γ, Montavon et al. 2019, generalised to any sign by Andéol et al. 2021."""
    raised, lowered = (w + parameters["gamma"] * part for part in (w.clamp(min=0), w.clamp(max=0)))
    return (
        Term(
            (Part(Source.POSITIVE, raised), Part(Source.NEGATIVE, lowered)),
            None if b is None else b + parameters["gamma"] * b.clamp(min=0),
            outputs=Outputs.POSITIVE,
        ),
        Term(
            (Part(Source.POSITIVE, lowered), Part(Source.NEGATIVE, raised)),
            None if b is None else b + parameters["gamma"] * b.clamp(max=0),
            outputs=Outputs.NEGATIVE,
        ),
    )


def z_box(w: Tensor, b: Tensor | None, _: Mapping[str, float]) -> tuple[Term, ...]:  # noqa: ARG001
    """LRP-z^B, Montavon et al. 2017, for a layer whose input lies between bounds; the bias cancels."""
    parts = (
        Part(Source.INPUT, w),
        Part(Source.LOW, -w.clamp(min=0)),
        Part(Source.HIGH, -w.clamp(max=0)),
    )
    return (Term(parts, None),)


def w_square(w: Tensor, b: Tensor | None, _: Mapping[str, float]) -> tuple[Term, ...]:
    """LRP-w², Montavon et al. 2017: by the squared weights, whatever the input."""
    return (Term((Part(Source.ONES, w.square()),), None if b is None else b.square()),)


def flat(w: Tensor, b: Tensor | None, _: Mapping[str, float]) -> tuple[Term, ...]:  # noqa: ARG001
    """LRP-flat, Bach et al. 2016: evenly over the receptive field, whatever input and weights."""
    return (Term((Part(Source.ONES, w.new_ones(()).expand_as(w)),), None),)


def _raising(w: Tensor, b: Tensor | None, share: float) -> Term:
    return Term(
        (Part(Source.POSITIVE, w.clamp(min=0)), Part(Source.NEGATIVE, w.clamp(max=0))),
        None if b is None else b.clamp(min=0),
        share=share,
    )


FUNCTIONS: Mapping[str, RuleFunction] = {
    function.__name__: function
    for function in (zero, epsilon, z_plus, alpha_beta, gamma, z_box, w_square, flat)
}
