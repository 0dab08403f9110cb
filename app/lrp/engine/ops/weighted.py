"""Relevance of layers with weights, convolutions and dense layers, term by term (`app.lrp.terms`).

Everything that is known before the first input is used at compilation:

- behind a ReLU the input is not negative, and half of every signed rule vanishes;
- where a ReLU masks the output no relevance arrives, unless the rule of the layer above ignores its input;
- ε divides by the output of the forward pass itself, and rules that ignore their input divide by a constant;
- where a denominator can have only one sign, its stabilizer is part of the bias.

What is known decides together how a term is computed, so that the functions for it are in one file.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.lrp.engine.layout import Layout
from app.lrp.engine.operation import Redistribution, Values
from app.lrp.engine.ops.affine import Affine, channels_last
from app.lrp.engine.ops.division import absorbed, divided, stabilized
from app.lrp.terms import Outputs, Part, Source, Term


@dataclass(frozen=True)
class LayerContext:
    """What is known of one layer with weights before any input arrives."""

    affine: Affine
    products: Affine
    """The same map, which may compute its products in a smaller precision: for modified forward passes and
    transposes, all that depends on the input.
    """
    nonnegative: bool
    """Its input has no negative values."""
    masked: bool
    """No relevance arrives where its output is not positive."""


@dataclass(frozen=True)
class InputFacts:
    """What is known of the input of one layer with weights once its shape is known."""

    layout: Layout
    """Of the input; the batch of the output lies in the same axis."""
    bounds: Callable[[], tuple[Tensor, Tensor]]
    """Returns the smallest and the largest input, for the first layer with weights and a batch of one."""

    def for_all(self, x: Tensor, rows: int) -> Tensor:
        """Return inputs or outputs for a batch of one, to be combined with those of ``rows`` rows."""
        return x if self.layout.is_simple else self.layout.expand(x, rows)


class WeightedRule:
    """A convolution or a dense layer under its rule, for inputs of any shape."""

    def __init__(self, terms: Sequence[Term], w: Tensor, b: Tensor | None, context: LayerContext) -> None:
        """``w`` and ``b`` are the layer's own: terms of these very tensors divide by its output."""
        self._terms = [
            _CompiledTerm(term, w, b, context)
            for term in terms
            if not (context.masked and term.outputs is Outputs.NEGATIVE)
        ]
        self._axis = context.affine.axis
        # Where the output is 0, terms for outputs of one sign redistribute nothing.
        self._skips_zero = not context.masked and any(term.outputs is not Outputs.ALL for term in terms)
        self._reads_inputs = any(term.reads_inputs for term in self._terms)
        self._reads_output = any(term.reads_output for term in self._terms)
        self.nbytes = sum(term.nbytes for term in self._terms)
        """Memory of its weights."""

    def at(self, facts: InputFacts) -> "Weighted":
        """Return the layer for inputs of one shape; weights are shared."""
        terms = [term.at(facts) for term in self._terms]
        return Weighted(terms, self._axis, self._skips_zero, self._reads_inputs, self._reads_output)


@dataclass(frozen=True, eq=False)
class Weighted:
    """A convolution or a dense layer under its rule, for inputs of one shape: the sum of its terms."""

    terms: "Sequence[_TermAt]"
    axis: int
    """Axis of the outputs."""
    skips_zero: bool
    """Whether relevance of outputs that are 0 is not redistributed."""
    reads_inputs: bool
    reads_output: bool
    conserves = False
    receivers = (0,)
    is_cheap = False

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        found = [term(R, values) for term in self.terms]
        kept = [amount for _, amount in found]
        if self.skips_zero:
            kept.append(R.masked_fill(values.z != 0, 0).sum(self.axis, keepdim=True))
        return Redistribution((_total(relevance for relevance, _ in found),), _total(kept))


class _CompiledTerm:
    """A term with its weights compiled, for inputs of any shape."""

    def __init__(self, term: Term, w: Tensor, b: Tensor | None, context: LayerContext) -> None:
        parts = [part for part in term.parts if not (context.nonnegative and part.source is Source.NEGATIVE)]
        self._selects = None if context.masked else _SELECTS[term.outputs]
        by_output = _divides_by_output(term, parts, w, b, context)
        self._quotient = _by_output(term, context) if by_output else _by_sum(term, parts, context)
        self._share = term.share
        self._shares = [_share(part, term.share, context) for part in parts]
        copied = [*parts, *(() if by_output else parts)]  # for the transposes, and for the sum
        self.nbytes = sum(part.weight.untyped_storage().nbytes() for part in copied)
        self.reads_inputs = any(part.source not in _CONSTANT for part in parts)
        self.reads_output = by_output or self._selects is not None

    def at(self, facts: InputFacts) -> "_TermAt":
        """Return the term for inputs of one shape."""
        shares = [share(facts) for share in self._shares]
        return _TermAt(self._selects, self._quotient(facts), self._share, shares)


