"""Explains many pictures on a Ray cluster.

Each worker is what the command is on one machine: it loads the model once, and explains one chunk of the pictures
after another. It writes the rows itself, to the folder that all machines share, and returns only counts.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from app.batched import batched
from app.cluster.chunks import run_chunks, size_of_chunks, workers_of
from app.cluster.work import Work
from app.serving.local import local_pipeline
from app.serving.many import Counts, ManyPictures, PictureFile

MAX_CHUNK = 512
"""Pictures of one call of a worker, at most: few enough that all workers end at about the same time."""


class Worker:
    """Explains chunks of pictures; one process of the cluster."""

    def __init__(self, work: Work, cores: int) -> None:
        settings = work.settings.model_copy(update={"cores": cores})
        pipeline = local_pipeline(settings, "image", cores)
        self._many = ManyPictures(pipeline, work.options, work.form)
        self._folder = work.folder

    def __call__(self, chunk: dict[str, Any]) -> Counts:
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
        return counts


def explain_on_cluster(todo: Iterable[PictureFile], count: int, work: Work) -> Iterator[Counts]:
    """Explain the ``count`` pictures of ``todo``; yield the counts of each chunk when it is done.

    Raises what `run_chunks` does.
    """
    workers = workers_of(work.settings, ray.nodes())
    size = size_of_chunks(count, workers, MAX_CHUNK)
    chunks = enumerate(batched(todo, size), work.folder.next_number)
    blocks = (_block(number, pictures) for number, pictures in chunks)
    return run_chunks(Worker, (work, workers.cores), blocks, workers)


def _block(number: int, pictures: Sequence[PictureFile]) -> pa.Table:
    """Return a chunk as a table of one row."""
    paths, places = [one.path for one in pictures], [str(one.place) for one in pictures]
    return pa.table({"number": [number], "paths": [paths], "places": [places]})
