"""The layers of a chain, compiled: each a pure function forward and, under a rule, a pure function back.

What can be known before the first picture arrives is used when a step is made:

- behind a ReLU the input has one sign, and half of every signed rule vanishes;
- where a ReLU was shut no relevance arrives, unless the rule above gives some whatever the input;
- ε divides by the forward pass itself, and rules that ignore the input divide by a constant;
- where a denominator has but one sign, its stabilizer is a bias.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lrp.engine.ops.affine import Affine, channels_last
from app.lrp.engine.ops.division import divided, stabilized
from app.lrp.engine.steps import Seen
from app.lrp.terms import Outputs, Part, Source, Term


@dataclass(frozen=True)
class Context:
    """What is known of one weighted layer before any input arrives."""

    affine: Affine
    nonnegative: bool
    """Its input has no negative values."""
    silent: bool
    """No relevance arrives where its output is not positive."""
    low: Tensor
    """The smallest input, (1, in, …). Behind the first layer with weights it tells nothing but the shape."""
    high: Tensor


class Weighted:
    """A convolution or a dense layer under its rule: one term, or several whose shares add up."""

    conserves = False

    def __init__(self, terms: Sequence[Term], w: Tensor, b: Tensor | None, context: Context) -> None:
        """``w`` and ``b`` are the layer's own, so that terms made of them are known to be the forward pass."""
        self._terms = [
            _CompiledTerm(term, w, b, context)
            for term in terms
            if not (context.silent and term.outputs is Outputs.NEGATIVE)
        ]

    def __call__(self, R: Tensor, seen: Seen) -> Tensor:
        """See `Back`."""
        return _total(term(R, seen) for term in self._terms)


class _CompiledTerm:
    """share · Σ u · vᵀ(R / s(Σ v u + c)), with all that does not depend on the input computed."""

    def __init__(self, term: Term, w: Tensor, b: Tensor | None, context: Context) -> None:
        parts = [part for part in term.parts if not (context.nonnegative and part.source is Source.NEGATIVE)]
        self._selects = None if context.silent else _SELECTS[term.outputs]
        self._quotient = _quotient(term, parts, w, b, context)
        self._shares = [_share(part, term.share, context) for part in parts]

    def __call__(self, R: Tensor, seen: Seen) -> Tensor:
        """Relevance of the output (n, out, …) -> this term's relevance of the input (n, in, …)."""
        if self._selects is not None:
            R = R * self._selects(seen.z, 0)
        q = self._quotient(R, seen)
        return _total(share(q, seen) for share in self._shares)


Share = Callable[[Tensor, Seen], Tensor]
"""q, and what the layer saw -> share · u · vᵀq."""
Quotient = Callable[[Tensor, Seen], Tensor]
"""R, and what the layer saw -> R / s(Σ v u + c)."""

_SELECTS: Mapping[Outputs, Callable[[Tensor, float], Tensor] | None] = {
    Outputs.ALL: None,
    Outputs.POSITIVE: torch.gt,
    Outputs.NEGATIVE: torch.lt,
}
_CONSTANT = frozenset({Source.ONES, Source.LOW, Source.HIGH})


def _share(part: Part, share: float, context: Context) -> Share:
    transpose = context.affine.transpose(
        part.weight if share == 1 else share * part.weight, context.low.shape
    )
    if part.source is Source.ONES:
        return lambda q, _: transpose(q)
    return lambda q, seen: transpose(q).mul_(_value(part.source, seen.x, context))


def _quotient(term: Term, parts: Sequence[Part], w: Tensor, b: Tensor | None, context: Context) -> Quotient:
    """The cheapest way to a term's quotient that its rule and the layer allow."""
    if all(part.source in _CONSTANT for part in parts):
        inverse = channels_last(stabilized(_constant(term, parts, context), term.epsilon).reciprocal())
        if context.affine.is_even(parts[0].weight):  # the denominators as well
            return lambda R, _: R.sum(1, keepdim=True) * inverse[:, :1]
        return lambda R, _: R * inverse
    signed = parts[0].source is Source.INPUT or (context.nonnegative and parts[0].source is Source.POSITIVE)
    if len(parts) == 1 and signed and parts[0].weight is w and term.bias is b:
        if context.silent and term.epsilon > 0:
            return lambda R, seen: R / (seen.z + term.epsilon)  # a ReLU has left no negative outputs
        return lambda R, seen: divided(R, seen.z, term.epsilon)
    return _by_forward(term, parts, context)


def _by_forward(term: Term, parts: Sequence[Part], context: Context) -> Quotient:
    """By a modified forward pass, with the stabilizer in its bias where the denominator's sign is known."""
    varying = [part for part in parts if part.source not in _CONSTANT]
    fixed = [part for part in parts if part.source in _CONSTANT]
    offset = _constant(replace(term, bias=None), fixed, context) if fixed else None
    # Where the outputs are positive so is the term's own sum; elsewhere there is no relevance to divide.
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

    def quotient(R: Tensor, seen: Seen) -> Tensor:
        z = _total(forward(_value(source, seen.x, context)) for source, forward in maps)
        if offset is not None:
            z.add_(offset)
        if not sign:
            return divided(R, z, term.epsilon)
        return torch.div(R, z, out=z) if z.shape == R.shape else R / z

    return quotient


def _sign(term: Term, parts: Sequence[Part], context: Context) -> int:
    """1 or −1 where the term's sum can have but that sign, else 0."""
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


def _constant(term: Term, parts: Sequence[Part], context: Context) -> Tensor:
    """The sum of what does not depend on the input, (1, out, …)."""
    bounds = {Source.LOW: context.low, Source.HIGH: context.high, Source.ONES: torch.ones_like(context.low)}
    first, *others = parts
    total = context.affine.map(first.weight, term.bias)(channels_last(bounds[first.source]))
    for part in others:
        total = total + context.affine.map(part.weight, None)(channels_last(bounds[part.source]))
    return total


def _value(source: Source, x: Tensor, context: Context) -> Tensor:
    match source:
        case Source.POSITIVE:
            return x if context.nonnegative else x.clamp(min=0)
        case Source.NEGATIVE:
            return x.clamp(max=0)
        case Source.LOW:
            return context.low
        case Source.HIGH:
            return context.high
        case _:
            return x


def _total(tensors: Iterable[Tensor]) -> Tensor:
    """Their sum, in the first of them."""
    first, *others = tensors
    for other in others:
        first.add_(other)
    return first
