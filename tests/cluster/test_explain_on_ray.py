"""``explain --ray``: the same rows as without Ray, also where a worker is killed."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from app.cluster.chunks import Workers, workers_of
from app.errors import DataError
from app.parquet.schema import SCHEMA
from app.settings import Settings

PICTURES = 400
LIMIT_S = 240


def machine(cpus: int, gpus: int = 0, *, is_alive: bool = True) -> dict[str, Any]:
    return {"Alive": is_alive, "Resources": {"CPU": float(cpus), "GPU": float(gpus), "memory": 1e9}}


@pytest.mark.parametrize(
    ("nodes", "settings", "expected"),
    [
        ([machine(2)], {}, Workers(1, 2, 0)),
        ([machine(2)], {"cores": 1}, Workers(2, 1, 0)),
        ([machine(8), machine(20), machine(64, is_alive=False), machine(0)], {}, Workers(3, 8, 0)),
        ([machine(16, 2), machine(32, 4)], {}, Workers(6, 8, 1)),
        ([machine(16, 2), machine(32, 4)], {"device": "cpu"}, Workers(3, 16, 0)),
        ([machine(16, 2)], {"cores": 4}, Workers(2, 4, 1)),
    ],
)
def test_workers_share_the_machines(
    nodes: list[dict[str, Any]], settings: dict[str, Any], expected: Workers
) -> None:
    assert workers_of(Settings(**settings), nodes) == expected


def test_more_cores_than_a_machine_has_are_refused() -> None:
    with pytest.raises(DataError, match="no machine of the cluster has 4 cores; set LRP_CORES"):
        workers_of(Settings(cores=4), [machine(2), machine(3)])


def explain(folder: Path, output: str, *options: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "app.cli", "explain", "in", "-o", output, "--format=npy", *options]
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "LRP_CORES": "1"}
    return subprocess.Popen(arguments, cwd=folder, env=os.environ | paths, stderr=subprocess.PIPE, text=True)


def workers(process: psutil.Process) -> Iterator[psutil.Process]:
    for child in process.children(recursive=True):
        try:
            if "MapWorker" in child.cmdline()[0]:
                yield child
        except (psutil.NoSuchProcess, IndexError):
            pass


def rows(path: Path) -> dict[str, Mapping[str, Any]]:
    listed = pq.read_table(path).to_pylist()
    assert max(Counter(row["path"] for row in listed).values()) == 1
    return {row["path"]: row for row in listed}


def test_a_worker_that_is_killed_loses_and_repeats_no_row(tmp_path: Path, cat_jpeg: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"broken")
    for number in range(PICTURES):
        (tmp_path / "in" / f"{number:03}.jpg").write_bytes(cat_jpeg)
    with explain(tmp_path, "ray.parquet", "--ray") as on_ray:
        try:
            killed = False
            ends_at = time.monotonic() + LIMIT_S
            while on_ray.poll() is None and time.monotonic() < ends_at:
                if not killed and len(list(tmp_path.glob("ray.parquet/part-*"))) >= 1:
                    for worker in workers(psutil.Process(on_ray.pid)):
                        worker.kill()
                        killed = True
                time.sleep(0.05)
            assert on_ray.poll() == 1
        finally:
            on_ray.terminate()  # its cluster ends with it
        assert on_ray.stderr is not None
        printed = on_ray.stderr.read()
    assert killed
    assert f"{PICTURES} of {PICTURES + 1} pictures done, 1 failed -> ray.parquet\n" in printed
    assert "lrpserve: in/bad.png: Not a readable PNG" in printed
    with explain(tmp_path, "here.parquet") as here:
        assert here.wait(LIMIT_S) == 1
    ours, theirs = rows(tmp_path / "ray.parquet"), rows(tmp_path / "here.parquet")
    assert ours.keys() == theirs.keys()
    assert (
        pq.read_schema(next(tmp_path.glob("ray.parquet/*"))).metadata
        == pq.read_schema(next(tmp_path.glob("here.parquet/*"))).metadata
    )
    for path, row in ours.items():
        for name in set(SCHEMA.names) - {"relevance"}:
            value, other = row[name], theirs[path][name]
            assert value == (pytest.approx(other, rel=1e-3, abs=1e-6) if isinstance(other, float) else other)
    with explain(tmp_path, "ray.parquet") as again:  # goes on without Ray, too
        assert again.wait(LIMIT_S) == 0
    assert rows(tmp_path / "ray.parquet") == ours
