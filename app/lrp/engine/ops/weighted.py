"""Relevance of layers with weights, convolutions and dense layers, term by term (`app.lrp.terms`).

Everything that is known before the first input is used at compilation:

- behind a ReLU the input is not negative, and half of every signed rule vanishes;
- where a ReLU masks the output no relevance arrives, unless the rule of the layer above ignores its input;
- ε divides by the output of the forward pass itself, and rules that ignore their input divide by a constant;
- where a denominator can have only one sign, its stabilizer is part of the bias.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lrp.engine.activations import Activations
from app.lrp.engine.ops.affine import Affine, channels_last
from app.lrp.engine.ops.division import divided, stabilized
from app.lrp.terms import Outputs, Part, Source, Term


@dataclass(frozen=True)
class LayerContext:
    """What is known of one layer with weights before any input arrives."""

    affine: Affine
    nonnegative: bool
    """Its input has no negative values."""
    masked: bool
    """No relevance arrives where its output is not positive."""


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest input of one layer; their shape is that of its input."""

    low: Tensor
    """(1, in, …); beyond the first layer with weights only its shape means anything."""
    high: Tensor
    """Likewise."""


class WeightedRule:
    """A convolution or a dense layer under its rule, for inputs of any shape."""

    def __init__(self, terms: Sequence[Term], w: Tensor, b: Tensor | None, context: LayerContext) -> None:
        """``w`` and ``b`` are the layer's own: terms of these very tensors divide by its output."""
        self._terms = [
            _CompiledTerm(term, w, b, context)
            for term in terms
            if not (context.masked and term.outputs is Outputs.NEGATIVE)
        ]
        self.nbytes = sum(2 * part.weight.untyped_storage().nbytes() for term in terms for part in term.parts)
        """Memory of its weights, estimated from above: one copy for each direction."""

    def at(self, bounds: Bounds) -> "Weighted":
        """Return the layer for inputs with these bounds; weights are shared."""
        return Weighted([term.at(bounds) for term in self._terms])


class Weighted:
    """A convolution or a dense layer under its rule, for inputs of one shape: the sum of its terms."""

    conserves = False

    def __init__(self, terms: "Sequence[_TermAt]") -> None:
        self._terms = terms

    def relevance(self, R: Tensor, activations: Activations) -> Tensor:
        """See `app.lrp.engine.steps.Backward`."""
        return _total(term(R, activations) for term in self._terms)


class _CompiledTerm:
    """A term with its weights compiled, for inputs of any shape."""

    def __init__(self, term: Term, w: Tensor, b: Tensor | None, context: LayerContext) -> None:
        parts = [part for part in term.parts if not (context.nonnegative and part.source is Source.NEGATIVE)]
        self._selects = None if context.masked else _SELECTS[term.outputs]
        self._quotient = _quotient(term, parts, w, b, context)
        self._shares = [_share(part, term.share, context) for part in parts]

    def at(self, bounds: Bounds) -> "_TermAt":
        """Return the term for inputs with these bounds."""
        return _TermAt(self._selects, self._quotient(bounds), [share(bounds) for share in self._shares])


@dataclass(frozen=True, eq=False)
class _TermAt:
    """share · Σ u · vᵀ(R / s(Σ v u + c)), with everything precomputed that does not depend on the input."""

    _selects: "Callable[[Tensor, float], Tensor] | None"
    _quotient: "Quotient"
    _shares: "Sequence[Share]"

    def __call__(self, R: Tensor, activations: Activations) -> Tensor:
        """Return this term's share: relevance of the output (n, out, …) -> of the input (n, in, …)."""
        if self._selects is not None:
            R = R * self._selects(activations.z, 0)
        q = self._quotient(R, activations)
        return _total(share(q, activations) for share in self._shares)


Share = Callable[[Tensor, Activations], Tensor]
"""q (n, out, …) -> share · u · vᵀq (n, in, …)"""
Quotient = Callable[[Tensor, Activations], Tensor]
"""R (n, out, …) -> R / s(Σ v u + c) (n, out, …), or its sum over outputs (n, 1, …) for even weights"""

_SELECTS: Mapping[Outputs, Callable[[Tensor, float], Tensor] | None] = {
    Outputs.ALL: None,
    Outputs.POSITIVE: torch.gt,
    Outputs.NEGATIVE: torch.lt,
}
_CONSTANT = frozenset({Source.ONES, Source.LOW, Source.HIGH})


def _share(part: Part, share: float, context: LayerContext) -> Callable[[Bounds], Share]:
    transpose = context.affine.transpose(part.weight if share == 1 else share * part.weight)

    def at(bounds: Bounds) -> Share:
        shape = bounds.low.shape
        if part.source is Source.ONES:
            return lambda q, _: transpose(q, shape)
        return lambda q, activations: transpose(q, shape).mul_(
            _value(part.source, activations.x, context, bounds)
        )

    return at


