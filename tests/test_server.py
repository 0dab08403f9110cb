"""The real thing: the command, as a process, asked over TCP."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    url = next(
        (m[0] for line in process.stdout if (m := re.search(r"http://127\.0\.0\.1:[1-9]\d*", line))), None
    )
    assert url is not None, "the server ended without printing its URL"
    yield process, url
    process.terminate()
    process.communicate(timeout=30)


def test_the_command_prints_its_url_and_explains_over_tcp(
    server: tuple[subprocess.Popen[str], str], cat_jpeg: bytes
) -> None:
    _, url = server
    with httpx.Client(base_url=url, timeout=60) as client:
        answer = client.post("/explain", files={"file": cat_jpeg}, headers={"Accept": "image/png"})
        ready = client.get("/readyz")
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["X-Prediction"]
    assert ready.status_code == 200


def test_the_process_ends_in_order_when_it_is_told_to(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    process, _ = server
    process.terminate()
    assert process.wait(timeout=30) in (0, -15)


def test_a_spoilt_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0"],
        env={**os.environ, "LRP_MODEL": str(tmp_path / "card.json")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "card.json" in done.stderr
    assert "Traceback" not in done.stderr
