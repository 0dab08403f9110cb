"""Relevance by one forward pass and one transposed pass: no autograd, no hooks, nothing swapped.

A network is compiled once into a chain of steps, forward and, for each rule, back (`app.lrp.engine.ops`).
A step is a pure function with its weights precomputed, so that any number of threads may share it. Whatever is
asked of a batch shares one forward pass, and on the way back goes together as far as the rules are the same:

    inputs ──conv──relu──pool──conv──relu──dense──relu──dense── logits
      ♭ ◄──────────────┬─────── z⁺ ◄─┬──────────── ε ◄───────── cat, dog, cat
      □ ◄──────────────┴─────── γ  ◄─┘
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.lrp.attribution import (
    Attribution,
    Batch,
    BatchAttributions,
    OutputRelevance,
    extremes,
    output_relevance,
)
from app.lrp.composites import Composite
from app.lrp.engine.ops.affine import NotCompilableError, affine, channels_last
from app.lrp.engine.ops.passing import Passing
from app.lrp.engine.ops.pooling import AveragePooling, MaxPooling
from app.lrp.engine.ops.weighted import Context, Weighted
from app.lrp.engine.steps import Back, Forward, Rows, Seen
from app.lrp.graph.canonize import canonized
from app.lrp.rules import RULES, AssignedRule

SHAPES_KEPT = 4
"""Input shapes and precisions that the forward pass stays compiled for."""
BACKS_KEPT = 64
"""Compiled layers kept, for some ten composites; each may hold copies of its weights."""


@dataclass(frozen=True, eq=False)
class _Descent:
    """One layer's way back under one rule. Where a ReLU leaves out what is not positive, ``silent``, the output
    that counts is the ReLU's.
    """

    back: Back
    silent: bool


@dataclass(frozen=True, eq=False)
class _Trace:
    """A forward pass: ``values[i]`` is the input of layer i, and the last one the logits."""

    values: list[Tensor]
    extras: list[Tensor | None]


@dataclass(frozen=True, eq=False)
class _Piece:
    """Relevance ``R`` (n, …) of the requests ``members``, which have had the same rules so far."""

    members: list[int]
    R: Tensor


class Engine:
    """Explains a feed-forward chain of layers; the counterpart of `app.lrp.reference.Reference`.

    Raises `NotCompilableError` for a network with a layer that has no step.
    """

    name = "lrpserve"

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor) -> None:
        """``low`` and ``high``: the smallest and largest input, broadcastable to it."""
        chain = canonized(model)
        self._names, self._layers = tuple(name for name, _ in chain), [layer for _, layer in chain]
        for name, layer in chain:
            if not isinstance(layer, _KNOWN):
                raise NotCompilableError(f"{name} is a {type(layer).__name__}")
            if isinstance(layer, _WEIGHTED):
                affine(layer)  # refuses paddings that it has no map for
        self._low, self._high = low, high
        self._bounds = lru_cache(SHAPES_KEPT)(self._find_bounds)
        self._forward_step = lru_cache(SHAPES_KEPT * len(chain))(self._compile_forward)
        self._descent = lru_cache(BACKS_KEPT)(self._compile_back)

    @torch.inference_mode()
    def attribute(
        self, inputs: Tensor, composite: Composite, start: OutputRelevance, layer: str | None = None
    ) -> Attribution:
        """Relevance of ``inputs`` (B, …) at the input of ``layer``, the pixels if none is named.

        ``start`` gives the relevance that is put in, (B, classes), for the logits (B, classes).
        """
        at, rows = composite.position(layer), list(range(len(inputs)))
        chain = self._chain(composite, inputs)
        trace = self._forward(inputs, [chain])
        logits = trace.values[-1]
        relevance = put_in = start(logits)
        sums: list[Tensor] = []
        for index, pieces, total in self._down(trace, put_in, rows, [chain] * len(rows)):
            sums.append(total)
            if index == at:
                relevance = pieces[0].R
        return Attribution(logits, put_in, relevance, extremes(relevance), self._names, _upwards(sums))

    @torch.inference_mode()
    def run(self, batch: Batch) -> BatchAttributions:
        """All that is requested of the inputs of ``batch``, by one forward pass."""
        requests = batch.requests
        chains = {request.composite: self._chain(request.composite, batch.inputs) for request in requests}
        trace = self._forward(batch.inputs, list(chains.values()))
        logits = trace.values[-1]
        # Neighbours are those whose ways back are the same the longest.
        order = sorted(
            range(len(requests)), key=lambda i: [id(step) for step in reversed(chains[requests[i].composite])]
        )
        ordered = [requests[i] for i in order]
        if not ordered:
            return BatchAttributions(logits.cpu(), ())
        rows = [batch.rows[i] for i in order]
        start = output_relevance([request.target for request in ordered])(logits[rows])
        ats = [request.composite.position(request.layer) for request in ordered]
        maps: dict[int, tuple[Tensor, Tensor]] = {}
        sums: list[Tensor] = []
        for index, pieces, total in self._down(
            trace, start, rows, [chains[request.composite] for request in ordered]
        ):
            sums.append(total)
            for piece in pieces if index in ats else ():
                rows_of = zip(
                    piece.members, piece.R.cpu().split(1), extremes(piece.R).cpu().split(1), strict=True
                )
                maps |= {m: (R, ends) for m, R, ends in rows_of if ats[m] == index}
        per_request = logits[rows].cpu().split(1), start.cpu().split(1), _upwards(sums).cpu().split(1)
        attributions: list[Any] = [None] * len(requests)
        for m, (own_logits, own_start, own_sums) in enumerate(zip(*per_request, strict=True)):
            attributions[order[m]] = Attribution(own_logits, own_start, *maps[m], self._names, own_sums)
        return BatchAttributions(logits.cpu(), tuple(attributions))

    def _forward(self, inputs: Tensor, chains: Sequence["_Chain"]) -> _Trace:
        """Keeps what a ReLU shuts only where one of the ``chains`` looks at it again."""
        values: list[Tensor] = [channels_last(inputs)]
        extras: list[Tensor | None] = []
        for index in range(len(self._layers)):
            rectified = bool(chains) and all(_is_rectified(index, chain) for chain in chains)
            y, extra = self._forward_step(index, rectified, inputs.dtype)(values[-1])
            values.append(y)
            extras.append(extra)
        return _Trace(values, extras)

    def _down(
        self, trace: _Trace, start: Tensor, rows: Sequence[int], chains: Sequence["_Chain"]
    ) -> Iterator[tuple[int, list[_Piece], Tensor]]:
        """From the last layer to the first: its index, the relevance at its input, and each request's sum there.

        ``rows[m]`` is the input of which request ``m`` is, ``chains[m]`` its way back; equal ones stand together.
        """
        pieces, sums = [_Piece(list(range(len(rows))), start)], start.sum(1)
        for index in reversed(range(len(self._layers))):
            pieces = [
                self._step(trace, index, piece, rows, chains[piece.members[0]][index])
                for whole in pieces
                for piece in _split(whole, [chains[m][index] for m in whole.members])
            ]
            if not all(chains[piece.members[0]][index].back.conserves for piece in pieces):
                sums = torch.cat([piece.R.sum(tuple(range(1, piece.R.dim()))) for piece in pieces])
            yield index, pieces, sums

    def _step(self, trace: _Trace, index: int, piece: _Piece, rows: Sequence[int], step: _Descent) -> _Piece:
        output = trace.values[index + (2 if step.silent else 1)]
        asked = Rows([rows[m] for m in piece.members])
        seen = Seen(asked, trace.values[index], output, trace.extras[index])
        return _Piece(piece.members, step.back(piece.R, seen))

    def _chain(self, composite: Composite, inputs: Tensor) -> "_Chain":
        rules = dict(composite.layers)
        shape, dtype = inputs.shape[1:], inputs.dtype
        return tuple(
            self._descent(index, rules[name], self._is_silent(index, rules), shape, dtype)
            for index, name in enumerate(self._names)
        )

    def _is_silent(self, index: int, rules: dict[str, AssignedRule]) -> bool:
        """Whether no relevance arrives at the layer's output where that is not positive: a ReLU shut it."""
        above = list(zip(self._names, self._layers, strict=True))[index + 1 :]
        between = list(itertools.takewhile(lambda item: not isinstance(item[1], _WEIGHTED), above))
        if not isinstance(self._layers[index], _WEIGHTED) or len(between) == len(above):
            return False
        name, _ = above[len(between)]
        return bool(between) and isinstance(between[0][1], nn.ReLU) and RULES[rules[name].name].reads_input

    @torch.inference_mode()
    def _find_bounds(self, shape: torch.Size, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """The lowest and the highest input of each layer, (1, …). Behind the first layer with weights they tell
        nothing but the shape.
        """
        low, high = (channels_last(bound.to(dtype).expand(1, *shape)) for bound in (self._low, self._high))
        bounds = [(low, high)]
        for index in range(len(self._layers)):
            step = self._forward_step(index, False, dtype)
            (low, _), (high, _) = step(low), step(high)
            bounds.append((low, high))
        return bounds

    @torch.inference_mode()
    def _compile_forward(self, index: int, rectified: bool, dtype: torch.dtype) -> Forward:
        """``rectified``: a layer with weights does the work of the ReLU behind it, which then has none."""
        layer = self._layers[index]
        if isinstance(layer, _WEIGHTED):
            return _alone(affine(layer).map(*_own(layer, dtype), 0.0 if rectified else -math.inf))
        if rectified:
            return _alone(_same)
        return _unweighted_forward(layer)

    @torch.inference_mode()
    def _compile_back(
        self, index: int, rule: AssignedRule, silent: bool, shape: torch.Size, dtype: torch.dtype
    ) -> _Descent:
        layer, (low, high) = self._layers[index], self._bounds(shape, dtype)[index]
        if not isinstance(layer, _WEIGHTED):
            return _Descent(_pooling(layer, low.shape) or Passing(low.shape), silent)
        w, b = _own(layer, dtype)
        context = Context(affine(layer), self._is_nonnegative(index), silent, low, high)
        return _Descent(
            Weighted(RULES[rule.name].terms(w, b, **dict(rule.parameters)), w, b, context), silent
        )

    def _is_nonnegative(self, index: int) -> bool:
        """Whether the input of layer ``index`` has no negative values: since the last weights came a ReLU."""
        below = itertools.takewhile(
            lambda layer: not isinstance(layer, _WEIGHTED), self._layers[:index][::-1]
        )
        return any(isinstance(layer, nn.ReLU) for layer in below)


_Chain = tuple[_Descent, ...]
"""A composite's way back, a step for each layer, the first layer first."""

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
_PASSING = (nn.ReLU, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.Identity)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d)
_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d)
_ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
_KNOWN = (*_WEIGHTED, *_PASSING, *_MAX_POOLS, *_AVERAGES, *_ADAPTIVE)