@dataclass(frozen=True, eq=False)
class _TermAt:
    """share · Σ u · vᵀ(R / s(Σ v u + c)), with everything precomputed that does not depend on the input."""

    _selects: "Callable[[Tensor, float], Tensor] | None"
    _quotient: "Quotient"
    _share: float
    _shares: "Sequence[Share]"

    def __call__(self, R: Tensor, values: Values) -> tuple[Tensor, Tensor]:
        """Return this term's share: relevance of the output (n, out, …) -> of the input (n, in, …).

        Also return what bias and stabilizer absorb of it, (n, 1, …).
        """
        if self._selects is not None:
            R = R * self._selects(values.z, 0)
        q, kept = self._quotient(R, values)
        return _total(share(q, values) for share in self._shares), kept.mul_(self._share)


Share = Callable[[Tensor, Values], Tensor]
"""q (n, out, …) -> share · u · vᵀq (n, in, …)"""
Quotient = Callable[[Tensor, Values], tuple[Tensor, Tensor]]
"""R (n, out, …) -> q = R / s(Σ v u + c) (n, out, …), or its sum over outputs (n, 1, …) for even weights; and what
bias and stabilizer absorb, Σ q (c + ε·sgn(Σ v u + c)) over outputs (n, 1, …)"""
Kept = Callable[[Tensor, Tensor], Tensor]
"""R, q (n, out, …) -> what bias and stabilizer absorb (n, 1, …)"""

_SELECTS: Mapping[Outputs, Callable[[Tensor, float], Tensor] | None] = {
    Outputs.ALL: None,
    Outputs.POSITIVE: torch.gt,
    Outputs.NEGATIVE: torch.lt,
}
_CONSTANT = frozenset({Source.ONES, Source.LOW, Source.HIGH})


def _share(part: Part, share: float, context: LayerContext) -> Callable[[InputFacts], Share]:
    transpose = context.products.transpose(part.weight if share == 1 else share * part.weight)

    def at(facts: InputFacts) -> Share:
        if part.source is Source.ONES:
            return lambda q, values: transpose(q, values.input_shape(0))
        source = _source(part.source, context, facts)
        return lambda q, values: transpose(q, values.input_shape(0)).mul_(source(values))

    return at


def _divides_by_output(
    term: Term, parts: Sequence[Part], w: Tensor, b: Tensor | None, context: LayerContext
) -> bool:
    """Return whether the sum of ``parts``, which alone contribute, is the layer's output."""
    signed = parts[0].source is Source.INPUT or (context.nonnegative and parts[0].source is Source.POSITIVE)
    return len(parts) == 1 and signed and parts[0].weight is w and term.bias is b


def _by_output(term: Term, context: LayerContext) -> Callable[[InputFacts], Quotient]:
    kept = _kept(term, 1 if context.masked else 0, context)

    def quotient(R: Tensor, values: Values) -> tuple[Tensor, Tensor]:
        if context.masked and term.epsilon > 0:  # the ReLU's output has no negative values
            q = R / (values.z + term.epsilon)
        else:
            q = divided(R, values.z, term.epsilon)
        return q, kept(R, q)

    return lambda _: quotient


def _by_sum(term: Term, parts: Sequence[Part], context: LayerContext) -> Callable[[InputFacts], Quotient]:
    is_constant = all(part.source in _CONSTANT for part in parts)
    return (_by_constant if is_constant else _by_forward)(term, parts, context)


def _by_constant(
    term: Term, parts: Sequence[Part], context: LayerContext
) -> Callable[[InputFacts], Quotient]:
    """Return the quotient where the denominators do not depend on the input."""
    is_even = context.affine.is_even(parts[0].weight)  # then the denominators are even, too
    axis = context.affine.axis
    kept = _kept(term, _sign(term, parts, context), context, count=1 if is_even else None)

    def at(facts: InputFacts) -> Quotient:
        denominators = stabilized(_constant(term, parts, context, facts), term.epsilon)
        inverse = channels_last(denominators.reciprocal())
        if is_even:
            inverse = inverse.narrow(axis, 0, 1)

        def quotient(R: Tensor, _: Values) -> tuple[Tensor, Tensor]:
            q = (R.sum(axis, keepdim=True) if is_even else R) * inverse
            return q, kept(R, q)

        return quotient

    return at


