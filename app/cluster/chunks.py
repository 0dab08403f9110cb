"""Runs chunks of work on the workers of a Ray cluster, with Ray Data."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from app.errors import DataError
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
        DataError: A worker raised an error, or the cluster is lost.

    """
    blocks = [ray.put(chunk) for chunk in chunks]
    if not blocks:
        return
    try:
        for row in _mapped(blocks, (worker, arguments), workers).iter_rows():
            result, error = unpack(row["reply"])
            if error is not None:
                raise DataError(f"a worker failed: {getattr(error, 'detail', error)}") from error
            yield result
    except RayError as error:
        raise DataError(f"the cluster failed: {error}; the same command goes on") from error


def _mapped(blocks: Any, arguments: Sequence[Any], workers: Workers) -> Dataset:
    """Return what workers make of blocks, which is computed when it is read; Ray prints nothing meanwhile."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    run: Any = _Worker  # Ray's types know functions only
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)  # of ray_remote_args_fn, from Ray 2.64 on
        return ray.data.from_arrow_refs(blocks).map(
            run,
            fn_constructor_args=arguments,
            compute=ActorPoolStrategy(size=min(workers.count, len(blocks))),
            num_cpus=workers.cores,
            num_gpus=workers.gpus,
            ray_remote_args_fn=_remote_options,
        )


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

    def __init__(self, worker: Callable[..., Any], arguments: Sequence[Any]) -> None:
        self._started = cache(partial(worker, *arguments))

    def __call__(self, chunk: dict[str, Any]) -> dict[str, bytes]:
        return {"reply": pack(lambda: self._started()(chunk))}


def _remote_options() -> dict[str, object]:
    """Return options of workers that have no parameter of their own; without them, tries never end."""
    return {"max_task_retries": RETRIES}
