"""Runs chunks of work on the workers of a Ray cluster, with Ray Data."""

import logging
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayActorError, RayError
from ray.util.annotations import RayDeprecationWarning

from app.errors import DataError, LRPServeError, first_line
from app.runtime.remote_errors import pack, unpack
from app.serving.many import AT_A_TIME
from app.settings import Settings

CHUNKS_EACH = 4
"""Chunks for each worker, at least, where there are inputs enough for them."""
RETRIES = 3
"""How often a chunk is tried again whose worker or machine was lost."""


@dataclass(frozen=True)
class Workers:
    """How many workers there are, and what each has."""

    count: int
    cores: int
    gpus: int


def run_chunks(
    worker: Callable[..., Callable[[dict[str, Any]], object]],
    arguments: Sequence[Any],
    chunks: Iterable[pa.Table],
    workers: Workers,
) -> Iterator[Any]:
    """Run ``chunks`` on ``workers``; yield the result of each when it is done, in any order.

    Args:
        worker: Class of which each worker has an instance, which is called with a chunk, a dictionary of its
            columns, and returns what can be pickled. A worker may be lost, so that a chunk may be run again.
        arguments: Of its constructor.
        chunks: Tables of one row each.
        workers: What `workers_of` returns.

    Raises:
        DataError: A worker raised an error, workers are lost again and again, or the cluster is lost.

    """
    try:
        for reply in _replies(
            [ray.put(chunk) for chunk in chunks], pickle.dumps((worker, arguments)), workers
        ):
            result, error = unpack(reply)
            if error is not None:
                raise DataError(f"a worker failed: {getattr(error, 'detail', error)}") from error
            yield result
    except RayActorError as error:
        raise DataError(
            f"workers were lost {RETRIES + 1} times with the same inputs, perhaps for lack of memory: "
            f"{first_line(error)}"
        ) from error
    except RayError as error:
        raise DataError(f"the cluster failed: {first_line(error)}; the same command goes on") from error


def _replies(blocks: list[Any], worker: bytes, workers: Workers) -> Iterator[bytes]:
    """Yield what `_Worker` returns for each block when it is done; Ray prints nothing meanwhile."""
    if not blocks:
        return
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)  # of ray_remote_args_fn, from Ray 2.64 on
        run: Any = _Worker  # Ray's types know functions only
        found = ray.data.from_arrow_refs(blocks).map(
            run,
            fn_constructor_args=(worker,),
            compute=ActorPoolStrategy(size=min(workers.count, len(blocks))),
            num_cpus=workers.cores,
            num_gpus=workers.gpus,
            ray_remote_args_fn=_remote_options,
        )
    # Without prefetching: else a result would wait until the next one is done.
    batches: Iterable[Any] = found.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
    for batch in batches:
        yield from batch.column("reply").to_pylist()


def workers_of(settings: Settings, nodes: Iterable[Mapping[str, Any]]) -> Workers:
    """Return the workers for a cluster: one for each GPU, else as many as have ``LRP_CORES`` cores each.

    By default each has the cores of the smallest machine. Raises `DataError` if no machine has so many.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cpus = [int(machine["CPU"]) for machine in machines if machine.get("CPU")]
    gpus = 0 if settings.device == "cpu" else int(sum(machine.get("GPU", 0) for machine in machines))
    if gpus:
        return Workers(gpus, settings.cores or max(1, sum(cpus) // gpus), 1)
    cores = settings.cores or min(cpus, default=1)
    count = sum(machine // cores for machine in cpus)
    if not count:
        raise DataError(f"no machine of the cluster has {cores} cores; set LRP_CORES to fewer")
    return Workers(count, cores, 0)


def size_of_chunks(count: int, workers: Workers, most: int) -> int:
    """Return how many of ``count`` inputs a chunk has: at most ``most``, and enough to keep a model busy."""
    return min(most, max(AT_A_TIME, -(-count // (CHUNKS_EACH * workers.count))))


class _Worker:
    """A worker that starts with its first chunk, and returns errors as data.

    An error in a constructor would be tried again for minutes, and one in a call would lose its type on the way.
    """

    def __init__(self, worker: bytes) -> None:
        """``worker``: a class and the arguments of its constructor, pickled, which the first chunk imports."""
        self._pickled = worker

    def __call__(self, chunk: dict[str, Any]) -> dict[str, Any]:
        return {"reply": pack(lambda: self._result(chunk))}

    def _result(self, chunk: dict[str, Any]) -> object:
        try:
            return self._started(chunk)
        except LRPServeError:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("a chunk failed")  # the worker's log has the stack
            raise DataError(f"{type(error).__name__}: {error}") from error

    @cached_property
    def _started(self) -> Callable[[dict[str, Any]], object]:
        worker, arguments = pickle.loads(self._pickled)  # noqa: S301 # written by the command
        started: Callable[[dict[str, Any]], object] = worker(*arguments)
        return started


def _remote_options() -> dict[str, object]:
    """Return options of workers that have no parameter of their own; without them, tries never end."""
    return {"max_task_retries": RETRIES}
