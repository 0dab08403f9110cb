"""What a survey needs of a model, and what it computes with it for each input."""

import asyncio
import itertools
import zipfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import DataError, InternalError, LRPServeError, RequestError
from app.lrp.request import ExplanationRequest
from app.modalities.image.modality import ImageSample
from app.modalities.image.preprocessing import to_input
from app.modalities.image.spec import ImageSpec
from app.models.protocol import Description, Job, JobResult
from app.survey.items import Item
from app.survey.kept import KeptMap, KeptMaps
from app.survey.store import Status, Store

T = TypeVar("T")

IN_FLIGHT = 128
"""Inputs that are in memory at the same time, in batches that run and wait. Then their results are on disk."""


@dataclass(frozen=True)
class Network:
    """A model that explains pictures; the two functions raise `LRPServeError`."""

    description: Description
    spec: ImageSpec
    request: ExplanationRequest
    """The explanation of each input."""
    decode: Callable[[bytes], Awaitable[ImageSample]]
    submit: Callable[[Job], Awaitable[JobResult]]
    """Runs a job; jobs that are submitted at the same time form batches."""

    def job(self, pixels: npt.NDArray[np.uint8], *requests: ExplanationRequest) -> Job:
        """Return a job for what the network sees, (channels, height, width)."""
        return Job(to_input(image_of(pixels), self.spec), requests)


async def explain(
    network: Network,
    items: Sequence[Item],
    store: Store,
    advance: Callable[[int], None],
    kept: KeptMaps | None = None,
) -> None:
    """Compute the rows of ``store`` that wait; ``advance`` is called with the number of rows that were computed.

    Maps that are ``kept`` are not computed again: the network only predicts the classes of their inputs.

    An input that cannot be read or explained is a row with its error. What stops the model, such as a lack of
    memory, is raised, and the rows wait for another run.
    """
    waiting = store.waiting
    maps = itertools.repeat(None, len(waiting)) if kept is None else kept.read(waiting)
    rows = zip(waiting, maps, strict=True)
    while chunk := list(itertools.islice(rows, IN_FLIGHT)):
        found = await asyncio.gather(
            *(_explained(network, items[row], store, row, one) for row, one in chunk)
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
    network: Network, item: Item, store: Store, row: int, kept: KeptMap | DataError | None
) -> Status:
    try:
        if isinstance(kept, DataError):
            raise kept
        sample = await network.decode(item.read())
        result = await network.submit(Job(sample.input, () if kept else (network.request,)))
        if kept:
            kept.check(result.logits, network.description.card.classes)
        explained = kept or result.explanations[0]
        store.write(row, sample.pixels, result.logits, explained.relevance, explained.leak)
    except (RequestError, InternalError, DataError, OSError, zipfile.BadZipFile) as error:
        store.fail(row, _reason(error))
        return Status.FAILED
    return Status.DONE


def image_of(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """Return what the network sees, (channels, height, width), as an image in greyscale or RGB."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, 2))


def _reason(error: Exception) -> str:
    if isinstance(error, LRPServeError):
        return error.detail
    return str(getattr(error, "strerror", None) or error)
