"""Explanations of batches of fixed sizes as CUDA graphs.

A pass of the engine starts a hundred operations or more. For a few inputs, a GPU ends each of them sooner than
the processor starts the next one. A graph is a pass that was recorded once, and is started as a whole. It reads
and writes the memory that it was recorded with: inputs and targets are copied there.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from app.lrp.attribution import Attribution, Batch, BatchAttributions, Targets
from app.lrp.composites import Composite
from app.lrp.engine.engine import CompiledPass, Engine
from app.lrp.request import ExplanationRequest
from app.lrp.transfer import to_memory

log = logging.getLogger(__name__)

MAX_ROWS = 32
"""Larger batches keep a GPU busy without a graph."""
GRAPHS_KEPT = 32
"""Most graphs of a network: of sizes, composites, layers and forms of targets."""
WARM_UPS = 3
"""Passes before one is recorded, as torch recommends: libraries allocate memory in the first ones."""

Pass = Callable[[], Attribution]


class Recorder(Protocol):
    """Records passes."""

    def __call__(self, run: Pass, /) -> Pass:
        """Return a function that does what ``run`` does, in the memory that ``run`` reads and writes."""


class CudaRecorder:
    """Records passes on a CUDA device. They share their memory, since they run one after the other."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Pass) -> Pass:
        """See `Recorder`."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    run()
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Another thread may load the reference meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = run()

        def replay() -> Attribution:
            graph.replay()
            return result

        return replay


class GraphedEngine:
    """Runs batches as graphs, and those that have no graph by the engine. Not thread-safe.

    There is a graph for a batch of up to `MAX_ROWS` inputs with one explanation each, which have the composite
    and the layer in common. It is filled up to a power of two.
    """

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self._engine, self._recorder = engine, recorder
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()

    @torch.inference_mode()
    def run(self, batch: Batch) -> BatchAttributions:
        """Return what `Engine.run` does."""
        common = _common(batch)
        if common is None:
            return self._engine.run(batch)
        size = 1 << (len(batch.requests) - 1).bit_length()
        filled = (*batch.requests, *[batch.requests[-1]] * (size - len(batch.requests)))
        targets = Targets(filled, batch.inputs.device)
        graph = self._graph(batch.inputs, targets, common)
        return self._engine.run(batch) if graph is None else graph.run(batch.inputs, targets)

    def _graph(self, inputs: Tensor, targets: Targets, common: ExplanationRequest) -> "_Graph | None":
        """Return the graph for such inputs and targets, recorded the first time; ``None``: it cannot be."""
        composite, layer = common.composite, common.layer
        key = composite, layer, inputs.shape[1:], inputs.dtype, targets.count, targets.form
        if key not in self._graphs:
            self._graphs[key] = self._recorded(inputs, targets, composite, layer)
            if len(self._graphs) > GRAPHS_KEPT:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _recorded(
        self, inputs: Tensor, targets: Targets, composite: Composite, layer: str | None
    ) -> "_Graph | None":
        own = inputs.new_zeros(targets.count, *inputs.shape[1:])
        own[: len(inputs)] = inputs
        compiled = self._engine.compiled(composite, own, layer)
        try:
            return _Graph(own, targets, compiled, self._recorder(partial(compiled, own, targets)))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # what is wrong with the device is so again without a graph
            log.warning("a pass cannot be recorded as a CUDA graph and is run without", exc_info=error)
            return None


@dataclass(frozen=True, eq=False)
class _Graph:
    """A recorded pass, with the memory that it reads."""

    inputs: Tensor
    """(size, …)"""
    targets: Targets
    compiled: CompiledPass
    """Not called again: it holds the weights."""
    replay: Pass

    def run(self, inputs: Tensor, targets: Targets) -> BatchAttributions:
        """Return the attributions of ``inputs`` (n, …); rows beyond them are what they were."""
        count = len(inputs)
        self.inputs[:count].copy_(inputs)
        self.targets.copy_(targets)
        found = self.replay().map(lambda tensor: to_memory(tensor[:count]))
        return BatchAttributions(found.logits, tuple(found.rows()))


def _common(batch: Batch) -> ExplanationRequest | None:
    """Return a request that stands for composite and layer of all; ``None``: there is no graph for the batch."""
    requests = batch.requests
    if not 0 < len(requests) <= MAX_ROWS or batch.rows != tuple(range(len(batch.inputs))):
        return None
    first = requests[0]
    alike = all((one.composite, one.layer) == (first.composite, first.layer) for one in requests)
    return first if alike else None
