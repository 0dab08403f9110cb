"""Runs jobs on the model in batches."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from app.errors import InternalError, InvalidParameterError, UnavailableError
from app.lrp.composites import Composite, has_attention, resolve
from app.lrp.rules import CP, AttentionRule
from app.models.protocol import (
    Description,
    Job,
    JobResult,
    Model,
    ModelLostError,
    ModelUnavailableError,
    NoMemoryError,
)
from app.runtime.batcher import Batcher
from app.runtime.executor import Timed
from app.runtime.turns import Turns
from app.telemetry.metrics import ModelMetrics

MAX_CACHED_COMPOSITES = 256
CLOSE_S = 0.5
"""Default time for the last batch. By then the server has answered or given up all requests."""

NOT_FINITE = "scores or relevance are not finite"
NO_MEMORY = "not enough memory for this picture now"

REFERENCE_WEIGHT = 3
"""Cost of one explanation by the reference, in explanations by the engine in a batch.

Measured on two cores: 130 comparisons of one picture take 0.28 s, and 1.07 s with ``verify``.
"""


@dataclass(frozen=True)
class BatchLimits:
    """Limits on the batches of one model."""

    max_batch: int = 32
    """Maximum sum of the jobs' `weight` in a batch; a job that weighs more runs alone."""
    deadline_s: float = 5.0
    """Maximum seconds that a job waits for its batch."""
    max_background_batch: int = 4
    """The same of jobs in the background; a job that arrives meanwhile waits for half of it on average."""


class Scheduler:
    """Runs jobs on one model. Jobs that arrive while a batch runs form the next batch.

    Models that take turns run one batch at a time, of one model after the other.

    Two instances of the model with half of the cores each were no faster for 32 clients, because their batches
    are half as large.
    """

    def __init__(
        self,
        model: Model,
        *,
        limits: BatchLimits,
        metrics: ModelMetrics,
        turns: Turns | None = None,
    ) -> None:
        """Wait until ``model`` is loaded. ``turns`` hears of its loss; ``None``: it takes turns with no other."""
        self.description: Description = model.description
        self.fault: str | None = None
        """What was wrong with the last results, if they could not be used."""
        self._model = model
        self._max_rows = limits.max_batch
        self._metrics = metrics
        self._turns = turns or Turns()
        self._batcher = Batcher[Job, JobResult](
            self._run,
            max_batch=limits.max_batch,
            max_background_batch=limits.max_background_batch,
            deadline_s=limits.deadline_s,
            weigh=weight,
            observer=metrics,
            turns=self._turns,
        )
        model.watch(self._turns.lose)
        composites, rules = self.description.composites, self.description.rules
        self._resolved = lru_cache(MAX_CACHED_COMPOSITES)(
            lambda rule, parameters, overrides, attention: resolve(
                self.description.chain, rule, dict(parameters), overrides, composites, attention or CP, rules
            )
        )

    @property
    def waiting(self) -> int:
        """Number of jobs that wait for a batch."""
        return self._batcher.waiting

    def resolve(
        self,
        rule: str,
        parameters: dict[str, float],
        overrides: Sequence[str],
        attention: AttentionRule | None = None,
    ) -> Composite:
        """Return which layer gets which rule; `CP` without ``attention``. Raises `InvalidParameterError`."""
        if attention is not None and not has_attention(self.description.chain):
            raise InvalidParameterError("attention", "the model has no attention; leave it out")
        return self._resolved(rule, tuple(parameters.items()), tuple(overrides), attention)

    async def submit(self, job: Job) -> Timed[JobResult]:
        """Return the result of ``job``. Raises what `Batcher.submit` does."""
        if job.verify:
            await self._prepare_reference()
        return await self._batcher.submit(replace(job, max_rows=self._max_rows))

    async def submit_in_background(self, job: Job) -> Timed[JobResult]:
        """Return the result of ``job``, which runs while no others wait; raises what the batcher's does."""
        return await self._batcher.submit_in_background(job)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Take no more jobs, and kill the model if those that run or wait take longer than ``timeout_s``."""
        if not self._batcher.close(timeout_s):
            self._turns.end()  # killed on purpose: not a failure
            self._model.kill()
            self._batcher.close(CLOSE_S)
        self._turns.end()
        self._turns.join(CLOSE_S)

    async def _prepare_reference(self) -> None:
        try:
            await asyncio.to_thread(self._model.prepare_reference)
        except ModelLostError as error:
            self._turns.lose(error)
            raise UnavailableError("the model has failed and the service ends; try again later") from None
        except ModelUnavailableError as error:
            raise self._refusal(error) from None

    def _run(self, jobs: list[Job]) -> list[JobResult | Exception]:
        """Return a result for each job; called on the thread of `Turns`."""
        try:
            results = [self._checked(result) for result in self._model.run(jobs)]
        except NoMemoryError:
            if len(jobs) > 1:
                raise  # halves of the batch may fit
            self._metrics.refused("out_of_memory")
            self.fault = NO_MEMORY
            raise UnavailableError(f"{NO_MEMORY}; try again in a second") from None
        except ModelUnavailableError as error:
            return [self._refusal(error) for _ in jobs]  # halves of the batch would fail as well
        self.fault = NOT_FINITE if any(isinstance(result, Exception) for result in results) else None
        return results

    def _refusal(self, error: ModelUnavailableError) -> UnavailableError:
        """Count one job that no replica of the model ran, and return its error."""
        self._metrics.refused("no_replica")
        return UnavailableError(str(error))

    def _checked(self, result: JobResult) -> JobResult | Exception:
        explanations = (*result.explanations, *(result.verified or ()))
        if all(map(math.isfinite, result.logits)) and all(one.is_finite for one in explanations):
            return result
        self._metrics.failed("non_finite")
        return InternalError(NOT_FINITE)


def weight(job: Job) -> int:
    """Return the cost of ``job``, in explanations.

    A sample counts as one. With noise it costs one; with dropout it costs less, the higher the first layer is
    that drops anything: about a third where that is the last hidden layer.
    """
    samples = 1 if job.samples is None else job.samples.count
    return samples * max(1, len(job.requests)) * (1 + (REFERENCE_WEIGHT if job.verify else 0))
