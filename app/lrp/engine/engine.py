"""The engine: relevance by one forward pass and one backward pass, without autograd and without hooks.

Zennit replaces gradients in hooks and swaps weights while autograd runs. Here a network is compiled once into
pure functions (`app.lrp.engine.compile`), which are then executed (`app.lrp.engine.forward`,
`app.lrp.engine.backward`). Threads may share an engine.
"""

import bisect
import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
from app.lrp.engine.backward import LayerRelevance, backward_pass, sorted_by_steps
from app.lrp.engine.compile import CompiledNetwork
from app.lrp.engine.forward import ForwardPass, forward_functions, forward_pass, run_forward
from app.lrp.engine.joined import JoinedNetwork
from app.lrp.engine.sampling import sampled_pass
from app.lrp.engine.steps import Forward, Network, Steps
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest
from app.lrp.samples import Samples, parts
from app.lrp.transfer import to_memory


class Engine:
    """Explains a network; the counterpart of `app.lrp.reference.Reference`.

    Raises `NotCompilableError` for a network with a node that has no operation in `app.lrp.engine.ops`.
    """

    name = "lrpserve"

    def __init__(
        self,
        model: TracedModel,
        low: Tensor | None = None,
        high: Tensor | None = None,
        *,
        products: torch.dtype | None = None,
    ) -> None:
        """Compile a network.

        Args:
            model: The network.
            low: The smallest input, broadcastable to it, for inputs with bounds.
            high: The largest input.
            products: For inputs in float32, precision of products with weights in the relevance pass: in modified
                forward passes and in transposes. The forward pass, and with it scores and the denominators of
                LRP-0 and ε, is in float32, as are sums, other denominators and stabilizers. ``None``: float32.

        """
        bounds = None if low is None or high is None else (low, high)
        self._network: Network = CompiledNetwork(model, bounds, products)

    def joined(self, upper: "Engine", first: str) -> "Engine":
        """Return an engine with the nodes of ``upper`` from the layer named ``first`` on.

        ``upper`` is an engine of the same network with other weights. What the two have compiled is shared.
        """
        joined, index = copy.copy(self), self._network.wiring.names.index(first)
        joined._network = JoinedNetwork(self._network, upper._network, index)
        return joined

    @torch.inference_mode()
    def attribute(
        self, inputs: Tensor, composite: Composite, start: OutputRelevance, layer: str | None = None
    ) -> Attribution:
        """Return the relevance of ``inputs`` (B, …) at the input of ``layer``; ``None``: the network's input.

        ``start`` returns the relevance that is put in at the output, (B, C), for logits (B, C).
        """
        return self.compiled(composite, inputs, layer)(inputs, start)

    @torch.inference_mode()
    def compiled(self, composite: Composite, inputs: Tensor, layer: str | None = None) -> "CompiledPass":
        """Return the pass that `attribute` runs, for inputs like these, (B, …)."""
        composite.position(layer)  # raises if there is no such layer
        steps = self._steps(composite, inputs)
        return CompiledPass(self._network, steps, forward_functions(self._network, inputs, [steps]), layer)

    @torch.inference_mode()
    def absorbed(self, x: Tensor, composite: Composite, start: OutputRelevance) -> dict[str, float]:
        """Return the share of the relevance put in at the output that each layer absorbs, for one input (1, …).

        That is, by name, the share of biases, constants and stabilizers. The sum over all layers is the leak.
        ``start`` is as in `attribute`.
        """
        steps = self._steps(composite, x)
        forward = forward_pass(self._network, x, [steps])
        put_in = start(forward.logits)  # (1, C)
        total = put_in.sum()
        return {
            reached.name: float(reached.absorbed[0] / total)
            for reached in backward_pass(forward, put_in, [0], [steps])
            if reached.name is not None
        }

    @torch.inference_mode()
    def run(self, batch: Batch) -> BatchAttributions:
        """Return everything that is requested of the inputs of ``batch``, by one forward pass."""
        steps = {r.composite: self._steps(r.composite, batch.inputs) for r in batch.requests}
        forward = forward_pass(self._network, batch.inputs, list(steps.values()))
        logits = forward.logits  # (B, C)
        if not batch.requests:
            return BatchAttributions(logits.cpu(), ())
        steps_of = [steps[request.composite] for request in batch.requests]
        order = sorted_by_steps(steps_of)
        requests, rows = [batch.requests[i] for i in order], [batch.rows[i] for i in order]
        put_in = output_relevance(requests)(logits[rows])  # (n, C)
        groups = [
            _Group(request.layer, steps_of[i], [row])
            for i, request, row in zip(order, requests, rows, strict=True)
        ]
        attributions = self._attributions(forward, groups, put_in)
        in_order = sorted(zip(order, attributions, strict=True), key=lambda item: item[0])
        return BatchAttributions(logits.cpu(), tuple(attribution for _, attribution in in_order))

    @torch.inference_mode()
    def sample(
        self, inputs: Tensor, requests: Sequence[ExplanationRequest], samples: Samples, max_rows: int
    ) -> SampledAttributions:
        """Return samples of the explanations of one input, (1, …), in batches of at most ``max_rows`` rows.

        Target and output relevance come from a pass without dropout and noise, and are those of all samples.
        """
        steps = [self._steps(request.composite, inputs) for request in requests]
        plain = forward_pass(self._network, inputs, steps, keeps_all=True)
        put_in = output_relevance(requests)(plain.logits.expand(len(requests), -1))  # (requests, C)
        order = sorted_by_steps(steps)
        logits: list[Tensor] = []
        found: list[list[Attribution]] = [[] for _ in requests]
        for numbers in parts(range(samples.count), max_rows):
            forward = sampled_pass(self._network, plain, steps, samples, numbers)
            logits.append(forward.logits.cpu())
            for part in parts([(i, row) for i in order for row in range(len(numbers))], max_rows):
                rows = {i: [row for j, row in part if j == i] for i, _ in part}
                groups = [_Group(requests[i].layer, steps[i], of_one) for i, of_one in rows.items()]
                of_part = self._attributions(forward.copy(), groups, put_in[[i for i, _ in part]])
                for i, attribution in zip(rows, of_part, strict=True):
                    found[i].append(attribution)
        names = self._network.wiring.layers
        maps = (SampledAttribution.of(names, *one) for one in zip(put_in.cpu(), found, strict=True))
        return SampledAttributions(plain.logits[0].cpu(), torch.cat(logits), tuple(maps))

    def _steps(self, composite: Composite, inputs: Tensor) -> Steps:
        return self._network.steps(composite, inputs.shape[1:], self._network.precision(inputs.dtype))

    def _attributions(
        self, forward: ForwardPass, groups: Sequence["_Group"], put_in: Tensor
    ) -> list[Attribution]:
        """Return the attribution of each of ``groups``, sorted by steps, in main memory.

        ``put_in`` is the relevance at the output, (n, C), of all of them. ``forward`` is consumed.
        """
        rows = [row for group in groups for row in group.rows]
        steps = [group.steps for group in groups for _ in group.rows]
        sizes = [len(group.rows) for group in groups]
        logits = forward.logits[rows]  # (B, C) -> (n, C)
        maps: dict[int, tuple[Tensor, Tensor]] = {}
        sums: list[Tensor] = []
        absorbed: list[Tensor] = []
        for reached in backward_pass(forward, put_in, rows, steps):
            sums.append(reached.sums)
            absorbed.append(reached.absorbed)
            if any(group.layer == reached.name for group in groups):
                found = _maps(reached, sizes)
                maps |= {m: one for m, one in found if groups[m].layer == reached.name}
        names = self._network.wiring.layers
        tensors = (logits, put_in, _stacked(sums[:-1]), sums[-1], torch.stack(absorbed).sum(0))
        per_group = zip(*(tensor.cpu().split(sizes) for tensor in tensors), strict=True)
        return [
            Attribution(own_logits, own_put_in, *maps[m], names, own_sums, own_input_sums, own_biases)
            for m, (own_logits, own_put_in, own_sums, own_input_sums, own_biases) in enumerate(per_group)
        ]


