"""Explanations of batches of fixed sizes as CUDA graphs.

A pass of the engine starts a hundred operations or more. For a few inputs, a GPU ends each of them sooner than
the processor starts the next one. A graph is a pass that was recorded once, and is started as a whole. It reads
and writes the memory that it was recorded with: inputs and targets are copied there.
"""

import contextlib
import itertools
import logging
import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

import torch
from torch import Tensor

from app.lrp.attribution import Attribution, Batch, BatchAttributions, Targets
from app.lrp.engine.engine import CompiledPass, Engine
from app.lrp.request import ExplanationRequest
from app.lrp.transfer import to_memory

log = logging.getLogger(__name__)

MAX_ROWS = 32
"""Larger batches keep a GPU busy without a graph."""
SIGHTS = 3
"""A graph is recorded when it is wanted for the third time, as this takes longer than some passes."""
KEYS_KEPT = 256
"""Most keys whose sights are counted."""
GRAPHS_KEPT = 32
"""Most graphs of a network."""
WARM_UPS = 3
"""Passes before one is recorded, as torch recommends: libraries allocate memory in the first ones."""

Pass = Callable[[], Attribution]


class Recorder(Protocol):
    """Records passes."""

    def __call__(self, run: Pass, /) -> Pass:
        """Return a function that does what ``run`` does, in the memory that ``run`` reads and writes."""


class CudaRecorder:
    """Records passes on a CUDA device. They share their memory, since they run one after the other.

    Passes are recorded on a stream on which nothing else runs. The workspaces of cuBLAS belong to a stream, and
    those of a stream that is recorded are freed with its graphs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.device(device):
            self._warming, self._recording = torch.cuda.Stream(), torch.cuda.Stream()
        self._keeps_pool = torch.cuda.CUDAGraph()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is empty
            with self._capture(self._keeps_pool):
                pass

    def __call__(self, run: Pass) -> Pass:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device):
            self._warming.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._warming):
                for _ in range(WARM_UPS):
                    run()
            torch.cuda.current_stream().wait_stream(self._warming)
        with self._capture(graph):
            result = run()

        def replay() -> Attribution:
            graph.replay()
            return result

        return replay

    @contextlib.contextmanager
    def _capture(self, graph: torch.cuda.CUDAGraph) -> Iterator[None]:
        """Record what runs in the block. The current stream is restored, which torch omits where that fails."""
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.current_stream(self._device)),
            torch.cuda.graph(
                graph,
                pool=self._pool,
                stream=self._recording,
                capture_error_mode="thread_local",  # another thread may load the reference
            ),
        ):
            yield


class GraphedEngine:
    """Runs batches as graphs, and those that have no graph by the engine. Not thread-safe.

    There is a graph for a batch of up to `MAX_ROWS` inputs with one explanation each, which have the layer and
    the composite in common. Its rules have their default parameters, since a graph keeps its weights in memory.
    The batch is filled up to a power of two.
    """

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self._engine, self._recorder = engine, recorder
        self._sights: Callable[[Hashable], Iterator[int]] = lru_cache(KEYS_KEPT)(lambda _: itertools.count(1))
        self._slots = lru_cache(GRAPHS_KEPT)(lambda _: _Slot())

    @torch.inference_mode()
    def run(self, batch: Batch) -> BatchAttributions:
        """Return what `Engine.run` does; where memory does not suffice, the next call has that of the graphs."""
        try:
            return self._run(batch)
        except torch.OutOfMemoryError:
            self._slots.cache_clear()
            raise

    def _run(self, batch: Batch) -> BatchAttributions:
        common = _common(batch)
        if common is None:
            return self._engine.run(batch)
        size = 1 << (len(batch.requests) - 1).bit_length()
        filled = (*batch.requests, *[batch.requests[-1]] * (size - len(batch.requests)))
        targets = Targets(filled, batch.inputs.device)
        graph = self._graph(batch.inputs, targets, common)
        return self._engine.run(batch) if graph is None else graph.run(batch.inputs, targets)

    def _graph(self, inputs: Tensor, targets: Targets, common: ExplanationRequest) -> "_Graph | None":
        """Return the graph for such inputs and targets; ``None``: there is none, yet or at all."""
        key = common.composite, common.layer, inputs.shape[1:], inputs.dtype, targets.count, targets.form
        if next(self._sights(key)) < SIGHTS:
            return None
        slot = self._slots(key)
        if not slot.is_filled:
            graph = self._recorded(inputs, targets, common)
            slot = self._slots(key)  # another one, if memory did not suffice and all were dropped
            slot.graph, slot.is_filled = graph, True
        return slot.graph

    def _recorded(self, inputs: Tensor, targets: Targets, common: ExplanationRequest) -> "_Graph | None":
        own = inputs.new_zeros(targets.count, *inputs.shape[1:])
        own[: len(inputs)] = inputs
        compiled = self._engine.compiled(common.composite, own, common.layer)
        try:
            return _Graph(own, targets, compiled, self._recorder(partial(compiled, own, targets)))
        except RuntimeError as error:  # what is wrong with the device is so again without a graph
            log.warning("a pass cannot be recorded as a CUDA graph and is run without", exc_info=error)
            if isinstance(error, torch.OutOfMemoryError):
                self._slots.cache_clear()
            return None


@dataclass(eq=False)
class _Slot:
    """Place of one graph."""

    is_filled: bool = False
    graph: "_Graph | None" = None
    """``None`` in a filled slot: the pass cannot be recorded."""


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
    return first if alike and all(rule.has_defaults for _, rule in first.composite.layers) else None
