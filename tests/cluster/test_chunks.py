"""Chunks of work on a Ray cluster."""

from pathlib import Path

import pyarrow as pa
import pytest
import ray

from app.cluster.chunks import Workers, run_chunks, size_of_chunks
from app.cluster.start import cluster
from app.command_line.surveys.on_ray import Work, Worker
from app.command_line.surveys.options import options_of
from app.errors import DataError
from app.settings import Settings


def test_chunks_keep_all_workers_busy() -> None:
    assert size_of_chunks(100_000, Workers(4, 2, 0), 512) == 512
    assert size_of_chunks(1_600, Workers(4, 2, 0), 512) == 100
    assert size_of_chunks(100, Workers(4, 2, 0), 512) == 64


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray, about its own settings
def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text("a good film\t1\n")
    work = Work(
        Settings(device="cpu", cores=1), "text", options_of(tmp_path / "texts.tsv"), "another", "digest"
    )
    with cluster(None), pytest.raises(DataError) as raised:
        list(run_chunks(Worker, (work, 1), [pa.table({"rows": [[0]]})], Workers(1, 1, 0)))
    assert raised.value.detail == (
        f"a worker failed: {tmp_path}/texts.tsv or the model is not the same on all machines"
    )
    assert not ray.is_initialized()