def _quotient(
    term: Term, parts: Sequence[Part], w: Tensor, b: Tensor | None, context: LayerContext
) -> Callable[[Bounds], Quotient]:
    """Return the cheapest function for the quotient of ``term``, of which only ``parts`` contribute."""
    if all(part.source in _CONSTANT for part in parts):
        return _by_constant(term, parts, context)
    signed = parts[0].source is Source.INPUT or (context.nonnegative and parts[0].source is Source.POSITIVE)
    if len(parts) == 1 and signed and parts[0].weight is w and term.bias is b:
        if context.masked and term.epsilon > 0:
            return lambda _: (
                lambda R, activations: R / (activations.z + term.epsilon)
            )  # the ReLU's output has no negative values
        return lambda _: lambda R, activations: divided(R, activations.z, term.epsilon)
    return _by_forward(term, parts, context)


def _by_constant(term: Term, parts: Sequence[Part], context: LayerContext) -> Callable[[Bounds], Quotient]:
    """Return the quotient where the denominators do not depend on the input."""
    is_even = context.affine.is_even(parts[0].weight)  # then the denominators are even, too

    def at(bounds: Bounds) -> Quotient:
        denominators = stabilized(_constant(term, parts, context, bounds), term.epsilon)
        inverse = channels_last(denominators.reciprocal())
        if is_even:
            return lambda R, _: R.sum(1, keepdim=True) * inverse[:, :1]
        return lambda R, _: R * inverse

    return at


def _by_forward(term: Term, parts: Sequence[Part], context: LayerContext) -> Callable[[Bounds], Quotient]:
    """Return the quotient by a modified forward pass, its bias including ε where the denominator has one sign."""
    varying = [part for part in parts if part.source not in _CONSTANT]
    fixed = [part for part in parts if part.source in _CONSTANT]
    # Where the output is positive so is the sum (see `Term.outputs`); elsewhere there is no relevance to divide.
    floored = term.outputs is Outputs.POSITIVE and len(parts) == 1
    sign = 1 if floored else _sign(term, parts, context)
    bias = term.bias
    if sign:
        shift = parts[0].weight.new_full(parts[0].weight.shape[:1], sign * term.epsilon)
        bias = shift if bias is None else bias + shift
    floor = term.epsilon if floored else -math.inf
    maps = [
        (part.source, context.affine.map(part.weight, *((bias, floor) if index == 0 else (None, -math.inf))))
        for index, part in enumerate(varying)
    ]

    def at(bounds: Bounds) -> Quotient:
        offset = _constant(replace(term, bias=None), fixed, context, bounds) if fixed else None

        def quotient(R: Tensor, activations: Activations) -> Tensor:
            z = _total(forward(_value(source, activations.x, context, bounds)) for source, forward in maps)
            if offset is not None:
                z.add_(offset)
            if not sign:
                return divided(R, z, term.epsilon)
            return torch.div(R, z, out=z) if z.shape == R.shape else R / z

        return quotient

    return at


def _sign(term: Term, parts: Sequence[Part], context: LayerContext) -> int:
    """Return 1 or −1 if the sum of ``parts`` and bias can have only that sign, else 0."""
    signs = {_sign_of(term.bias)} if term.bias is not None else set()
    for part in parts:
        positive = part.source is Source.POSITIVE or (context.nonnegative and part.source is Source.INPUT)
        negative = part.source is Source.NEGATIVE
        signs.add(_sign_of(part.weight) * (1 if positive else -1 if negative else 0))
    return signs.pop() if len(signs) == 1 else 0


def _sign_of(values: Tensor) -> int:
    if bool((values >= 0).all()):
        return 1
    return -1 if bool((values <= 0).all()) else 0


def _constant(term: Term, parts: Sequence[Part], context: LayerContext, bounds: Bounds) -> Tensor:
    """Return the sum of parts that do not depend on the input, and the bias, (1, out, …)."""
    values = {Source.LOW: bounds.low, Source.HIGH: bounds.high, Source.ONES: torch.ones_like(bounds.low)}
    first, *others = parts
    total = context.affine.map(first.weight, term.bias)(channels_last(values[first.source]))
    for part in others:
        total = total + context.affine.map(part.weight, None)(channels_last(values[part.source]))
    return total


def _value(source: Source, x: Tensor, context: LayerContext, bounds: Bounds) -> Tensor:
    match source:
        case Source.POSITIVE:
            return x if context.nonnegative else x.clamp(min=0)
        case Source.NEGATIVE:
            return x.clamp(max=0)
        case Source.LOW:
            return bounds.low
        case Source.HIGH:
            return bounds.high
        case _:
            return x


def _total(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum, computed in place in the first of ``tensors``."""
    first, *others = tensors
    for other in others:
        first.add_(other)
    return first
