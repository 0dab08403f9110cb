"""The reference: relevance by Zennit, and by autograd where Zennit has no rule. It verifies the engine.

Zennit computes relevance in hooks that replace the gradient of each layer, and modifies the layer's weights while
they run. Only one thread at a time may use a `Reference`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType

import torch
from torch import Tensor
from zennit import rules as zennit_rules
from zennit.core import Hook

from app.errors import GraphError
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
from app.lrp.engine.layout import layouts
from app.lrp.engine.ops.dropout import active_dropouts
from app.lrp.graph.graph import BATCH, INPUT, Graph, Node, evaluated_shape
from app.lrp.graph.kinds import layer_nodes
from app.lrp.graph.symbols import specialized
from app.lrp.graph.traced import TracedModel, in_float64
from app.lrp.perturbation import factors_of, noisy
from app.lrp.reference_functions import OWN_FUNCTIONS, Dropped, is_zennits, reference_name
from app.lrp.reference_nodes import FUNCTIONS, PASSING, SUMS, WEIGHTED, NodeModule
from app.lrp.request import ExplanationRequest
from app.lrp.rules import PASS, RULES, AssignedRule
from app.lrp.samples import Samples, Sampling, parts

Bounds = tuple[Tensor, Tensor]
"""The smallest and the largest input of the first layer with weights, each broadcastable to it."""
Edges = Mapping[str, tuple[Tensor, ...]]
"""Inputs of each node; the gradient of such a tensor is the relevance that arrives through the node."""


class Reference:
    """Explains a graph by Zennit's rules, in the model's own precision.

    Networks with operations that Zennit has no rule for are explained in float64.
    """

    def __init__(self, model: TracedModel, low: Tensor | None = None, high: Tensor | None = None) -> None:
        """``low`` and ``high``: the smallest and largest input, broadcastable to it, for inputs with bounds.

        Raises `GraphError` for an operation that it does not know.
        """
        self.name = reference_name(model.graph)
        self._graph = model.graph
        self._layers = tuple(node.name for node in layer_nodes(model.graph))
        _check(model.graph)
        weights = model.weights if is_zennits(model.graph) else model.map_weights(in_float64).weights
        self._weights = weights
        self._modules = {node.name: NodeModule(node, weights) for node in model.graph if node.op in FUNCTIONS}
        floating = (tensor.dtype for tensor in weights.values() if tensor.is_floating_point())
        self._dtype = next(floating, torch.float64)
        self._bounds = None if low is None or high is None else (low, high)

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

        ``start`` returns the relevance that is put in at the output, (B, C), for logits (B, C). ``factors`` of a
        dropout node, by its index, are shaped like its output.
        """
        composite.position(layer)  # raises for an unknown layer
        x = inputs.detach().clone().to(self._dtype).requires_grad_()
        assigned = dict(composite.layers)
        with self._hooked(assigned, self._bounds_of_first(x)):
            values, edges = self._run(self._at(x).nodes, x, assigned, factors)
            logits = values[self._graph.output.name]
            put_in = start(logits.detach())
            at_input, relevances = _relevances(x, edges, logits, put_in)
        sums, maps = self._by_row(relevances, x)
        relevance = at_input if layer is None else maps[layer]
        input_sums = at_input.flatten(1).sum(1)
        ends = extremes(relevance)
        biases = put_in.sum(1) - input_sums
        return Attribution(logits.detach(), put_in, relevance, ends, self._layers, sums, input_sums, biases)

    def run(self, batch: Batch) -> BatchAttributions:
        """Return everything that is requested of the inputs of ``batch``, by one pass per composite and layer."""
        requests = batch.requests
        attributions: dict[int, Attribution] = {}
        for alike in _alike(requests):
            first = requests[alike[0]]
            rows, start = [batch.rows[i] for i in alike], output_relevance([requests[i] for i in alike])
            attribution = self.attribute(batch.inputs[rows], first.composite, start, first.layer)
            attributions |= zip(alike, attribution.cpu().rows(), strict=True)
        logits = self._logits(batch.inputs)
        return BatchAttributions(logits.cpu(), tuple(attributions[i] for i in range(len(requests))))

    def sample(
        self, inputs: Tensor, requests: Sequence[ExplanationRequest], samples: Samples, max_rows: int
    ) -> SampledAttributions:
        """Return samples of the explanations of one input, as `app.lrp.engine.engine.Engine.sample` does."""
        logits = self._logits(inputs)  # (1, C)
        put_in = output_relevance(requests)(logits.expand(len(requests), -1))  # (requests, C)
        drawn = [self._drawn(inputs, samples, numbers) for numbers in parts(range(samples.count), max_rows)]
        found = [
            [self.attribute(x, r.composite, _constant(start), r.layer, factors).cpu() for x, factors in drawn]
            for r, start in zip(requests, put_in, strict=True)
        ]
        maps = (SampledAttribution.of(self._layers, *one) for one in zip(put_in.cpu(), found, strict=True))
        sample_logits = torch.cat([part.logits for part in found[0]])
        return SampledAttributions(logits[0].cpu(), sample_logits, tuple(maps))

    @torch.no_grad()
    def _logits(self, inputs: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        values, _ = self._run(self._at(inputs).nodes, inputs.to(self._dtype), {}, {})
        return values[self._graph.output.name]

    def _run(
        self,
        nodes: Sequence[Node],
        x: Tensor,
        assigned: Mapping[str, AssignedRule],
        factors: Mapping[int, Tensor],
    ) -> tuple[Mapping[str, Tensor], Edges]:
        """Return the outputs of the graph's first nodes for the size of ``x``, and the inputs of each of them."""
        values, edges = {INPUT: x}, dict[str, tuple[Tensor, ...]]()
        for index, node in enumerate(nodes):
            inputs = tuple(values[name].view_as(values[name]) for name in node.inputs)
            z = self._applied(node, assigned.get(node.name, AssignedRule(PASS)), inputs, len(x))
            values[node.name] = Dropped.apply(z, factors[index]) if index in factors else z
            edges[node.name] = inputs
        return values, edges

    def _applied(self, node: Node, rule: AssignedRule, inputs: tuple[Tensor, ...], batch: int) -> Tensor:
        """Return the output of a node."""
        if node.op in OWN_FUNCTIONS:
            weights = {role: self._weights[name] for role, name in node.weights.items()}
            return OWN_FUNCTIONS[node.op](node, rule, inputs, weights)
        if node.op in SUMS:
            inputs = (torch.stack(torch.broadcast_tensors(*inputs), -1),)
        sizes = {key: node.attributes[key] for key in ("shape", "stop") if key in node.attributes}
        if "shape" in sizes:
            sizes["shape"] = evaluated_shape(sizes["shape"], {BATCH: batch})
        z: Tensor = self._modules[node.name](*inputs, **sizes)
        return z

    def _at(self, x: Tensor) -> Graph:
        """Return the graph for the size of an input ``x``."""
        return specialized(self._graph, x.shape[1:])

    def _by_row(
        self, relevances: Mapping[str, tuple[Tensor | None, ...]], x: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the relevance at all layers, row by row.

        ``relevances`` are those of the inputs of each node, shaped like them. The sums (B, layers) are over all
        inputs. The maps (B, …), by layer, are those of the first input that has relevance.
        """
        graph = self._at(x)
        layout = dict(zip((INPUT, *graph.by_name), layouts(graph), strict=True))
        sums, maps = [], {}
        for name in self._layers:
            names = graph.by_name[name].inputs
            arriving = [(layout[n], R) for n, R in zip(names, relevances[name], strict=True) if R is not None]
            total = x.new_zeros(len(x))
            sums.append(sum((of_input.sums(R) for of_input, R in arriving), start=total))
            maps[name] = arriving[0][0].by_row(arriving[0][1]) if arriving else total
        return torch.stack(sums, 1), maps

    def _drawn(
        self, x: Tensor, samples: Samples, numbers: Sequence[int]
    ) -> tuple[Tensor, Mapping[int, Tensor]]:
        """Return inputs (n, …) and factors of dropout nodes of the samples with these ``numbers``."""
        x = x.to(self._dtype)
        if samples.sampling is Sampling.NOISE:
            assert self._bounds is not None, "noise is refused for inputs without bounds"
            low, high = self._bounds
            return noisy(x, samples, numbers, high - low), {}
        graph = self._at(x)
        dropouts = active_dropouts(graph, layouts(graph))
        return x.expand(len(numbers), *x.shape[1:]), factors_of(dropouts, x, samples, numbers)

    @torch.no_grad()
    def _bounds_of_first(self, x: Tensor) -> Bounds | None:
        """Return the bounds of the input of the first layer with weights, for the network's input ``x``."""
        if self._bounds is None:
            return None
        low, high = (bound.to(x).expand_as(x) for bound in self._bounds)
        nodes = self._at(x).nodes
        first = next((node for node in nodes if node.op in WEIGHTED), None)
        if first is None:
            return low, high
        below = nodes[: nodes.index(first)]
        low, high = (self._run(below, bound, {}, {})[0][first.inputs[0]] for bound in (low, high))
        return low, high

    @contextmanager
    def _hooked(self, assigned: Mapping[str, AssignedRule], bounds: Bounds | None) -> Iterator[None]:
        """Register the hooks of all nodes; they are removed on exit, also after an exception."""
        with ExitStack() as stack:
            for node in layer_nodes(self._graph):
                for hook in _hooks(node, assigned[node.name], bounds):
                    stack.callback(hook.register(self._modules[node.name]).remove)
            yield


def _check(graph: Graph) -> None:
    """Raise `GraphError` if there is an operation that the reference does not know."""
    for node in graph:
        if node.op not in FUNCTIONS and node.op not in OWN_FUNCTIONS:
            raise GraphError(f"node {node.name!r}: the reference cannot explain {node.op!r}")


def _relevances(
    x: Tensor, edges: Edges, logits: Tensor, put_in: Tensor
) -> tuple[Tensor, dict[str, tuple[Tensor | None, ...]]]:
    """Return the relevance of the network's input ``x``, and that of the inputs of each node.

    It is ``None`` for inputs that do not depend on the network's.
    """
    dependent = [edge for inputs in edges.values() for edge in inputs if edge.requires_grad]
    at_input, *others = torch.autograd.grad(logits, [x, *dependent], put_in, materialize_grads=True)
    found = iter(others)
    return at_input, {
        name: tuple(next(found) if edge.requires_grad else None for edge in inputs)
        for name, inputs in edges.items()
    }


def _constant(put_in: Tensor) -> OutputRelevance:
    """Return the function that puts in ``put_in`` (C,), whatever the logits."""
    return lambda logits: put_in.expand_as(logits)


def _alike(requests: Sequence[ExplanationRequest]) -> Iterable[list[int]]:
    """Return the indices of requests, grouped by composite and layer."""
    kinds: dict[tuple[Composite, str | None], list[int]] = {}
    for i, request in enumerate(requests):
        kinds.setdefault((request.composite, request.layer), []).append(i)
    return kinds.values()


def _hooks(node: Node, rule: AssignedRule, bounds: Bounds | None) -> Iterable[Hook]:
    """Return the hook that makes a node follow ``rule``; none where relevance follows the gradient."""
    if rule.name == lrp_rules.NORM:
        return (zennit_rules.Norm(),)
    if rule.name in RULES:
        return (RULES[rule.name].reference(zennit_rules, bounds, **dict(rule.parameters)),)
    return (zennit_rules.Pass(),) if node.op in PASSING else ()
