"""Compilation of a network: its layers as forward functions and, for each rule, relevance functions.

Everything that does not depend on the input is computed once and cached.
"""

import itertools
import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from app.lrp.composites import Composite
from app.lrp.engine.ops.affine import Map, NotCompilableError, affine, channels_last
from app.lrp.engine.ops.passing import PASSING, Passing, identity, passing
from app.lrp.engine.ops.pooling import POOLS, AveragePooling, MaxPooling, pooling
from app.lrp.engine.ops.weighted import LayerContext, Weighted
from app.lrp.engine.steps import Forward, RelevanceStep, Steps
from app.lrp.graph.canonize import canonized
from app.lrp.rules import RULES, AssignedRule

SHAPES_CACHED = 4
"""Input shapes and precisions that the forward pass is cached for."""
RELEVANCE_STEPS_CACHED = 64
"""Layers under a rule that are cached, for about ten composites; each may hold copies of its weights."""

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


class CompiledNetwork:
    """A feed-forward chain of layers. Raises `NotCompilableError` for layers that have no operation here."""

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor) -> None:
        """``low`` and ``high``: the smallest and largest input, broadcastable to it."""
        chain = canonized(model)
        self.names, self._layers = tuple(name for name, _ in chain), [layer for _, layer in chain]
        for name, layer in chain:
            _check(name, layer)
        self._low, self._high = low, high
        self._bounds = lru_cache(SHAPES_CACHED)(self._compute_bounds)
        self.forward = lru_cache(SHAPES_CACHED * len(chain))(self._compile_forward)
        self._relevance_step = lru_cache(RELEVANCE_STEPS_CACHED)(self._compile_relevance)

    def steps(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> Steps:
        """Return the steps of the backward pass for inputs of ``shape``, without the batch axis."""
        rules = dict(composite.layers)
        return tuple(
            self._relevance_step(index, rules[name], self._is_masked(index, rules), shape, dtype)
            for index, name in enumerate(self.names)
        )

    @torch.inference_mode()
    def _compile_forward(self, index: int, rectified: bool, dtype: torch.dtype) -> Forward:
        """``rectified``: a layer with weights applies the ReLU that follows it, which then does nothing."""
        layer = self._layers[index]
        if isinstance(layer, _WEIGHTED):
            floor = 0.0 if rectified else -math.inf
            return _without_extra(affine(layer).map(*_parameters(layer, dtype), floor))
        if rectified:
            return _without_extra(identity)
        return _unweighted(layer, torch.Size()).forward

    @torch.inference_mode()
    def _compile_relevance(
        self, index: int, rule: AssignedRule, masked: bool, shape: torch.Size, dtype: torch.dtype
    ) -> RelevanceStep:
        layer, (low, high) = self._layers[index], self._bounds(shape, dtype)[index]
        if not isinstance(layer, _WEIGHTED):
            return RelevanceStep(_unweighted(layer, low.shape), masked)
        w, b = _parameters(layer, dtype)
        context = LayerContext(affine(layer), self._is_nonnegative(index), masked, low, high)
        terms = RULES[rule.name].terms(w, b, **dict(rule.parameters))
        return RelevanceStep(Weighted(terms, w, b, context), masked)

    @torch.inference_mode()
    def _compute_bounds(self, shape: torch.Size, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """Return the lowest and the highest input of each layer, (1, …).

        Beyond the first layer with weights only their shape means anything.
        """
        low, high = (channels_last(bound.to(dtype).expand(1, *shape)) for bound in (self._low, self._high))
        bounds = [(low, high)]
        for index in range(len(self._layers)):
            forward = self.forward(index, False, dtype)
            (low, _), (high, _) = forward(low), forward(high)
            bounds.append((low, high))
        return bounds

    def _is_masked(self, index: int, rules: dict[str, AssignedRule]) -> bool:
        """Whether no relevance arrives where the output of layer ``index`` is not positive.

        So it is where a ReLU follows a layer with weights, if the rule of the next layer with weights gives no
        relevance to inputs that are zero.
        """
        above = list(zip(self.names, self._layers, strict=True))[index + 1 :]
        between = list(itertools.takewhile(lambda item: not isinstance(item[1], _WEIGHTED), above))
        if not isinstance(self._layers[index], _WEIGHTED) or len(between) == len(above):
            return False
        name, _ = above[len(between)]
        return bool(between) and isinstance(between[0][1], nn.ReLU) and RULES[rules[name].name].reads_input

    def _is_nonnegative(self, index: int) -> bool:
        """Whether the input of layer ``index`` has no negative values: a ReLU follows the last weights."""
        below = itertools.takewhile(
            lambda layer: not isinstance(layer, _WEIGHTED), self._layers[:index][::-1]
        )
        return any(isinstance(layer, nn.ReLU) for layer in below)


def _check(name: str, layer: nn.Module) -> None:
    """Raise `NotCompilableError` for a layer that cannot be compiled."""
    if not isinstance(layer, (*_WEIGHTED, *PASSING, *POOLS)):
        raise NotCompilableError(f"{name} is a {type(layer).__name__}")
    if isinstance(layer, _WEIGHTED):
        affine(layer)  # raises for paddings without a linear map


def _unweighted(layer: nn.Module, shape: torch.Size) -> Passing | MaxPooling | AveragePooling:
    return pooling(layer, shape) if isinstance(layer, POOLS) else passing(layer, shape)


def _parameters(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Return weights and bias of ``layer``."""
    assert isinstance(layer, _WEIGHTED)
    return layer.weight.detach().to(dtype), None if layer.bias is None else layer.bias.detach().to(dtype)


def _without_extra(function: Map) -> Forward:
    return lambda x: (function(x), None)
