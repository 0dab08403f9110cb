"""A model on a machine of the cluster: loaded by a replica of a Serve deployment, called by `RemoteModel`."""

import asyncio
import contextlib
import os
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NoReturn

from app.models.protocol import Description, ModelLostError
from app.runtime.remote_errors import pack
from app.settings import Settings
from app.telemetry.logs import configure

EXIT_LOST = 1
"""Exit code of a replica whose accelerator no longer responds; Serve starts another one."""


class ModelReplica:
    """Runs batches on one model, one at a time.

    Jobs and results are pickled here and not by Ray, whose arrays are read-only, and errors are sent as data; see
    `app.runtime.remote_errors`.
    """

    def __init__(self, card_path: Path, settings: Settings, cores: int) -> None:
        """Load the model of a card; raises `RefusedToStartError`."""
        configure(settings.log_format)
        from app.models.local import LocalModel

        self._model = LocalModel.load(
            card_path, settings.device, cores, settings.precision, cuda_graphs=settings.cuda_graphs
        )
        self._limit_s = settings.model_limit_s
        self._thread = ThreadPoolExecutor(
            1, "model"
        )  # torch has a pool of threads for each thread that calls it
        self._running_since: float | None = None
        self._calls: set[str] = set()

    async def describe(self) -> Description:
        """Return the model's description."""
        return self._model.description

    async def run(self, call: str, jobs: bytes) -> bytes:
        """Return the results of pickled jobs, or the error, as `app.runtime.remote_errors.pack` does.

        ``call`` is the caller's ID for `has`.
        """
        with self._one(call):
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, jobs)

    async def prepare_reference(self, call: str) -> bytes:
        """See `app.models.protocol.Model`; ``call`` as in `run`."""
        with self._one(call):
            return await asyncio.to_thread(pack, self._model.prepare_reference)

    async def has(self, call: str) -> bool:
        """Return whether the call runs or waits here."""
        return call in self._calls

    def check_health(self) -> None:
        """Raise `RuntimeError` if a batch runs for too long; called by Serve, which then replaces the replica."""
        since = self._running_since
        if since is not None and time.monotonic() - since > self._limit_s:
            raise RuntimeError(f"a batch runs for more than {self._limit_s:g} s")

    @contextlib.contextmanager
    def _one(self, call: str) -> Iterator[None]:
        """Count a call while it runs or waits."""
        self._calls.add(call)
        try:
            yield
        finally:
            self._calls.discard(call)

    def _run(self, jobs: bytes) -> bytes:
        self._running_since = time.monotonic()
        try:
            return pack(partial(self._results, jobs))
        finally:
            self._running_since = None

    def _results(self, jobs: bytes) -> object:
        try:
            return self._model.run(pickle.loads(jobs))  # noqa: S301 # written by our own process
        except ModelLostError:
            _end()


def _end() -> NoReturn:
    """End this process at once; its callers notice."""
    os._exit(EXIT_LOST)