def _is_rectified(index: int, chain: _Chain) -> bool:
    """Whether layer ``index`` may do the work of the ReLU behind it, or is that ReLU."""
    return chain[index].silent or (index > 0 and chain[index - 1].silent)


def _upwards(sums: list[Tensor]) -> Tensor:
    """(B,) at each layer from the last to the first -> (B, layers) from the first to the last."""
    return torch.stack(sums[::-1], 1)


def _split(piece: _Piece, steps: Sequence[_Descent]) -> Iterator[_Piece]:
    """The runs of ``piece`` that take the same step; all of it as it is where that is but one."""
    done = 0
    for _, run in itertools.groupby(steps, key=id):
        members = piece.members[done : done + len(list(run))]
        yield _Piece(members, piece.R.narrow(0, done, len(members)))
        done += len(members)


def _own(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """The weights and bias of ``layer``."""
    assert isinstance(layer, _WEIGHTED)
    return layer.weight.detach().to(dtype), None if layer.bias is None else layer.bias.detach().to(dtype)


def _unweighted_forward(layer: nn.Module) -> Forward:
    match layer:
        case nn.ReLU():
            return _alone(F.relu)
        case nn.Flatten():
            return _alone(lambda x: x.flatten(layer.start_dim, layer.end_dim))
        case _:
            pooling = _pooling(layer, torch.Size())
            return _alone(_same) if pooling is None else pooling.forward


def _pooling(layer: nn.Module, shape: torch.Size) -> MaxPooling | AveragePooling | None:
    """The step of a pooling layer with inputs of ``shape`` (1, …); None for another layer."""
    if isinstance(layer, _MAX_POOLS):
        flat = isinstance(layer, nn.MaxPool1d)
        windows: tuple[Any, ...] = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        options = [
            _pair(option, neutral, flat=flat) for option, neutral in zip(windows, (1, 1, 0, 1), strict=True)
        ]
        return MaxPooling(shape, (*options, layer.ceil_mode))
    if isinstance(layer, _AVERAGES):
        flat = isinstance(layer, nn.AvgPool1d)
        windows = (layer.kernel_size, layer.stride, layer.padding)
        options = [
            _pair(option, neutral, flat=flat) for option, neutral in zip(windows, (1, 1, 0), strict=True)
        ]
        counting: list[Any] = [
            layer.ceil_mode,
            layer.count_include_pad,
            getattr(layer, "divisor_override", None),
        ]
        return AveragePooling(
            shape,
            lambda x: torch.ops.aten.avg_pool2d(x, *options, *counting),
            lambda q, x: torch.ops.aten.avg_pool2d_backward(q, x, *options, *counting),
        )
    if isinstance(layer, _ADAPTIVE):
        size = _pair(layer.output_size, 1, flat=isinstance(layer, nn.AdaptiveAvgPool1d))
        return AveragePooling(
            shape,
            lambda x: F.adaptive_avg_pool2d(x, tuple(size)),
            torch.ops.aten._adaptive_avg_pool2d_backward,
        )
    return None


def _pair(option: Any, neutral: int, *, flat: bool) -> list[Any]:
    """An option for two dimensions; a layer of one dimension is ``flat``, and ``neutral`` in the other."""
    if flat:
        return [neutral, *(option if isinstance(option, tuple) else (option,))]
    return list(option) if isinstance(option, tuple) else [option, option]


def _alone(function: Callable[[Tensor], Tensor]) -> Forward:
    """A layer that notes nothing for the way back."""
    return lambda x: (function(x), None)


def _same(x: Tensor) -> Tensor:
    return x
