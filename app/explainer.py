"""The model on its device, owned by one thread."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn

from app.errors import RefusedToStartError
from app.lrp.affine import NotCompilableError
from app.lrp.composites import Composite, resolve
from app.lrp.engine import Engine
from app.lrp.seed import Explanation, Question, seed

if TYPE_CHECKING:
    from app.lrp.reference import Reference

T = TypeVar("T")


@dataclass(frozen=True)
class Timed(Generic[T]):
    """What the model's thread answered, and the seconds that it waited for the thread and took on it."""

    result: T
    queue_s: float
    model_s: float


class Explainer:
    """Scores and relevance of pictures, one request at a time.

    Relevance through Zennit's hooks is not safe from two threads (104 wrong maps of 118 were measured), so
    one thread owns the network and whoever wants it queues there.
    """

    def __init__(self, model: nn.Module, low: Tensor, high: Tensor, device: torch.device) -> None:
        """``low`` and ``high`` (1, 3, 1, 1): black and white after normalisation."""
        self.device = device
        self._model = model.to(device).eval()
        self._engine = _engine(self._model, low.to(device), high.to(device))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    def resolve(self, rule: str, parameters: dict[str, float], overrides: Sequence[str]) -> Composite:
        """Which layer gets which rule; raises `InvalidParameterError`."""
        return resolve(self._model, rule, parameters, overrides)

    async def predict(self, image: Tensor) -> Timed[Tensor]:
        """Logits (classes,) of one picture (3, 32, 32)."""
        return await self._on_thread(lambda: self._logits(image))

    async def explain(
        self, image: Tensor, composite: Composite, question: Question, layer: str | None
    ) -> Timed[Explanation]:
        """Relevance of one picture (3, 32, 32), as a batch of one on the CPU."""
        return await self._on_thread(lambda: self._relevance(image, composite, question, layer))

    def close(self) -> None:
        """Let what is running finish, then end the thread."""
        self._thread.shutdown(wait=True)

    @torch.inference_mode()
    def _logits(self, image: Tensor) -> Tensor:
        logits: Tensor = self._model(image.unsqueeze(0).to(self.device))  # (1, 3, 32, 32) -> (1, classes)
        return logits[0].cpu()

    def _relevance(
        self, image: Tensor, composite: Composite, question: Question, layer: str | None
    ) -> Explanation:
        inputs = image.unsqueeze(0).to(self.device)  # (3, 32, 32) -> (1, 3, 32, 32)
        return self._engine.explain(inputs, composite, seed([question]), layer).cpu()

    async def _on_thread(self, work: Callable[[], T]) -> Timed[T]:
        submitted = time.perf_counter()

        def timed() -> Timed[T]:
            started = time.perf_counter()
            result = work()
            return Timed(result, started - submitted, time.perf_counter() - started)

        return await asyncio.get_running_loop().run_in_executor(self._thread, timed)


def _engine(model: nn.Module, low: Tensor, high: Tensor) -> "Engine | Reference":
    """Our own engine, or Zennit for what that cannot compile."""
    try:
        return Engine(model, low, high)
    except NotCompilableError:
        from app.lrp.reference import Reference  # Zennit brings seconds of imports that few networks need

        return Reference(model, low, high)


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