@dataclass(frozen=True, eq=False)
class CompiledPass:
    """A pass under one composite, for inputs of one shape, with all weights that it reads."""

    network: Network
    steps: Steps
    functions: Sequence[Forward]
    """Of all nodes."""
    layer: str | None

    def __call__(self, inputs: Tensor, start: OutputRelevance) -> Attribution:
        """Return what `Engine.attribute` does."""
        rows = range(len(inputs))
        forward = run_forward(self.network, self.functions, inputs, [self.steps])
        logits = forward.logits
        relevance = put_in = start(logits)
        sums: list[Tensor] = []
        absorbed: list[Tensor] = []
        for reached in backward_pass(forward, put_in, rows, [self.steps] * len(rows)):
            sums.append(reached.sums)
            absorbed.append(reached.absorbed)
            if reached.name == self.layer:
                ((_, relevance),) = reached.maps()  # one: the steps are the same for all inputs
        return Attribution(
            logits,
            put_in,
            relevance,
            extremes(relevance),
            self.network.wiring.layers,
            _stacked(sums[:-1]),
            sums[-1],
            torch.stack(absorbed).sum(0),
        )


@dataclass(frozen=True, eq=False)
class _Group:
    """Neighbouring explanations that differ in their inputs alone."""

    layer: str | None
    steps: Steps
    rows: Sequence[int]
    """Of their inputs in the batch."""


def _maps(reached: LayerRelevance, sizes: Sequence[int]) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """Return index, relevance (m, …) and its extremes (m, 2) of each group of explanations, in main memory.

    ``sizes`` are those of all groups.
    """
    stops = list(itertools.accumulate(sizes))
    for start, R in reached.maps():
        first, last = bisect.bisect(stops, start), bisect.bisect(stops, start + len(R))
        split = (tensor.split(sizes[first:last]) for tensor in (to_memory(R), extremes(R).cpu()))
        yield from enumerate(zip(*split, strict=True), first)


def _stacked(sums: list[Tensor]) -> Tensor:
    """(n,) at each layer from the last to the first -> (n, layers) from the first to the last."""
    return torch.stack(sums[::-1], 1)
