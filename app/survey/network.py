"""What a survey needs of a model, and what it computes with it for each input."""

import asyncio
import zipfile
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from app.batched import batched
from app.errors import DataError, InternalError, LRPServeError, RequestError
from app.lrp.request import ExplanationRequest
from app.modalities.protocol import Sample
from app.models.protocol import Description, Job, JobResult
from app.survey.items import Item
from app.survey.kept import KeptMap, MapSource
from app.survey.store import Result, Results

IN_FLIGHT = 128
"""Inputs that are in memory at the same time, in batches that run and wait. Then their results are on disk."""


@dataclass(frozen=True)
class Network:
    """A model that explains inputs of one kind; the two functions raise `LRPServeError`."""

    description: Description
    request: ExplanationRequest
    """The explanation of each input."""
    decode: Callable[[Any], Awaitable[Sample]]
    submit: Callable[[Job], Awaitable[JobResult]]
    """Runs a job; jobs that are submitted at the same time form batches."""


Content = Callable[[Any], npt.NDArray[Any]]
"""Sample -> what is kept of it as ``data``; see `app.survey.store.Store`."""
Map = KeptMap | DataError | None
"""Of an input: what is kept of it, or why there is none; ``None``: it is to be computed."""


def explain(
    network: Network,
    items: Sequence[Item],
    content: Content,
    rows: Collection[int],
    kept: MapSource | None = None,
) -> Iterator[Results]:
    """Compute ``rows``, numbers of ``items``; yield the results of some at a time, in any order.

    Maps that are ``kept`` are not computed again: the network only predicts the classes of their inputs.

    The result of an input that cannot be read or explained is its error. What stops the model, such as a lack of
    memory, is raised.
    """
    waiting = ((row, None) for row in rows) if kept is None else kept.read(rows)
    with asyncio.Runner() as runner:
        for chunk in batched(waiting, IN_FLIGHT):
            yield runner.run(_explained(network, items, content, chunk))


async def run(network: Network, jobs: Iterable[Job]) -> list[JobResult]:
    """Return the results of ``jobs``, which are made as they are submitted."""
    results = list[JobResult]()
    for chunk in batched(jobs, IN_FLIGHT):
        results += await asyncio.gather(*map(network.submit, chunk))
    return results


async def _explained(
    network: Network, items: Sequence[Item], content: Content, chunk: Sequence[tuple[int, Map]]
) -> Results:
    found = await asyncio.gather(*(_result(network, items[row], content, one) for row, one in chunk))
    return dict(zip((row for row, _ in chunk), found, strict=True))


async def _result(network: Network, item: Item, content: Content, kept: Map) -> Result | str:
    try:
        if isinstance(kept, DataError):
            raise kept
        sample = await network.decode(item.read())
        requests = () if kept else (network.request,)
        result = await network.submit(Job(sample.input, requests, baseline=sample.baseline))
        if kept:
            kept.check(result.logits, network.description.card.classes)
        explained = kept or result.explanations[0]
        return Result(content(sample), result.logits, explained.relevance, explained.leak)
    except (RequestError, InternalError, DataError, OSError, zipfile.BadZipFile) as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, LRPServeError):
        return error.detail
    return str(getattr(error, "strerror", None) or error)
