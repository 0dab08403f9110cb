"""Explains many pictures on a Ray cluster, with Ray Data.

Each worker is what the command is on one machine: it loads the model once, and explains one chunk of the pictures
after another. It writes the rows itself, to the folder that all machines share, and returns only counts.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError, RayTaskError

from app.cluster.work import Work
from app.errors import DataError, LRPServeError
from app.serving.local import local_pipeline
from app.serving.many import AT_A_TIME, Counts, ManyPictures, PictureFile
from app.settings import Settings

MAX_CHUNK = 512
"""Pictures of one call of a worker, at most: few enough that all workers end at about the same time."""
CHUNKS_EACH = 4
"""Chunks for each worker, at least, where there are pictures enough for them."""
RETRIES = 3
"""How often a chunk is tried again whose worker or machine was lost."""


@dataclass(frozen=True)
class Workers:
    """How many workers there are, and what each has."""

    count: int
    cores: int
    gpus: int


class Worker:
    """Explains chunks of pictures; one process of the cluster."""

    def __init__(self, work: Work, cores: int) -> None:
        settings = work.settings.model_copy(update={"cores": cores})
        pipeline = local_pipeline(settings, "image", cores)
        self._many = ManyPictures(pipeline, work.options, work.form)
        self._folder = work.folder

    def __call__(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Write the rows of ``chunk`` but those that a worker which was lost has written; return the counts."""
        counts, number, done = Counts(), int(chunk["number"]), set()
        for row in self._folder.read(["path", "error"], number):
            done.add(row["path"])
            counts.row(row)
        pictures = (
            PictureFile(path, Path(place))
            for path, place in zip(chunk["paths"], chunk["places"], strict=True)
            if path not in done
        )
        asyncio.run(self._many.write(pictures, self._folder, number, counts.row))
        return {"counts": json.dumps([counts.done, counts.failed, counts.errors])}


def explain_on_cluster(todo: Iterable[PictureFile], count: int, work: Work) -> Iterator[Counts]:
    """Explain the ``count`` pictures of ``todo``; yield the counts of each chunk when it is done.

    Raises `DataError` if a chunk fails again and again, or the cluster is lost.
    """
    workers = workers_of(work.settings, ray.nodes())
    size = min(MAX_CHUNK, max(AT_A_TIME, -(-count // (CHUNKS_EACH * workers.count))))
    first = work.folder.next_number
    chunks: Any = [
        ray.put(_block(number, pictures)) for number, pictures in enumerate(_chunks(todo, size), first)
    ]
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    worker: Any = Worker  # Ray's types know functions only
    results = ray.data.from_arrow_refs(chunks).map(
        worker,
        fn_constructor_args=(work, workers.cores),
        compute=ActorPoolStrategy(size=workers.count),
        num_cpus=workers.cores,
        num_gpus=workers.gpus,
        ray_remote_args_fn=_remote_options,
    )
    try:
        for row in results.iter_rows():
            yield Counts(*json.loads(row["counts"]))
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


def _chunks(pictures: Iterable[PictureFile], size: int) -> Iterator[list[PictureFile]]:
    remaining = iter(pictures)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _block(number: int, pictures: Sequence[PictureFile]) -> pa.Table:
    """Return a chunk as a table of one row."""
    paths, places = [one.path for one in pictures], [str(one.place) for one in pictures]
    return pa.table({"number": [number], "paths": [paths], "places": [places]})