def _by_forward(term: Term, parts: Sequence[Part], context: LayerContext) -> Callable[[InputFacts], Quotient]:
    """Return the quotient by a modified forward pass, its bias including ε where the denominator has one sign."""
    varying = [part for part in parts if part.source not in _CONSTANT]
    fixed = [part for part in parts if part.source in _CONSTANT]
    # Where the output is positive so is the sum (see `Term.outputs`); elsewhere there is no relevance to divide.
    floored = term.outputs is Outputs.POSITIVE and len(parts) == 1
    sign = 1 if floored else _sign(term, parts, context)
    bias = _stabilized_bias(term, sign) if sign else term.bias
    kept = _kept(term, sign, context)
    floor = term.epsilon if floored else -math.inf
    maps = [
        (
            part.source,
            context.products.map(part.weight, *((bias, floor) if index == 0 else (None, -math.inf))),
        )
        for index, part in enumerate(varying)
    ]

    def at(facts: InputFacts) -> Quotient:
        offset = _constant(replace(term, bias=None), fixed, context, facts) if fixed else None
        sources = [(_source(source, context, facts), forward) for source, forward in maps]

        def quotient(R: Tensor, values: Values) -> tuple[Tensor, Tensor]:
            z = _total(forward(source(values)) for source, forward in sources)
            if offset is not None:
                z.add_(facts.for_all(offset, facts.layout.rows(z)))
            if not sign:
                q = divided(R, z, term.epsilon)
            else:
                q = torch.div(R, z, out=z) if z.shape == R.shape else R / z
            return q, kept(R, q)

        return quotient

    return at


def _kept(term: Term, sign: int, context: LayerContext, count: int | None = None) -> Kept:
    """Return the function of what bias and stabilizer absorb.

    ``sign`` is that of the sum, 0 if it may have either. ``count``: number of outputs in q, if not all.
    """
    linear, bias = context.affine, term.bias
    if sign:
        offset = _stabilized_bias(term, sign)[:count]
        return lambda _, q: linear.total(q, offset)

    def kept(R: Tensor, q: Tensor) -> Tensor:
        amount = absorbed(R, q, term.epsilon).sum(linear.axis, keepdim=True)
        return amount if bias is None else amount.add_(linear.total(q, bias))

    return kept


def _stabilized_bias(term: Term, sign: int) -> Tensor:
    """Return c + ε·sgn, (out,)."""
    weight = term.parts[0].weight
    shift = weight.new_full(weight.shape[:1], sign * term.epsilon)
    return shift if term.bias is None else term.bias + shift


def _sign(term: Term, parts: Sequence[Part], context: LayerContext) -> int:
    """Return 1 or −1 if the sum of ``parts`` and bias can have only that sign, else 0."""
    signs = {_sign_of(term.bias)} if term.bias is not None else set()
    for part in parts:
        positive = part.source in (Source.POSITIVE, Source.ONES) or (
            context.nonnegative and part.source is Source.INPUT
        )
        negative = part.source is Source.NEGATIVE
        signs.add(_sign_of(part.weight) * (1 if positive else -1 if negative else 0))
    return signs.pop() if len(signs) == 1 else 0


def _sign_of(values: Tensor) -> int:
    if bool((values >= 0).all()):
        return 1
    return -1 if bool((values <= 0).all()) else 0


def _constant(term: Term, parts: Sequence[Part], context: LayerContext, facts: InputFacts) -> Tensor:
    """Return the sum of parts that do not depend on the input, and the bias, (1, out, …)."""
    first, *others = parts
    total = context.affine.map(first.weight, term.bias)(_fixed(first, facts))
    for part in others:
        total = total + context.affine.map(part.weight, None)(_fixed(part, facts))
    return total


def _fixed(part: Part, facts: InputFacts) -> Tensor:
    """Return a source that does not depend on the input, (1, in, …)."""
    if part.source is Source.ONES:
        return channels_last(part.weight.new_ones(1, *facts.layout.shape[1:]))
    low, high = facts.bounds()
    return channels_last(low if part.source is Source.LOW else high)


def _source(source: Source, context: LayerContext, facts: InputFacts) -> Callable[[Values], Tensor]:
    """Return the function that reads a source, (n or 1, in, …)."""
    match source:
        case Source.POSITIVE if not context.nonnegative:
            return lambda values: values.inputs[0].clamp(min=0)
        case Source.NEGATIVE:
            return lambda values: values.inputs[0].clamp(max=0)
        case Source.LOW | Source.HIGH:
            low, high = facts.bounds()
            bound, layout = low if source is Source.LOW else high, facts.layout
            return lambda values: facts.for_all(bound, layout.rows_of(values.input_shape(0)))
        case _:
            return lambda values: values.inputs[0]


def _total(tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum, computed in place in the first of ``tensors``."""
    first, *others = tensors
    for other in others:
        first.add_(other)
    return first
