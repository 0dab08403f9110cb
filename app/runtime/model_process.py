"""Models in a process of their own.

torch releases and reacquires the interpreter's lock at each of the hundred operations of a batch. In the server's
process it would wait for the server's threads each time, and throughput would fall by a third. The server itself
does not import torch, and imports the application while the model is loaded.
"""

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from app.errors import RefusedToStartError
from app.models.protocol import Description, Job, JobResult, Model, ModelLostError
from app.models.repository import default_model, find_models
from app.runtime.remote_errors import pack, pack_error, unpack
from app.settings import Precision, Settings

log = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 5.0
"""Wait for the end of a process that has closed its connections."""
GOMP_SPIN_COUNT = "2000"
"""Busy-wait iterations of an idle libgomp thread; by default it occupies its core for milliseconds."""
RUN_LIMIT_S = 60.0
"""Default longest run of a batch."""
NICE = 10
"""`os.nice` increment: after the server (0) and the workers that decode and render (5), which take little time.
With 3, refusals under overload on one core took 100 ms (p99)."""


class ModelProcess:
    """A process with all models of a device.

    It starts with this object; the first use of ``models`` waits until they are loaded. It ends with this object
    and its models, and with the server's process even if that is killed.
    """

    def __init__(
        self,
        card_paths: Sequence[Path],
        device: str,
        cores: int | None,
        precision: Precision = "float32",
        limit_s: float = RUN_LIMIT_S,
        *,
        cuda_graphs: bool = False,
    ) -> None:
        """``limit_s``: longest run, after which the process is killed, if it is watched."""
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads may deadlock
        self._jobs, jobs = context.Pipe()
        self._preparations, preparations = context.Pipe()
        self._running, self._preparing = threading.Lock(), threading.Lock()
        arguments = (jobs, preparations, tuple(card_paths), device, cores, precision, cuda_graphs)
        self._process = context.Process(target=_run_models, args=arguments, name="model", daemon=True)
        self._process.start()
        self._ended = threading.Event()
        self._running_calls = _RunningCalls(limit_s)
        weakref.finalize(self, _kill, self._process, self._ended)
        jobs.close()
        preparations.close()

    @property
    def pid(self) -> int:
        """ID of the process."""
        return self._process.pid or 0

    @property
    def models(self) -> tuple["ProcessModel", ...]:
        """The models in the order of their cards; waits until they are loaded.

        Raises `RefusedToStartError` if one of them cannot be.
        """
        return tuple(ProcessModel(self, index, one) for index, one in enumerate(self._descriptions))

    @cached_property
    def _descriptions(self) -> tuple[Description, ...]:
        try:
            described: tuple[Description, ...] = _result(self._jobs)
        except ModelLostError:
            self._process.join(JOIN_TIMEOUT_S)
            raise RefusedToStartError(
                f"the model's process ended before it was loaded, with code {self._process.exitcode}"
            ) from None
        return described

    def run(self, index: int, jobs: Sequence[Job]) -> list[JobResult]:
        """Run jobs on the model at ``index``; see `app.models.protocol.Model`."""
        with self._running, self._running_calls.one():
            _send(self._jobs, (index, jobs))
            results: list[JobResult] = _result(self._jobs)
        return results

    def prepare_reference(self, index: int) -> None:
        """Prepare the reference of the model at ``index``; see `app.models.protocol.Model`."""
        with self._preparing, self._running_calls.one():
            _send(self._preparations, index)
            _result(self._preparations)

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """See `app.models.protocol.Model`."""
        arguments = (self._process, self._running_calls, self._ended, on_loss)
        threading.Thread(target=_watch, args=arguments, name="watch", daemon=True).start()

    def kill(self) -> None:
        """End the process at once. Thread-safe."""
        self._process.kill()


class ProcessModel:
    """One model of a `ModelProcess`; an `app.models.protocol.Model`."""

    def __init__(self, process: ModelProcess, index: int, description: Description) -> None:
        """``index`` is its place among the models of ``process``."""
        self.process = process
        self.description = description
        self._index = index

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """See `app.models.protocol.Model`."""
        return self.process.run(self._index, jobs)

    def prepare_reference(self) -> None:
        """See `app.models.protocol.Model`."""
        self.process.prepare_reference(self._index)

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """See `app.models.protocol.Model`."""
        self.process.watch(on_loss)

    def kill(self) -> None:
        """See `app.models.protocol.Model`; ends the other models of the process as well."""
        self.process.kill()


