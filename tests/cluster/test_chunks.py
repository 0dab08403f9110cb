"""Chunks of work on a Ray cluster: what comes back, and what a user reads when workers fail."""

import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pytest

from app.cluster.chunks import Workers, run_chunks, size_of_chunks
from app.cluster.start import cluster
from app.errors import DataError

ONE = Workers(1, 1, 0)
CHUNKS = tuple(pa.table({"number": [number]}) for number in (1, 2, 3))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray, about its own settings


SLOW = "__import__('time').sleep(2), int(number), __import__('time').time()"
"""What a worker evaluates for a chunk: workers cannot import this module."""


class OfThisModule:
    """No worker finds it."""


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    with cluster(None):
        yield


def test_chunks_keep_all_workers_busy() -> None:
    assert size_of_chunks(100_000, Workers(4, 2, 0), 512) == 512
    assert size_of_chunks(1_600, Workers(4, 2, 0), 512) == 100
    assert size_of_chunks(100, Workers(4, 2, 0), 512) == 64
    assert size_of_chunks(100, Workers(4, 2, 0), 3) == 3


@pytest.mark.usefixtures("_ray")
def test_a_result_comes_before_the_next_chunk_is_done() -> None:
    results = run_chunks(partial(partial, eval), (SLOW,), CHUNKS, ONE)  # partial(eval, SLOW)(chunk)
    received = {number: (done, time.time()) for _, number, done in results}
    assert received.keys() == {1, 2, 3}
    assert received[1][1] < received[2][0]
    assert received[2][1] < received[3][0]
    assert list(run_chunks(partial, (), (), ONE)) == []


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize(
    ("worker", "arguments", "said"),
    [
        (OfThisModule, (), "a worker failed: ModuleNotFoundError: No module named 'test_chunks'"),
        (
            open,
            ("/no/such/file",),
            "a worker failed: FileNotFoundError: [Errno 2] No such file or directory: '/no/",
        ),
        (os._exit, (1,), "workers were lost 4 times with the same inputs, perhaps for lack of memory: "),
    ],
)
def test_a_worker_that_fails_says_why(worker: Any, arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(DataError) as raised:
        list(run_chunks(worker, arguments, CHUNKS[:1], ONE))
    assert raised.value.detail.startswith(said)
    assert "\n" not in raised.value.detail
