"""What explains one network, for inputs as they are or relative to a baseline."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from app.lrp.attribution import Batch, BatchAttributions
from app.lrp.engine.cuda_graphs import GraphedEngine, Recorder
from app.lrp.engine.engine import Engine
from app.lrp.engine.ops.affine import NotCompilableError
from app.lrp.graph.baseline import with_baseline
from app.lrp.graph.traced import TracedModel, in_float64
from app.models.bounds import Bounds
from app.models.randomized import RandomizedEngines

if TYPE_CHECKING:
    from app.lrp.reference import Reference


class Explainer:
    """The engine of a network, its reference, and engines of the network with random layers."""

    baseline_logits: list[float] | None = None
    """Logits of the baseline; ``None`` without one."""

    def __init__(
        self,
        model: TracedModel,
        bounds: Bounds | None,
        products: torch.dtype | None,
        recorder: Recorder | None = None,
    ) -> None:
        """Compile a network.

        Args:
            model: The network.
            bounds: The smallest and the largest input, if it has any.
            products: As in `Engine`.
            recorder: Records passes as graphs; ``None``: there are no graphs.

        """
        self._model, self._bounds, self._products = model, bounds, products
        self.engine = self._compiled()
        self._randomized = RandomizedEngines(model, self.engine, bounds, products)
        self._runner: Engine | Reference | GraphedEngine = self.engine
        if recorder is not None and isinstance(self.engine, Engine):
            self._runner = GraphedEngine(self.engine, recorder)

    def run(self, batch: Batch, randomized: int = 0) -> BatchAttributions:
        """Return what is requested, of the network with so many random layers, counted from the output."""
        runner = self._randomized(randomized) if randomized else self._runner
        return runner.run(batch)

    @cached_property
    def reference(self) -> "Reference":
        """The reference, in float64; its import takes seconds."""
        from app.lrp.reference import Reference

        bounds = tuple(map(in_float64, self._bounds or ()))
        return Reference(self._model.map_weights(in_float64), *bounds)

    def inputs(self, x: Tensor) -> Tensor:
        """Return what the network is given for inputs ``x``, (B, …)."""
        return x

    def _compiled(self) -> "Engine | Reference":
        """Return the engine, or the reference for a network that the engine cannot compile."""
        try:
            return Engine(self._model, *(self._bounds or ()), products=self._products)
        except NotCompilableError:
            return self.reference


class BaselineExplainer(Explainer):
    """An `Explainer` of inputs relative to a baseline, see `app.lrp.graph.baseline`."""

    def __init__(
        self,
        model: TracedModel,
        bounds: Bounds,
        products: torch.dtype | None,
        baseline: Tensor,
        recorder: Recorder | None = None,
    ) -> None:
        """``baseline``: an input, (columns,). Raises `GraphError` if the network's input cannot be shifted."""
        low, high = bounds
        shifted = with_baseline(model, baseline)
        super().__init__(shifted, (low - baseline, high - baseline), products, recorder)
        self._baseline = baseline
        (self.baseline_logits,) = self.engine.run(
            Batch(self.inputs(baseline.unsqueeze(0)), (), ())
        ).logits.tolist()

    def inputs(self, x: Tensor) -> Tensor:
        """See `Explainer`."""
        return x - self._baseline
