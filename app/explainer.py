"""The model on its device, owned by one thread that takes requests in batches."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from app.batching import Batched, Batcher
from app.errors import InternalError, RefusedToStartError, UnavailableError
from app.lrp.affine import NotCompilableError
from app.lrp.composites import Composite, resolve
from app.lrp.engine import Engine
from app.lrp.seed import Ask, Explanation
from app.metrics import Metrics

if TYPE_CHECKING:
    from app.lrp.reference import Reference


COMPOSITES_KEPT = 256


@dataclass(frozen=True)
class Limits:
    """How the model's thread takes its work."""

    max_batch: int = 32
    """Pictures at once; of one with many explanations, explanations."""
    max_queue: int = 128
    deadline_s: float = 5.0


@dataclass(frozen=True, eq=False)
class Job:
    """One picture, normalised (3, 32, 32), and what is asked of it: nothing but its logits, if no ``asks``."""

    image: Tensor
    asks: tuple[Ask, ...] = ()
    """Their rows count for nothing."""
    verify: bool = False
    """Whether the reference is to explain the same."""


@dataclass(frozen=True, eq=False)
class Done:
    """What came of a job, in main memory."""

    logits: Tensor
    """(C,)"""
    explanations: tuple[Explanation, ...]
    """In the order of the asks."""
    verified: tuple[Explanation, ...] | None
    """The same by the reference, if that was asked for."""


class DeviceLostError(BaseException):
    """The accelerator does not answer any more; nothing that this process does can bring it back."""


class Explainer:
    """Scores and relevance of pictures. Whatever is asked while the thread works is its next batch.

    One thread, although the engine would be safe from several: two, each with half of the cores, answered 32
    clients no faster, for their batches are half as large.
    """

    def __init__(
        self,
        model: nn.Module,
        low: Tensor,
        high: Tensor,
        device: torch.device,
        *,
        limits: Limits,
        metrics: Metrics,
        on_death: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """``low`` and ``high`` (1, 3, 1, 1): black and white after normalisation."""
        self.device = device
        self._model = model.to(device).eval()
        self._bounds = low.to(device), high.to(device)
        self._metrics = metrics
        self._engine = _engine(self._model, *self._bounds)
        self._batcher = Batcher[Job, Done](
            self._run,
            max_batch=limits.max_batch,
            max_queue=limits.max_queue,
            deadline_s=limits.deadline_s,
            weigh=lambda job: max(1, len(job.asks)),
            observer=metrics,
            on_death=on_death,
        )
        self._resolved = lru_cache(COMPOSITES_KEPT)(
            lambda rule, parameters, overrides: resolve(self._model, rule, dict(parameters), overrides)
        )
        metrics.queue_depth(lambda: self._batcher.waiting)

    @property
    def engine(self) -> str:
        """Who computes relevance: our engine, or the reference where that cannot."""
        return self._engine.name

    @property
    def reference(self) -> str:
        """Who verifies it."""
        return self._reference.name

    def resolve(self, rule: str, parameters: dict[str, float], overrides: Sequence[str]) -> Composite:
        """Which layer gets which rule; raises `InvalidParameterError`."""
        return self._resolved(rule, tuple(parameters.items()), tuple(overrides))

    async def submit(self, job: Job) -> Batched[Done]:
        """What comes of ``job``; raises what `Batcher.submit` does."""
        if job.verify:  # seconds, the first time, that the model's thread has better use for
            await asyncio.to_thread(lambda: self._reference)
        return await self._batcher.submit(job)

    def close(self) -> None:
        """Let what waits and runs finish, then end the thread."""
        self._batcher.close()

    def _run(self, jobs: list[Job]) -> list[Done | Exception]:
        """One answer for each job; on the model's thread."""
        try:
            return self._done(jobs)
        except torch.AcceleratorError as error:
            raise DeviceLostError(str(error)) from error
        except Exception as error:
            if len(jobs) > 1 or not _is_out_of_memory(error):
                raise  # halves of the batch may fit
            self._metrics.refused("out_of_memory")
            raise UnavailableError("not enough memory for this picture now; try again in a second") from None

    def _done(self, jobs: list[Job]) -> list[Done | Exception]:
        asks = [replace(ask, row=row) for row, job in enumerate(jobs) for ask in job.asks]
        inputs = torch.stack([job.image for job in jobs])  # (3, 32, 32) each -> (B, 3, 32, 32)
        answers = self._engine.answer(inputs.to(self.device), asks)
        explanations = iter(answers.explanations)
        done: list[Done | Exception] = []
        for row, job in enumerate(jobs):
            own = tuple(next(explanations) for _ in job.asks)
            done.append(self._checked(Done(answers.logits[row], own, self._verified(job))))
        return done

    def _verified(self, job: Job) -> tuple[Explanation, ...] | None:
        if not job.verify:
            return None
        asks = [replace(ask, row=0) for ask in job.asks]
        return self._reference.answer(job.image.unsqueeze(0).to(self.device), asks).explanations

    def _checked(self, done: Done) -> Done | Exception:
        extremes = [value for explanation in done.explanations for value in explanation.extremes[0].tolist()]
        if all(map(math.isfinite, [*done.logits.tolist(), *extremes])):
            return done
        self._metrics.failed("non_finite")
        return InternalError("scores or relevance are not finite")

    @cached_property
    def _reference(self) -> "Reference":
        from app.lrp.reference import Reference  # Zennit brings seconds of imports that few need

        return Reference(self._model, *self._bounds)


def _engine(model: nn.Module, low: Tensor, high: Tensor) -> "Engine | Reference":
    """Our own engine, or Zennit for what that cannot compile."""
    try:
        return Engine(model, low, high)
    except NotCompilableError:
        from app.lrp.reference import Reference

        return Reference(model, low, high)


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has a type for it on accelerators only; on a CPU it is a RuntimeError with its allocator's words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU; raises `RefusedToStartError` for what is missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RefusedToStartError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RefusedToStartError(f"device {name!r} was asked for, but torch sees no CUDA device here")
    return device
