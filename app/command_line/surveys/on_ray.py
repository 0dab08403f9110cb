"""The explanations of a survey, computed on a Ray cluster.

Each worker finds the inputs as the command does, in files that all machines share, and gets their numbers in
chunks. It returns what it computes, which the command writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from app.batched import batched
from app.cluster.work import with_absolute_paths
from app.command_line.surveys.kinds import SURVEYS
from app.command_line.surveys.options import SurveyOptions
from app.command_line.surveys.request import Request, network_of
from app.errors import DataError
from app.models.card import Kind
from app.serving.local import local_pipeline
from app.settings import Settings
from app.survey.items import Item, digest
from app.survey.network import IN_FLIGHT, explain
from app.survey.store import Layout, Result, Results

MAX_BYTES = 2**26
"""Of the results of a chunk, which a worker returns at once."""


@dataclass(frozen=True)
class SurveyWork:
    """What a worker needs to explain inputs by their numbers, and what must be the same for it."""

    settings: Settings
    kind: Kind
    options: SurveyOptions
    version: str
    """Of the model."""
    items: str
    """Digest of the inputs."""


def work_of(request: Request, items: Sequence[Item]) -> SurveyWork:
    """Return what workers need for ``items``, which were found for ``request``."""
    options, card = request.options, request.pipeline.card
    of_maps = replace(options, data=options.data.absolute(), masks=None, exported=(), on_ray=None)
    return SurveyWork(with_absolute_paths(request.settings), card.kind, of_maps, card.version, digest(items))


class OnCluster:
    """Computes rows of a survey on a cluster; see `app.survey.survey.Options`."""

    def __init__(self, address: str | None, work: SurveyWork, layout: Layout) -> None:
        self._address, self._work = address, work
        self._most = max(1, min(IN_FLIGHT, MAX_BYTES // layout.result_bytes))

    def __call__(self, rows: Sequence[int]) -> Iterator[Results]:
        """Yield the results of each chunk of ``rows`` when it is done. Raises what `run_chunks` does."""
        if not rows:
            return
        import ray

        from app.cluster.chunks import run_chunks, size_of_chunks, workers_of
        from app.cluster.start import cluster

        with cluster(self._address):
            workers = workers_of(self._work.settings, ray.nodes())
            size = size_of_chunks(len(rows), workers, self._most)
            chunks = (pa.table({"rows": [part]}) for part in batched(rows, size))
            yield from run_chunks(SurveyWorker, (self._work, workers.cores), chunks, workers)


class SurveyWorker:
    """Explains chunks of a survey's inputs; one process of the cluster."""

    def __init__(self, work: SurveyWork, cores: int) -> None:
        settings = work.settings.model_copy(update={"cores": cores})
        pipeline, survey = local_pipeline(settings, work.kind, cores), SURVEYS[work.kind]
        request = Request.of(survey.on_command_line, work.options, pipeline, settings)
        self._items = survey.find(request).items
        if pipeline.card.version != work.version:
            raise DataError(f"the model {pipeline.card.name} is not the same on all machines")
        if digest(self._items) != work.items:
            raise DataError(
                f"{work.options.data} is not the same on all machines, or has changed: names, labels, sizes and "
                "times of change of its files must be equal"
            )
        self._network, self._content = network_of(pipeline, request.asked), survey.kind(request).content

    def __call__(self, chunk: dict[str, Any]) -> Results:
        """Return the results of the rows of ``chunk``."""
        results: dict[int, Result | str] = {}
        for some in explain(self._network, self._items, self._content, [int(row) for row in chunk["rows"]]):
            results |= some
        return results
