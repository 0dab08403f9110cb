"""Runs chunks of work on the workers of a Ray cluster, with Ray Data."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError, RayTaskError

from app.errors import DataError, LRPServeError
from app.settings import Settings

RETRIES = 3
"""How often a chunk is tried again whose worker or machine was lost."""


@dataclass(frozen=True)
class Workers:
    """How many workers there are, and what each has."""

    count: int
    cores: int
    gpus: int


def run_chunks(
    worker: type, arguments: Sequence[Any], chunks: Iterable[pa.Table], workers: Workers
) -> Iterator[dict[str, Any]]:
    """Run ``chunks`` on ``workers``; yield the result of each when it is done, in any order.

    Args:
        worker: Class of which each worker has an instance, which is called with a chunk, a dictionary of its
            columns, and returns a dictionary. A worker may be lost, so that a chunk may be run more than once.
        arguments: Of its constructor.
        chunks: Tables of one row each.
        workers: What `workers_of` returns.

    Raises:
        DataError: A chunk fails again and again, or the cluster is lost.

    """
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks: Any = [ray.put(chunk) for chunk in chunks]
    run: Any = worker  # Ray's types know functions only
    results = ray.data.from_arrow_refs(blocks).map(
        run,
        fn_constructor_args=tuple(arguments),
        compute=ActorPoolStrategy(size=workers.count),
        num_cpus=workers.cores,
        num_gpus=workers.gpus,
        ray_remote_args_fn=_remote_options,
    )
    try:
        yield from results.iter_rows()
    except RayTaskError as error:
        cause = error.cause.__cause__ or error.cause
        reason = cause.detail if isinstance(cause, LRPServeError) else f"{type(cause).__name__}: {cause}"
        raise DataError(f"a worker failed: {reason}") from error
    except RayError as error:
        raise DataError(f"the cluster failed: {error}; the same command goes on") from error


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


def _remote_options() -> dict[str, object]:
    """Return options of workers that have no parameter of their own; without them, tries never end."""
    return {"max_task_retries": RETRIES}
