"""Relevance by one forward pass and one transposed pass: no autograd, no hooks, nothing swapped.

A (network, composite, input shape) is compiled once into steps. A step is a pure function forward and a pure
function back, with its weights precomputed, so that any number of threads may share it. What can be known
before the first picture arrives is used then:

- behind a ReLU the input has one sign, and half of every signed rule vanishes;
- where a ReLU was shut no relevance arrives, unless the rule above gives some whatever the input;
- ε divides by the forward pass itself, and rules that ignore the input divide by a constant.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.errors import InvalidParameterError
from app.lrp.composites import Composite, Rule, leaf_layers
from app.lrp.rules import FUNCTIONS, STABILIZER, Outputs, Source, Term
from app.lrp.seed import Explanation, Seed

INPUT_BLIND = frozenset({"flat", "w_square", "z_box"})
"""Rules that give relevance to inputs that are zero."""
CHAINS_KEPT = 16
"""Compiled chains kept; each may hold a few copies of the weights."""


class NotCompilableError(Exception):
    """The engine has no step for this layer; the reference explains such networks."""


class Affine(Protocol):
    """The linear map of a weighted layer, for any weights of its shape."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """The layer's output for these weights."""

    def prepare(self, w: Tensor) -> Tensor:
        """``w`` as `forward` likes it in memory."""

    def prepare_back(self, w: Tensor) -> Tensor:
        """``w`` as `back` wants it."""

    def back(self, q: Tensor, prepared: Tensor, shape: torch.Size) -> Tensor:
        """The transpose: (B, out, …) -> ``shape``, the input's."""


class Step(Protocol):
    """One layer, compiled."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """The layer's output, and what the way back needs."""

    def back(self, R: Tensor, memo: Any) -> Tensor:
        """Relevance of the output -> relevance of the input."""


