"""The reference: relevance by Zennit. It verifies the engine, and explains what the engine cannot compile.

Zennit computes relevance in hooks that replace the gradient of each layer, and modifies the layer's weights while
they run. A `Reference` therefore works on a copy of the model, and only one thread at a time may use it.
"""

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from zennit import rules as zennit_rules
from zennit.core import Hook
from zennit.types import Activation, BatchNorm

from app.lrp import rules as lrp_rules
from app.lrp.attribution import (
    Attribution,
    Batch,
    BatchAttributions,
    OutputRelevance,
    SampledAttribution,
    SampledAttributions,
    extremes,
    output_relevance,
)
from app.lrp.composites import Composite
from app.lrp.engine.ops.dropout import active_dropouts
from app.lrp.graph.canonize import WEIGHTED, canonized
from app.lrp.perturbation import factors_of, noisy
from app.lrp.request import ExplanationRequest
from app.lrp.rules import RULES, AssignedRule
from app.lrp.samples import Samples, Sampling, parts

Bounds = tuple[Tensor, Tensor]
"""The smallest and the largest input of the first layer with weights, each broadcastable to it."""


class Reference:
    """Explains a feed-forward chain of layers by Zennit's rules, in the model's own precision."""

    name = f"zennit {version('zennit')}"

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor) -> None:
        """``low`` and ``high``: the smallest and largest input, broadcastable to it. ``model`` is copied."""
        self._layers = [(name, _copied(layer)) for name, layer in canonized(model)]
        self._low, self._high = low, high

    @torch.inference_mode(False)
    @torch.enable_grad()
    def attribute(
        self,
        inputs: Tensor,
        composite: Composite,
        start: OutputRelevance,
        layer: str | None = None,
        factors: Mapping[int, Tensor] = MappingProxyType({}),
    ) -> Attribution:
        """Return the relevance of ``inputs`` (B, …) at the input of ``layer``; ``None``: the network's input.

        ``start`` returns the relevance that is put in at the output, (B, C), for logits (B, C). ``factors``
        (B, …) of a dropout layer, by its index, make it drop units of its input.
        """
        names, at = tuple(name for name, _ in self._layers), composite.position(layer)
        x = inputs.detach().clone().requires_grad_()
        with self._hooked(composite, self._bounds(x)):
            arriving = []  # the input of each layer
            for index, (_, module) in enumerate(self._layers):
                arriving.append(x)
                x = module(x)
                if index in factors:
                    x = _Dropped.apply(x, factors[index])
            logits = x.detach()
            put_in = start(logits)
            relevances = torch.autograd.grad(x, arriving, grad_outputs=put_in)
        sums = torch.stack([R.flatten(1).sum(1) for R in relevances], 1)
        return Attribution(logits, put_in, relevances[at], extremes(relevances[at]), names, sums)

    def run(self, batch: Batch) -> BatchAttributions:
        """Return everything that is requested of the inputs of ``batch``, by one pass per composite and layer."""
        requests = batch.requests
        attributions: dict[int, Attribution] = {}
        for alike in _alike(requests):
            first = requests[alike[0]]
            rows, start = [batch.rows[i] for i in alike], output_relevance([requests[i] for i in alike])
            attribution = self.attribute(batch.inputs[rows], first.composite, start, first.layer)
            attributions |= zip(alike, attribution.cpu().rows(), strict=True)
        logits = self._activations(batch.inputs)[-1]
        return BatchAttributions(logits.cpu(), tuple(attributions[i] for i in range(len(requests))))

    def sample(
        self, inputs: Tensor, requests: Sequence[ExplanationRequest], samples: Samples, max_rows: int
    ) -> SampledAttributions:
        """Return samples of the explanations of one input, as `app.lrp.engine.engine.Engine.sample` does."""
        plain = self._activations(inputs)
        put_in = output_relevance(requests)(plain[-1].expand(len(requests), -1))  # (requests, C)
        drawn = [self._drawn(plain, samples, numbers) for numbers in parts(range(samples.count), max_rows)]
        found = [
            [self.attribute(x, r.composite, _constant(start), r.layer, factors).cpu() for x, factors in drawn]
            for r, start in zip(requests, put_in, strict=True)
        ]
        names = tuple(name for name, _ in self._layers)
        maps = (SampledAttribution.of(names, *one) for one in zip(put_in.cpu(), found, strict=True))
        sample_logits = torch.cat([part.logits for part in found[0]])
        return SampledAttributions(plain[-1][0].cpu(), sample_logits, tuple(maps))

    @torch.no_grad()
    def _activations(self, inputs: Tensor) -> list[Tensor]:
        """Return the input of each layer, (B, …), and the logits (B, C)."""
        return list(itertools.accumulate((layer for _, layer in self._layers), _applied, initial=inputs))

    def _drawn(
        self, plain: Sequence[Tensor], samples: Samples, numbers: Sequence[int]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return inputs (n, …) and factors of dropout layers of the samples with these ``numbers``."""
        if samples.sampling is Sampling.NOISE:
            return noisy(plain[0], samples, numbers, self._high - self._low), {}
        layers = active_dropouts([layer for _, layer in self._layers])
        return plain[0].expand(len(numbers), *plain[0].shape[1:]), factors_of(layers, plain, samples, numbers)

    def _bounds(self, x: Tensor) -> Bounds:
        """Return the bounds of the input of the first layer with weights, for the network's input ``x``."""
        low, high = (bound.to(x).expand(1, *x.shape[1:]) for bound in (self._low, self._high))
        for _, layer in self._layers:
            if isinstance(layer, WEIGHTED):
                break
            low, high = layer(low), layer(high)
        return low, high

    @contextmanager
    def _hooked(self, composite: Composite, bounds: Bounds) -> Iterator[None]:
        """Register the hooks of all layers; they are removed on exit, also after an exception."""
        assigned = dict(composite.layers)
        with ExitStack() as stack:
            for name, layer in self._layers:
                for hook in _hooks(layer, assigned[name], bounds):
                    stack.callback(hook.register(layer).remove)
            yield


class _Dropped(torch.autograd.Function):
    """Dropout, which multiplies units by 0 or 1 / (1 - p), and whose relevance passes unchanged."""

    @staticmethod
    def forward(_: Any, x: Tensor, factors: Tensor) -> Tensor:
        """Return the output, (B, …)."""
        return x * factors

    @staticmethod
    def backward(_: Any, R: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the input."""
        return R, None


def _applied(x: Tensor, layer: nn.Module) -> Tensor:
    y: Tensor = layer(x)
    return y


def _constant(put_in: Tensor) -> OutputRelevance:
    """Return the function that puts in ``put_in`` (C,), whatever the logits."""
    return lambda logits: put_in.expand_as(logits)


def _alike(requests: Sequence[ExplanationRequest]) -> Iterable[list[int]]:
    """Return the indices of requests, grouped by composite and layer."""
    kinds: dict[tuple[Composite, str | None], list[int]] = {}
    for i, request in enumerate(requests):
        kinds.setdefault((request.composite, request.layer), []).append(i)
    return kinds.values()


def _copied(layer: nn.Module) -> nn.Module:
    """Return a copy of ``layer`` in evaluation mode that does not work in place."""
    layer = copy.deepcopy(layer).eval().requires_grad_(requires_grad=False)
    if hasattr(layer, "inplace"):
        layer.inplace = False  # type: ignore[assignment] # Module declares all attributes as modules
    return layer


def _hooks(layer: nn.Module, rule: AssignedRule, bounds: Bounds) -> Iterable[Hook]:
    """Return the hook that makes ``layer`` follow ``rule``; none where relevance follows the gradient."""
    match rule.name:
        case lrp_rules.NORM:
            return (zennit_rules.Norm(),)
        case lrp_rules.PASS:
            return (zennit_rules.Pass(),) if isinstance(layer, (Activation, BatchNorm)) else ()
        case name:
            return (RULES[name].reference(zennit_rules, bounds, **dict(rule.parameters)),)
