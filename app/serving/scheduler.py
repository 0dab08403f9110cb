"""Takes requests to the model in batches, and its answers back."""

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.errors import InternalError, UnavailableError
from app.lrp.composites import Composite, resolve
from app.models.protocol import Description, Job, JobResult, Model, ModelLostError, NoMemoryError
from app.runtime.batcher import Batcher
from app.runtime.executor import Timed
from app.telemetry.metrics import Metrics

COMPOSITES_KEPT = 256


@dataclass(frozen=True)
class BatchLimits:
    """How the model takes its work."""

    max_batch: int = 32
    """Pictures at once; of one with many explanations, explanations."""
    deadline_s: float = 5.0
    last_batch_s: float = 20.0
    """For what runs or waits when all is to end; then the model is killed."""


class Scheduler:
    """Scores and relevance of pictures. Whatever is asked while the model works is its next batch.

    One model, although two could run side by side: each with half of the cores, they answered 32 clients no
    faster, for their batches are half as large.
    """

    def __init__(
        self,
        model: Model,
        *,
        limits: BatchLimits,
        metrics: Metrics,
        on_death: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """Waits until ``model`` is loaded."""
        self.description: Description = model.description
        self._model = model
        self._metrics = metrics
        self._last_batch_s = limits.last_batch_s
        self._on_death = on_death
        self._over = threading.Lock()
        self._batcher = Batcher[Job, JobResult](
            self._run,
            max_batch=limits.max_batch,
            deadline_s=limits.deadline_s,
            weigh=lambda job: max(1, len(job.requests)),
            observer=metrics,
            on_death=self._die,
        )
        model.watch(self._die)
        self._resolved = lru_cache(COMPOSITES_KEPT)(
            lambda rule, parameters, overrides: resolve(
                self.description.chain, rule, dict(parameters), overrides
            )
        )

    @property
    def waiting(self) -> int:
        """Jobs that wait for the model."""
        return self._batcher.waiting

    def resolve(self, rule: str, parameters: dict[str, float], overrides: Sequence[str]) -> Composite:
        """Which layer gets which rule; raises `InvalidParameterError`."""
        return self._resolved(rule, tuple(parameters.items()), tuple(overrides))

    async def submit(self, job: Job) -> Timed[JobResult]:
        """What comes of ``job``; raises what `Batcher.submit` does."""
        if job.verify:
            await self._prepare_reference()
        return await self._batcher.submit(job)

    def close(self) -> None:
        """Let what waits and runs finish. A model that does not come to an end is killed."""
        impatience = threading.Timer(self._last_batch_s, self._model.kill)
        impatience.start()
        self._batcher.close()
        impatience.cancel()
        self._over.acquire(blocking=False)

    async def _prepare_reference(self) -> None:
        try:
            await asyncio.to_thread(self._model.prepare_reference)
        except ModelLostError as error:
            self._die(error)
            raise UnavailableError("the model has failed and the service ends; try again later") from None

    def _die(self, error: BaseException) -> None:
        """Tell it once, whoever notices first, and nobody after the end."""
        if self._over.acquire(blocking=False):
            self._on_death(error)

    def _run(self, jobs: list[Job]) -> list[JobResult | Exception]:
        """One answer for each job; on the batcher's thread."""
        try:
            return [self._checked(result) for result in self._model.run(jobs)]
        except NoMemoryError:
            if len(jobs) > 1:
                raise  # halves of the batch may fit
            self._metrics.refused("out_of_memory")
            raise UnavailableError("not enough memory for this picture now; try again in a second") from None

    def _checked(self, result: JobResult) -> JobResult | Exception:
        extremes = [value for one in result.explanations for value in (one.smallest, one.largest)]
        if all(map(math.isfinite, [*result.logits, *extremes])):
            return result
        self._metrics.failed("non_finite")
        return InternalError("scores or relevance are not finite")