@dataclass(frozen=True)
class Dense:
    """(B, in) -> (B, out)."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """See `Affine`."""
        return F.linear(x, w, b)

    def prepare(self, w: Tensor) -> Tensor:
        """See `Affine`."""
        return w.contiguous()

    def prepare_back(self, w: Tensor) -> Tensor:
        """See `Affine`."""
        return w.contiguous()

    def back(self, q: Tensor, prepared: Tensor, shape: torch.Size) -> Tensor:  # noqa: ARG002
        """See `Affine`."""
        return q @ prepared


@dataclass(frozen=True)
class Convolution:
    """(B, in, *spatial) -> (B, out, *spatial), in one or two dimensions."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def flips(self) -> bool:
        """Whether the transpose is a plain convolution with flipped weights, the faster of the two on CPU."""
        return self.groups == 1 and set(self.stride) == {1} and min(self._flipped_padding()) >= 0

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """See `Affine`."""
        return self._convolve(x, w, b, self.stride, self.padding)

    def prepare(self, w: Tensor) -> Tensor:
        """See `Affine`."""
        layout = torch.channels_last if w.dim() == 4 else torch.contiguous_format
        return w.contiguous(memory_format=layout)

    def prepare_back(self, w: Tensor) -> Tensor:
        """See `Affine`."""
        spatial = tuple(range(2, w.dim()))
        return self.prepare(w.flip(spatial).transpose(0, 1) if self.flips else w)

    def back(self, q: Tensor, prepared: Tensor, shape: torch.Size) -> Tensor:
        """See `Affine`."""
        if self.flips:
            return self._convolve(q, prepared, None, self.stride, self._flipped_padding())
        rest = [
            wanted - ((given - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
            for wanted, given, stride, padding, dilation, kernel in zip(
                shape[2:], q.shape[2:], self.stride, self.padding, self.dilation, self.kernel, strict=True
            )
        ]
        return torch.convolution(
            q,
            prepared,
            None,
            self.stride,
            self.padding,
            self.dilation,
            True,
            rest,
            self.groups,
        )

    def _convolve(
        self, x: Tensor, w: Tensor, b: Tensor | None, stride: Sequence[int], padding: Sequence[int]
    ) -> Tensor:
        none = [0] * len(self.kernel)
        return torch.convolution(x, w, b, stride, padding, self.dilation, False, none, self.groups)

    def _flipped_padding(self) -> tuple[int, ...]:
        return tuple(
            d * (k - 1) - p for d, k, p in zip(self.dilation, self.kernel, self.padding, strict=True)
        )


@dataclass(frozen=True)
class Context:
    """What is known of one weighted layer before any input arrives."""

    affine: Affine
    shape: torch.Size
    """Of its input, for a batch of one."""
    nonnegative: bool
    """Its input has no negative values."""
    silent: bool
    """No relevance arrives where its output is not positive."""
    low: Tensor
    high: Tensor


class WeightedTerm:
    """One term of a rule on one layer, with all that does not depend on the input computed."""

    def __init__(self, term: Term, w: Tensor, b: Tensor | None, context: Context) -> None:
        affine = self._affine = context.affine
        parts = [part for part in term.parts if not (context.nonnegative and part.source is Source.NEGATIVE)]
        signed = {Source.POSITIVE: Source.INPUT} if context.nonnegative else {}
        self._sources = [signed.get(part.source, part.source) for part in parts]
        self._weights = [affine.prepare(part.weight) for part in parts]
        self._weights_back = [affine.prepare_back(part.weight) for part in parts]
        self._bias = term.bias
        self._share = term.share
        self._epsilon = term.epsilon
        self._outputs = Outputs.ALL if context.silent else term.outputs
        self._constants = {
            source: _constant(source, context) for source in self._sources if source in _CONSTANT
        }
        self._output_is_denominator = (
            self._sources == [Source.INPUT] and parts[0].weight is w and term.bias is b
        )
        # Where the output is the denominator and only its positive values matter, ReLU has left only those.
        self._denominator_is_positive = self._output_is_denominator and context.silent
        self._denominator = (
            self._stabilized(self._forward(dict(self._constants)))
            if set(self._sources) <= _CONSTANT
            else None
        )

    def back(self, R: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """This term's relevance of the layer's input ``x``; ``z`` is the layer's output."""
        values = {source: self._value(source, x) for source in self._sources}
        q = self._divide(self._selected(R, z), values, z)
        total: Tensor | None = None
        for source, prepared in zip(self._sources, self._weights_back, strict=True):
            share = self._affine.back(q, prepared, x.shape)
            if source is not Source.ONES:
                share = share.mul_(values[source])
            total = share if total is None else total.add_(share)
        assert total is not None
        return total if self._share == 1 else total.mul_(self._share)

    def _divide(self, R: Tensor, values: dict[Source, Tensor], z: Tensor) -> Tensor:
        if self._denominator is not None:
            return R / self._denominator
        denominator = z if self._output_is_denominator else self._forward(values)
        if self._epsilon == 0:
            return torch.where(denominator == 0, 0, R / denominator)
        return R / self._stabilized(denominator)

    def _stabilized(self, z: Tensor) -> Tensor:
        if self._denominator_is_positive:
            return z + self._epsilon
        return _stabilized(z, self._epsilon)

    def _selected(self, R: Tensor, z: Tensor) -> Tensor:
        match self._outputs:
            case Outputs.ALL:
                return R
            case Outputs.POSITIVE:
                return R * (z > 0)
            case Outputs.NEGATIVE:
                return R * (z < 0)

    def _forward(self, values: dict[Source, Tensor]) -> Tensor:
        total: Tensor | None = None
        for source, weight in zip(self._sources, self._weights, strict=True):
            bias = self._bias if total is None else None
            part = self._affine.forward(values[source], weight, bias)
            total = part if total is None else total.add_(part)  # a constant part is one row: it comes later
        assert total is not None
        return total

    def _value(self, source: Source, x: Tensor) -> Tensor:
        match source:
            case Source.INPUT:
                return x
            case Source.POSITIVE:
                return x.clamp(min=0)
            case Source.NEGATIVE:
                return x.clamp(max=0)
            case _:
                return self._constants[source]


@dataclass(frozen=True)
class Weighted:
    """A convolution or a dense layer under its rule."""

    affine: Affine
    weight: Tensor
    bias: Tensor | None
    terms: tuple[WeightedTerm, ...]

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See `Step`."""
        z = self.affine.forward(x, self.weight, self.bias)
        return z, (x, z)

    def back(self, R: Tensor, memo: tuple[Tensor, Tensor]) -> Tensor:
        """See `Step`."""
        first, *others = (term.back(R, *memo) for term in self.terms)
        for other in others:
            first = first.add_(other)
        return first


@dataclass(frozen=True)
class Elementwise:
    """ReLU, dropout, flatten, identity: relevance passes as it is."""

    function: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> tuple[Tensor, torch.Size]:
        """See `Step`; flatten changes the shape."""
        return self.function(x), x.shape

    def back(self, R: Tensor, memo: torch.Size) -> Tensor:
        """See `Step`."""
        return R.reshape(memo)


@dataclass(frozen=True)
class MaxPooling:
    """Relevance goes to the largest of each window."""

    options: tuple[Any, ...]  # kernel, stride, padding, dilation, ceil_mode

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See `Step`."""
        pooled, winners = torch.ops.aten.max_pool2d_with_indices(x, *self.options)
        return pooled, (x, winners)

    def back(self, R: Tensor, memo: tuple[Tensor, Tensor]) -> Tensor:
        """See `Step`."""
        relevance: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            R, memo[0], *self.options, memo[1]
        )
        return relevance


@dataclass(frozen=True)
class AveragePooling:
    """Relevance is shared in proportion to the input, `norm` of relevance.md."""

    pool: Callable[[Tensor], Tensor]
    pool_back: Callable[[Tensor, Tensor], Tensor]

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See `Step`."""
        pooled = self.pool(x)
        return pooled, (x, pooled)

    def back(self, R: Tensor, memo: tuple[Tensor, Tensor]) -> Tensor:
        """See `Step`."""
        x, pooled = memo
        return x * self.pool_back(R / _stabilized(pooled, STABILIZER), x)


class Engine:
    """Explains a feed-forward chain of layers; the counterpart of `app.lrp.reference.Reference`.

    Raises `NotCompilableError` for a network with a layer that has no step.
    """

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor) -> None:
        """``low`` and ``high``: the smallest and largest input, broadcastable to it."""
        self._names = [name for name, _ in leaf_layers(model)]
        self._layers = [model.get_submodule(name) for name in self._names]
        for name, layer in zip(self._names, self._layers, strict=True):
            if not isinstance(layer, _KNOWN):
                raise NotCompilableError(f"{name} is a {type(layer).__name__}")
            if isinstance(layer, _WEIGHTED):
                _affine(layer)  # refuses paddings that it has no step for
        self._low, self._high = low, high
        self._compiled = lru_cache(CHAINS_KEPT)(self._compile)

    @torch.inference_mode()
    def explain(
        self, inputs: Tensor, composite: Composite, seed: Seed, layer: str | None = None
    ) -> Explanation:
        """Relevance of ``inputs`` (B, …) at the input of ``layer``, the pixels if none is named.

        ``seed`` gives the relevance that is put in, (B, classes), for the logits (B, classes).
        """
        at = 0 if layer is None else self._index(layer)
        steps = self._compiled(composite, inputs.shape[1:], inputs.dtype)
        x, memos = _channels_last(inputs), []
        for step in steps:
            x, memo = step.forward(x)
            memos.append(memo)
        R = start = seed(x)
        sums: list[tuple[str, Tensor]] = []
        relevance = R
        for index in reversed(range(len(steps))):
            R = steps[index].back(R, memos[index])
            sums.append((self._names[index], R.flatten(1).sum(1)))
            if index == at:
                relevance = R
        return Explanation(logits=x, start=start, relevance=relevance, sums=tuple(reversed(sums)))

    def _index(self, layer: str) -> int:
        if layer not in self._names:
            raise InvalidParameterError("layer", f"no layer {layer!r}; there are {', '.join(self._names)}")
        return self._names.index(layer)

    @torch.inference_mode()
    def _compile(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> tuple[Step, ...]:
        rules = dict(composite.layers)
        x = self._low.new_zeros(1, *shape, dtype=dtype)
        low, high = (bound.to(dtype).expand(x.shape) for bound in (self._low, self._high))
        nonnegative, weighted, steps = False, False, []
        for index, (name, layer) in enumerate(zip(self._names, self._layers, strict=True)):
            silent = self._is_silent(index, rules)
            if isinstance(layer, _WEIGHTED):
                context = Context(_affine(layer), x.shape, nonnegative, silent, low, high)
                step: Step = _weighted(layer, rules[name], context, dtype)
                nonnegative, weighted = False, True
            else:
                # In place where what ReLU overwrites is not looked at again.
                step = _unweighted(layer, inplace=index > 0 and self._is_silent(index - 1, rules))
                nonnegative = nonnegative or isinstance(layer, nn.ReLU)
            x, _ = step.forward(x)
            if not weighted:  # the bounds are those of the first weighted layer's input
                (low, _), (high, _) = step.forward(low), step.forward(high)
            steps.append(step)
        return tuple(steps)

    def _is_silent(self, index: int, rules: dict[str, Rule]) -> bool:
        """Whether no relevance arrives at the layer's output where that is not positive: a ReLU shut it."""
        above = list(zip(self._names, self._layers, strict=True))[index + 1 :]
        between = list(itertools.takewhile(lambda item: not isinstance(item[1], _WEIGHTED), above))
        if not isinstance(self._layers[index], _WEIGHTED) or len(between) == len(above):
            return False
        name, _ = above[len(between)]
        return bool(between) and isinstance(between[0][1], nn.ReLU) and rules[name].name not in INPUT_BLIND


_CONSTANT = frozenset({Source.ONES, Source.LOW, Source.HIGH})
_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
_PASSING = (nn.ReLU, nn.Dropout, nn.Dropout2d, nn.Flatten, nn.Identity)
_KNOWN = (*_WEIGHTED, *_PASSING, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


def _affine(layer: nn.Module) -> Affine:
    if isinstance(layer, nn.Linear):
        return Dense()
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise NotCompilableError(f"padding {layer.padding_mode}, {layer.padding}")
    return Convolution(layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)


def _weighted(layer: nn.Module, rule: Rule, context: Context, dtype: torch.dtype) -> Weighted:
    assert isinstance(layer, _WEIGHTED)
    w = context.affine.prepare(layer.weight.detach().to(dtype))
    b = None if layer.bias is None else layer.bias.detach().to(dtype)
    terms = [
        WeightedTerm(term, w, b, context)
        for term in FUNCTIONS[rule.name](w, b, dict(rule.parameters))
        if not (context.silent and term.outputs is Outputs.NEGATIVE)
    ]
    return Weighted(context.affine, w, b, tuple(terms))


def _unweighted(layer: nn.Module, *, inplace: bool) -> Step:
    match layer:
        case nn.ReLU():
            return Elementwise(F.relu_ if inplace else F.relu)
        case nn.Flatten():
            return Elementwise(lambda x: x.flatten(layer.start_dim, layer.end_dim))
        case nn.MaxPool2d():
            windows = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            return MaxPooling((*map(_pair, windows), layer.ceil_mode))
        case nn.AvgPool2d():
            options = (
                _pair(layer.kernel_size),
                _pair(layer.stride),
                _pair(layer.padding),
                layer.ceil_mode,
                layer.count_include_pad,
                layer.divisor_override,
            )
            return AveragePooling(
                layer, lambda q, x: torch.ops.aten.avg_pool2d_backward(q.contiguous(), x, *options)
            )
        case nn.AdaptiveAvgPool2d():
            return AveragePooling(layer, torch.ops.aten._adaptive_avg_pool2d_backward)
        case _:
            return Elementwise(lambda x: x)


def _stabilized(z: Tensor, epsilon: float) -> Tensor:
    """s(z) = z + ε·sgn(z) with sgn(0) = +1."""
    return torch.where(z < 0, z - epsilon, z + epsilon)


def _pair(option: int | tuple[int, ...]) -> list[int]:
    return [option, option] if isinstance(option, int) else list(option)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def _constant(source: Source, context: Context) -> Tensor:
    bounds = {Source.LOW: context.low, Source.HIGH: context.high, Source.ONES: context.low.new_ones(())}
    return _channels_last(bounds[source].expand(context.shape))
