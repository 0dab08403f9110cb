"""``serve --ray`` survives the loss of a model's only replica, and ends as ``serve`` does.

`test_three_nodes` kills one of two replicas.
"""

import contextlib
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from on_ray import MODEL, Service, assert_ends, assert_equal, service

from app.settings import shipped_model
from benchmarks.peers.torchserve.serve import free_ports


@pytest.fixture(scope="module")
def of_one_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """A service on Ray, and the folder of its only model."""
    folder = tmp_path_factory.mktemp("models") / MODEL
    shutil.copytree(shipped_model().parent, folder)
    (port,) = free_ports(1)
    with service(port, "--ray", "--model", str(folder)) as on_ray:
        on_ray.wait_until_ready()
        yield on_ray, folder


def assert_right_or_refused(answer: httpx.Response, expected: Any) -> None:
    if answer.status_code == 200:
        assert_equal(answer.json(), expected)
    else:
        assert answer.status_code in (503, 504)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "Retry-After" in answer.headers or answer.status_code == 504


def test_requests_are_refused_while_no_replica_of_a_model_can_be_started(
    of_one_model: tuple[Service, Path], cat_jpeg: bytes
) -> None:
    on_ray, folder = of_one_model
    picture: Any = {"content": cat_jpeg, "headers": {"Content-Type": "image/jpeg"}}
    expected = on_ray.client.post("/predict", **picture).raise_for_status().json()

    def status() -> int:
        answer = on_ray.client.post("/predict", **picture)
        assert_right_or_refused(answer, expected)
        return answer.status_code

    away = folder.rename(folder.with_name("away"))
    on_ray.until(lambda: kill(on_ray.replicas(MODEL)) and status() == 503)
    away.rename(folder)
    on_ray.until(lambda: status() == 200)


def test_ctrl_c_ends_all_processes_and_prints_no_traceback(of_one_model: tuple[Service, Path]) -> None:
    """Stays behind the other tests of this service, which it ends."""
    on_ray, _ = of_one_model
    assert_ends(on_ray, signal.SIGINT)
    lines = [json.loads(line)["message"] for line in on_ray.printed().splitlines()]
    assert lines == [f"listening on {on_ray.url}", "stopping"]


def kill(processes: list[psutil.Process]) -> bool:
    """Kill the processes, some of which may have ended already."""
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    return True