def start_models(settings: Settings) -> ModelProcess:
    """Start the process that loads the models of ``settings``; raises `RefusedToStartError`."""
    stored = find_models(settings.models, settings.model)
    default_model(stored, settings.default_model)  # raises before they are loaded
    card_paths = [one.card_path for one in stored]
    return ModelProcess(
        card_paths,
        settings.device,
        settings.cores,
        settings.precision,
        settings.model_limit_s,
        cuda_graphs=settings.cuda_graphs,
    )


def _kill(process: SpawnProcess, ended: threading.Event) -> None:
    """Kill the process when its object is collected, or before Python waits for it at exit."""
    ended.set()
    process.kill()


class _RunningCalls:
    """Calls that the process has not answered yet. Thread-safe."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._started: dict[object, float] = {}

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Count a call while it runs."""
        call = object()
        self._started[call] = time.monotonic()
        try:
            yield
        finally:
            del self._started[call]

    def left_s(self) -> float:
        """Return the seconds in which no call can pass the limit; none are left if one has passed it."""
        now = time.monotonic()
        return max(0.0, self._limit_s - (now - min(list(self._started.values()), default=now)))


def _watch(
    process: SpawnProcess,
    running_calls: _RunningCalls,
    ended: threading.Event,
    on_loss: Callable[[ModelLostError], None],
) -> None:
    """Wait for the end of ``process``; kill it if a call passes the limit."""
    while not wait([process.sentinel], running_calls.left_s()):
        if running_calls.left_s() == 0:
            log.critical("the model did not answer in time and is killed")
            process.kill()
            process.join()
    if not ended.is_set():
        on_loss(ModelLostError("the model's process is gone"))


def _send(connection: Connection, message: object) -> None:
    try:
        connection.send(message)
    except OSError as error:
        raise ModelLostError("the model's process is gone") from error


def _result(connection: Connection) -> Any:
    """Return the result that is received, or raise the error."""
    try:
        reply = connection.recv_bytes()
    except (EOFError, OSError) as lost:
        raise ModelLostError("the model's process is gone") from lost
    result, error = unpack(reply)
    if error is not None:
        raise error
    return result


def _run_models(
    jobs: Connection,
    preparations: Connection,
    card_paths: Sequence[Path],
    device: str,
    cores: int | None,
    precision: Precision,
    cuda_graphs: bool,
) -> None:  # pragma: no cover # in a process of its own
    """Run jobs until the other end is closed, as it is when the server's process ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches both processes; the server ends this one
        signal.signal(number, signal.SIG_IGN)
    os.environ.setdefault("GOMP_SPINCOUNT", GOMP_SPIN_COUNT)  # read when torch is imported
    if hasattr(os, "nice"):
        os.nice(NICE)
    with contextlib.suppress(EOFError, OSError):
        try:
            models = [_load(path, device, cores, precision, cuda_graphs) for path in card_paths]
        except Exception as error:  # noqa: BLE001 # the server reports it
            jobs.send_bytes(pack_error(error))
            return
        jobs.send_bytes(pack(lambda: tuple(model.description for model in models)))
        threading.Thread(target=_run_preparations, args=(preparations, models), daemon=True).start()
        while True:
            message = jobs.recv_bytes()
            jobs.send_bytes(pack(partial(_run_jobs, models, message)))


def _load(
    card_path: Path, device: str, cores: int | None, precision: Precision, cuda_graphs: bool
) -> Model:  # pragma: no cover # as above
    from app.models.local import LocalModel

    try:
        return LocalModel.load(card_path, device, cores, precision, cuda_graphs=cuda_graphs)
    except RefusedToStartError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())  # torch's messages have several lines
        raise RefusedToStartError(
            f"{card_path}: cannot be loaded: {type(error).__name__}: {reason}"
        ) from error


def _run_jobs(
    models: Sequence[Model], message: bytes
) -> list[JobResult]:  # pragma: no cover # in a process of its own
    index, jobs = pickle.loads(message)  # noqa: S301 # written by our own process
    model: Model = models[index]
    return model.run(jobs)


def _run_preparations(
    preparations: Connection, models: Sequence[Model]
) -> None:  # pragma: no cover # in a process of its own
    with contextlib.suppress(EOFError, OSError):
        while True:
            index = preparations.recv()
            preparations.send_bytes(pack(models[index].prepare_reference))
