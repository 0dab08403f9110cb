"""Compilation of a network: its nodes as forward functions and, for each rule, relevance functions.

Everything that does not depend on the input is computed once and cached: the weights of a layer under a rule,
which are large, for all shapes of the input and bounded by their bytes; what depends on the shape with them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from app.lrp.composites import Composite
from app.lrp.engine.cache import MemoryCache
from app.lrp.engine.facts import masked, nonnegative
from app.lrp.engine.layout import layouts
from app.lrp.engine.operation import AtZero, Operation, OperationContext, Sign
from app.lrp.engine.operations import OPERATIONS
from app.lrp.engine.ops.affine import Affine, Map, NotCompilableError, Rounded, affine, channels_last
from app.lrp.engine.ops.dropout import ActiveDropout, active_dropouts
from app.lrp.engine.ops.passing import identity
from app.lrp.engine.ops.weighted import InputFacts, LayerContext, WeightedRule
from app.lrp.engine.steps import Forward, RelevanceStep, Steps
from app.lrp.engine.wiring import WEIGHTED, wiring_of
from app.lrp.graph.graph import Graph, Node
from app.lrp.graph.symbols import specialized
from app.lrp.graph.traced import TracedModel
from app.lrp.rules import PASS, RULES, AssignedRule

SHAPES_CACHED = 16
"""Input shapes and precisions that are cached: the lengths that texts are padded to, up to 128 tokens."""
Bounds = tuple[Tensor, Tensor]
COMPOSITES_CACHED = 64
"""Composites whose steps are known; weights are not kept with them."""
MIN_WEIGHT_BYTES, MAX_COPIES = 2**29, 4
"""Bound on the weights of layers under rules: so many bytes, and in a large network so many times its weights.

