"""A model in a process of its own.

torch gives Python's interpreter back and takes it again at each of the hundred operations of a batch, and in one
process with threads that decode, draw and serve it would wait for them each time: a third fewer answers. Those
who serve need no torch, and start and answer while it is loaded.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from app.errors import RefusedToStartError
from app.models.protocol import Description, Job, JobResult, Model, ModelLostError, NoMemoryError
from app.runtime.remote_errors import portable

END_LIMIT_S = 5.0
"""For a process that has closed its connections."""
SPINS = "2000"
"""How often a thread of libgomp looks for work before it sleeps; by default it keeps its core from all others for
milliseconds."""
LESS_URGENT = 10
"""Than listening and pictures: on busy cores probes and refusals come first, and cost the model little. Under
overload on one core refusals took 100 ms (p99) when this was 3."""
LOSSES = (NoMemoryError, ModelLostError)


class ModelProcess:
    """Starts at once and is not waited for before it is asked something; an `app.models.protocol.Model`.

    It ends with this object, or with this process, however that ends.
    """

    def __init__(self, card_path: Path, device: str, cores: int | None) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process with threads would hang
        self._jobs, jobs = context.Pipe()
        self._preparations, preparations = context.Pipe()
        self._running, self._preparing = threading.Lock(), threading.Lock()
        self._process = context.Process(
            target=_serve, args=(jobs, preparations, card_path, device, cores), name="model", daemon=True
        )
        self._process.start()
        self._ended = threading.Event()
        weakref.finalize(self, _end, self._process, self._ended)
        jobs.close()
        preparations.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    @cached_property
    def description(self) -> Description:
        """See `app.models.protocol.Model`; waits until the model is loaded."""
        try:
            described: Description = _result(self._jobs)
        except ModelLostError:
            self._process.join(END_LIMIT_S)
            raise RefusedToStartError(
                f"the model's process ended before it was loaded, with code {self._process.exitcode}"
            ) from None
        return described

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """See `app.models.protocol.Model`."""
        with self._running:
            _ = self.description  # comes before all answers
            _send(self._jobs, jobs)
            done: list[JobResult] = _result(self._jobs)
            return done

    def prepare_reference(self) -> None:
        """See `app.models.protocol.Model`."""
        with self._preparing:
            _send(self._preparations, None)
            _result(self._preparations)

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """See `app.models.protocol.Model`."""
        watcher = (self._process.sentinel, self._ended, on_loss)
        threading.Thread(target=_watch, args=watcher, name="watch", daemon=True).start()

    def kill(self) -> None:
        """See `app.models.protocol.Model`."""
        self._process.kill()


def _end(process: SpawnProcess, ended: threading.Event) -> None:
    """When nobody needs it any more; in time, as Python itself would wait for it at its own end."""
    ended.set()
    process.kill()


def _watch(sentinel: int, ended: threading.Event, on_loss: Callable[[ModelLostError], None]) -> None:
    wait([sentinel])
    if not ended.is_set():
        on_loss(ModelLostError("the model's process is gone"))


def _send(connection: Connection, message: object) -> None:
    try:
        connection.send(message)
    except OSError as error:
        raise ModelLostError("the model's process is gone") from error


def _result(connection: Connection) -> Any:
    """What comes back; raised if it is an exception."""
    try:
        answer = connection.recv()
    except (EOFError, OSError) as error:
        raise ModelLostError("the model's process is gone") from error
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _serve(
    jobs: Connection, preparations: Connection, card_path: Path, device: str, cores: int | None
) -> None:  # pragma: no cover # in a process of its own
    """The model's process: runs what comes until the other end is closed, as it is when the service has died."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches both; the service says when work is over
        signal.signal(number, signal.SIG_IGN)
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is imported
    if hasattr(os, "nice"):
        os.nice(LESS_URGENT)
    from app.models.local import LocalModel

    with contextlib.suppress(EOFError, OSError):
        try:
            model = LocalModel.load(card_path, device, cores)
        except Exception as error:  # noqa: BLE001 # whatever it is, the service cannot start
            jobs.send(portable(error, *LOSSES))
            return
        jobs.send(model.description)
        threading.Thread(target=_prepare, args=(preparations, model), daemon=True).start()
        while True:
            work = jobs.recv()
            try:
                answer: object = model.run(work)
            except BaseException as error:  # noqa: BLE001 # whatever it is belongs to whoever sent the work
                answer = portable(error, *LOSSES)
            jobs.send(answer)


def _prepare(preparations: Connection, model: Model) -> None:  # pragma: no cover # in a process of its own
    with contextlib.suppress(EOFError, OSError):
        while True:
            preparations.recv()
            try:
                model.prepare_reference()
                preparations.send(None)
            except Exception as error:  # noqa: BLE001 # as above
                preparations.send(portable(error, *LOSSES))
