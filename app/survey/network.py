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

from app.errors import InternalError, LRPServeError, RequestError
from app.lrp.request import ExplanationRequest
from app.modalities.image.modality import ImageSample
from app.modalities.image.preprocessing import to_input
from app.modalities.image.spec import ImageSpec
from app.models.protocol import Description, Job, JobResult
from app.survey.items import Item
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
    network: Network, items: Sequence[Item], store: Store, advance: Callable[[int], None]
) -> None:
    """Compute the rows of ``store`` that wait; ``advance`` is called with the number of rows that were computed.

    An input that cannot be read or explained is a row with its error. What stops the model, such as a lack of
    memory, is raised, and the rows wait for another run.
    """
    waiting = iter(store.waiting)
    while rows := list(itertools.islice(waiting, IN_FLIGHT)):
        found = await asyncio.gather(*(_explained(network, items[row], store, row) for row in rows))
        store.finish(dict(zip(rows, found, strict=True)))
        advance(len(rows))


async def run(network: Network, jobs: Iterable[Job]) -> list[JobResult]:
    """Return the results of ``jobs``, which are made as they are submitted."""
    remaining, results = iter(jobs), list[JobResult]()
    while chunk := list(itertools.islice(remaining, IN_FLIGHT)):
        results += await asyncio.gather(*map(network.submit, chunk))
    return results


async def _explained(network: Network, item: Item, store: Store, row: int) -> Status:
    try:
        sample = await network.decode(item.read())
        store.write(row, sample.pixels, await network.submit(Job(sample.input, (network.request,))))
    except (RequestError, InternalError, OSError, zipfile.BadZipFile) as error:
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