A composite takes at most four copies, for both halves of γ or αβ in each direction, and most take one or two:
10 to 40 MB of the shipped model.
"""


@dataclass(frozen=True)
class RuleKey:
    """What the weights of a layer under a rule depend on."""

    index: int
    rule: AssignedRule
    masked: bool
    nonnegative: bool
    """Whether its input has no negative values."""
    dtype: torch.dtype


class CompiledRule:
    """A layer with weights under a rule, with its steps for the last shapes of the input."""

    def __init__(
        self, weights: WeightedRule, masked: bool, facts: Callable[[torch.Size], InputFacts]
    ) -> None:
        """``facts`` returns what is known of the layer's input for a shape of the network's."""
        self.nbytes = weights.nbytes
        self.step = lru_cache(SHAPES_CACHED)(lambda shape: RelevanceStep(weights.at(facts(shape)), masked))
        """Return the step for inputs of the network of a shape."""


class CompiledNetwork:
    """A `Network` that is compiled from a graph.

    Raises `NotCompilableError` for nodes that have no operation here.
    """

    def __init__(
        self, model: TracedModel, bounds: Bounds | None, products: torch.dtype | None = None
    ) -> None:
        """``bounds``: the smallest and largest input, broadcastable to it; ``None`` for inputs without bounds.

        ``products``: as in `app.lrp.engine.engine.Engine`.
        """
        _check(model.graph)
        self._model, self._bounds, self._products = model, bounds, products
        self.wiring = wiring_of(model.graph)
        count = SHAPES_CACHED * len(model.graph.nodes)
        self._graph = lru_cache(SHAPES_CACHED)(lambda shape: specialized(model.graph, shape))
        self.layouts = lru_cache(SHAPES_CACHED)(lambda shape: layouts(self._graph(shape)))
        self.dropouts = lru_cache(SHAPES_CACHED)(self._compute_dropouts)
        self.forward = lru_cache(2 * count)(self._compile_forward)
        own_bytes = sum(weight.nbytes for weight in model.weights.values())
        self.weights = MemoryCache(
            self._compile_weights,
            max(MIN_WEIGHT_BYTES, MAX_COPIES * own_bytes),
            lambda key: key.rule.has_defaults,
        )
        self._operation = lru_cache(2 * count)(self._compile_operation)
        self._unweighted_step = lru_cache(2 * count)(self._compile_unweighted)
        self._keys = lru_cache(COMPOSITES_CACHED)(self._compute_keys)

    @property
    def input_range(self) -> Tensor:
        """See `Network`."""
        low, high = self._known_bounds
        return high - low

    def precision(self, dtype: torch.dtype) -> torch.dtype:
        """See `Network`."""
        if dtype.is_floating_point:
            return dtype
        own = (weight.dtype for weight in self._model.weights.values() if weight.is_floating_point())
        return next(own, torch.float32)

    @property
    def _known_bounds(self) -> Bounds:
        assert self._bounds is not None, "rules that need bounds are refused for inputs without"
        return self._bounds

    @torch.inference_mode()
    def steps(self, composite: Composite, shape: torch.Size, dtype: torch.dtype) -> Steps:
        """See `Network`."""
        return tuple(
            self._unweighted_step(index, key, shape, dtype)
            if isinstance(key, AssignedRule)
            else self.weights(key).step(shape)
            for index, key in enumerate(self._keys(composite, shape, dtype))
        )

    def _compute_keys(
        self, composite: Composite, shape: torch.Size, dtype: torch.dtype
    ) -> tuple[RuleKey | AssignedRule, ...]:
        """Return for each node what its step depends on besides shape and precision."""
        given, nodes = dict(composite.layers), self._model.graph.nodes
        rules = [given.get(node.name, AssignedRule(PASS)) for node in nodes]
        signs, at_zero = [], []
        for index, rule in enumerate(rules):
            if nodes[index].op in WEIGHTED:
                signs.append(Sign.ANY)
                at_zero.append(AtZero.NONE if RULES[rule.name].reads_input else AtZero.ANY)
            else:
                operation = self._operation(index, rule, shape, dtype)
                signs.append(operation.sign)
                at_zero.append(operation.at_zero)
        is_masked, is_nonnegative = masked(self.wiring, at_zero), nonnegative(self.wiring, signs)
        return tuple(
            RuleKey(index, rule, is_masked[index], is_nonnegative[self.wiring.inputs[index][0]], dtype)
            if nodes[index].op in WEIGHTED
            else rule
            for index, rule in enumerate(rules)
        )

    @torch.inference_mode()
    def _compile_forward(self, index: int, rectified: bool, shape: torch.Size, dtype: torch.dtype) -> Forward:
        """``rectified``: a layer with weights applies the ReLU that follows it, which then does nothing."""
        node = self._model.graph.nodes[index]
        if node.op in WEIGHTED:
            w, b = self._parameters(index, dtype)
            function = affine(node, w).map(w, b, 0.0 if rectified else -math.inf)
            return _without_extra(function)
        if rectified:
            return _without_extra(identity)
        return self._operation(index, AssignedRule(PASS), shape, dtype).forward

    @torch.inference_mode()
    def _compile_operation(
        self, index: int, rule: AssignedRule, shape: torch.Size, dtype: torch.dtype
    ) -> Operation:
        """Compile a node without weights of its own, or whose rule cannot be chosen."""
        node = self._graph(shape).nodes[index]
        needed = tuple(self.wiring.depends[value] for value in self.wiring.inputs[index])
        tensors = self._tensors(node, dtype)
        return OPERATIONS[node.op](OperationContext(node, tensors, rule, needed, dtype))

    def _compile_unweighted(
        self, index: int, rule: AssignedRule, shape: torch.Size, dtype: torch.dtype
    ) -> RelevanceStep:
        return RelevanceStep(self._operation(index, rule, shape, dtype), masked=False)

    def _compile_weights(self, key: RuleKey) -> CompiledRule:
        w, b = self._parameters(key.index, key.dtype)
        linear = affine(self._model.graph.nodes[key.index], w)
        products: Affine = linear
        if self._products is not None and key.dtype is torch.float32:
            products = Rounded(linear, self._products)
        terms = RULES[key.rule.name].terms(w, b, **dict(key.rule.parameters))
        return CompiledRule(
            WeightedRule(terms, w, b, LayerContext(linear, products, key.nonnegative, key.masked)),
            key.masked,
            lambda shape: self._facts(key.index, shape, key.dtype),
        )

    def _facts(self, index: int, shape: torch.Size, dtype: torch.dtype) -> InputFacts:
        value = self.wiring.inputs[index][0]

        def extremes() -> Bounds:
            low, high = self._known_bounds
            return self._extreme(value, low, shape, dtype), self._extreme(value, high, shape, dtype)

        return InputFacts(self.layouts(shape)[value], extremes)

    def _extreme(self, value: int, edge: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return a value for the smallest or the largest input, (1, …).

        It is a bound of the value where no layer with weights is below it.
        """
        if value == 0:
            return channels_last(edge.to(dtype).expand(1, *shape))
        inputs = (self._extreme(read, edge, shape, dtype) for read in self.wiring.inputs[value - 1])
        return self.forward(value - 1, False, shape, dtype)(*inputs)[0]

    def _compute_dropouts(self, shape: torch.Size) -> Sequence[ActiveDropout]:
        return active_dropouts(self._graph(shape), self.layouts(shape))

    def _parameters(self, index: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return weights and bias of a layer."""
        tensors = self._tensors(self._model.graph.nodes[index], dtype)
        return tensors["weight"], tensors.get("bias")

    def _tensors(self, node: Node, dtype: torch.dtype) -> Mapping[str, Tensor]:
        """Return the tensors of a node by role; numbers that are not integers in precision ``dtype``."""
        given = {role: self._model.weights[name].detach() for role, name in node.weights.items()}
        return {
            role: tensor.to(dtype) if tensor.is_floating_point() else tensor for role, tensor in given.items()
        }


def _check(graph: Graph) -> None:
    """Raise `NotCompilableError` if there are nodes that cannot be compiled."""
    unknown = [f"{node.name} ({node.op})" for node in graph if node.op not in (*WEIGHTED, *OPERATIONS)]
    if unknown:
        raise NotCompilableError(f"there is no rule for the operations of {', '.join(unknown)}")


def _without_extra(function: Map) -> Forward:
    return lambda *inputs: (function(*inputs), None)
