"""What a survey needs of a model, and what it computes with it for each input."""

import asyncio
import itertools
import zipfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from app.errors import DataError, InternalError, LRPServeError, RequestError
from app.lrp.request import ExplanationRequest
from app.modalities.protocol import Sample
from app.models.protocol import Description, Job, JobResult
from app.survey.items import Item
from app.survey.kept import KeptMap, MapSource
from app.survey.store import Status, Store

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


async def explain(
    network: Network,
    items: Sequence[Item],
    content: Content,
    store: Store,
    advance: Callable[[int], None],
    kept: MapSource | None = None,
) -> None:
    """Compute the rows of ``store`` that wait; ``advance`` is called with the number of rows that were computed.

    Maps that are ``kept`` are not computed again: the network only predicts the classes of their inputs.

    An input that cannot be read or explained is a row with its error. What stops the model, such as a lack of
    memory, is raised, and the rows wait for another run.
    """
    waiting = store.waiting
    rows = iter(zip(waiting, itertools.repeat(None), strict=False)) if kept is None else kept.read(waiting)
    while chunk := list(itertools.islice(rows, IN_FLIGHT)):
        found = await asyncio.gather(
            *(_explained(network, items[row], content, store, row, one) for row, one in chunk)
        )
        store.finish(dict(zip((row for row, _ in chunk), found, strict=True)))
        advance(len(chunk))


async def run(network: Network, jobs: Iterable[Job]) -> list[JobResult]:
    """Return the results of ``jobs``, which are made as they are submitted."""
    remaining, results = iter(jobs), list[JobResult]()
    while chunk := list(itertools.islice(remaining, IN_FLIGHT)):
        results += await asyncio.gather(*map(network.submit, chunk))
    return results


async def _explained(
    network: Network, item: Item, content: Content, store: Store, row: int, kept: KeptMap | DataError | None
) -> Status:
    try:
        if isinstance(kept, DataError):
            raise kept
        sample = await network.decode(item.read())
        requests = () if kept else (network.request,)
        result = await network.submit(Job(sample.input, requests, baseline=sample.baseline))
        if kept:
            kept.check(result.logits, network.description.card.classes)
        explained = kept or result.explanations[0]
        store.write(row, content(sample), result.logits, explained.relevance, explained.leak)
    except (RequestError, InternalError, DataError, OSError, zipfile.BadZipFile) as error:
        store.fail(row, _reason(error))
        return Status.FAILED
    return Status.DONE


def _reason(error: Exception) -> str:
    if isinstance(error, LRPServeError):
        return error.detail
    return str(getattr(error, "strerror", None) or error)
