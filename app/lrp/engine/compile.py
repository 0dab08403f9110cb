"""Compilation of a network: its layers as forward functions and, for each rule, relevance functions.

Everything that does not depend on the input is computed once and cached: the weights of a layer under a rule,
which are large, for all shapes of the input and bounded by their bytes; what depends on the shape with them.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from app.lrp.composites import Composite
from app.lrp.engine.cache import MemoryCache
from app.lrp.engine.ops.affine import Map, NotCompilableError, affine, channels_last
from app.lrp.engine.ops.dropout import active_dropouts
from app.lrp.engine.ops.passing import PASSING, Passing, identity, passing
from app.lrp.engine.ops.pooling import POOLS, AveragePooling, MaxPooling, pooling
from app.lrp.engine.ops.weighted import Bounds, LayerContext, WeightedRule
from app.lrp.engine.steps import Forward, RelevanceStep, Steps
from app.lrp.graph.canonize import canonized
from app.lrp.rules import RULES, AssignedRule

SHAPES_CACHED = 4
"""Input shapes and precisions that the forward pass is cached for."""
MAX_WEIGHT_BYTES = 2**29
"""Bound on the weights of layers under rules. The shipped model's take 20 to 75 MB for a composite."""

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class RuleKey:
    """What the weights of a layer under a rule depend on."""

    index: int
    rule: AssignedRule
    masked: bool
    dtype: torch.dtype

    @property
    def has_defaults(self) -> bool:
        """Whether the rule's parameters are the defaults: there are few such keys, and all clients use them."""
        defaults = tuple((one.name, one.default) for one in RULES[self.rule.name].parameters)
        return self.rule.parameters == defaults


class CompiledRule:
    """A layer with weights under a rule, with its steps for the last shapes of the input."""

    def __init__(self, weights: WeightedRule, masked: bool, bounds: Callable[[torch.Size], Bounds]) -> None:
        """``bounds`` returns the bounds of the layer's input for a shape of the network's."""
        self.nbytes = weights.nbytes
        self.step = lru_cache(SHAPES_CACHED)(lambda shape: RelevanceStep(weights.at(bounds(shape)), masked))
        """Return the step for inputs of the network of a shape."""


class CompiledNetwork:
    """A `Network` that is compiled from modules.

    Raises `NotCompilableError` for layers that have no operation here.
    """

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor) -> None:
        """``low`` and ``high``: the smallest and largest input, broadcastable to it."""
        chain = canonized(model)
        self.names, self._layers = tuple(name for name, _ in chain), [layer for _, layer in chain]
        for name, layer in chain:
            _check(name, layer)
        self.dropouts = active_dropouts(self._layers)
        """Dropout layers with a probability above 0, in their order."""
        self._low, self._high = low, high
        self._bounds = lru_cache(SHAPES_CACHED)(self._compute_bounds)
        self.forward = lru_cache(SHAPES_CACHED * len(chain))(self._compile_forward)
        self.weights = MemoryCache(self._compile_weights, MAX_WEIGHT_BYTES, lambda key: key.has_defaults)
        self._unweighted_step = lru_cache(SHAPES_CACHED * len(chain))(self._compile_unweighted)

    @property
    def input_range(self) -> Tensor:
        """Largest minus smallest input, broadcastable to it."""
        return self._high - self._low

    def steps(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> Steps:
        """See `Network`."""
        rules = dict(composite.layers)
        return tuple(
            self._step(RuleKey(index, rules[name], self._is_masked(index, rules), dtype), shape)
            for index, name in enumerate(self.names)
        )

    @torch.inference_mode()
    def _step(self, key: RuleKey, shape: torch.Size) -> RelevanceStep:
        if isinstance(self._layers[key.index], _WEIGHTED):
            return self.weights(key).step(shape)
        return self._unweighted_step(key.index, shape, key.dtype)

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

    def _compile_weights(self, key: RuleKey) -> CompiledRule:
        layer = self._layers[key.index]
        w, b = _parameters(layer, key.dtype)
        context = LayerContext(affine(layer), self._is_nonnegative(key.index), key.masked)
        terms = RULES[key.rule.name].terms(w, b, **dict(key.rule.parameters))
        return CompiledRule(
            WeightedRule(terms, w, b, context),
            key.masked,
            lambda shape: Bounds(*self._bounds(shape, key.dtype)[key.index]),
        )

    def _compile_unweighted(self, index: int, shape: torch.Size, dtype: torch.dtype) -> RelevanceStep:
        low, _ = self._bounds(shape, dtype)[index]
        return RelevanceStep(_unweighted(self._layers[index], low.shape), False)

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
