"""The application's module, as servers that are not ours import it."""

import gc
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings

ROOT = Path(__file__).parents[1]
LIMIT_S = 60
PNG = {"Content-Type": "image/png"}

COMMANDS = {
    "uvicorn": ("-m", "uvicorn", "app.main:app", "--port", "0"),
    "uvicorn, a factory": ("-m", "uvicorn", "--factory", "app.main:create_app", "--port", "0"),
}
IMPORTS = """
import multiprocessing
import app.main as main
print("app" in vars(main), multiprocessing.active_children(), "app" in dir(main), hasattr(main, "api"))
"""


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_servers_start_the_service_by_the_name_of_its_module(command: Sequence[str], cat_png: bytes) -> None:
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = (re.search(r"running on (http://127[\d.]+:\d+)", line) for line in process.stdout)
        address = next(line[1] for line in lines if line)
        while httpx.get(f"{address}/readyz").status_code == 503:
            pass
        answer = httpx.post(f"{address}/predict", content=cat_png, headers=PNG, timeout=LIMIT_S)
        assert answer.json()["prediction"]["label"] == "cat"
        process.terminate()
        assert process.wait(LIMIT_S) in (0, -15)
    finally:
        process.kill()
        process.communicate()


def test_nothing_is_built_at_import() -> None:
    imported = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert imported.stdout.split() == ["False", "[]", "True", "False"]


def test_an_application_that_starts_leaves_the_garbage_collector_alone(model: Model) -> None:
    before = gc.get_freeze_count(), gc.get_threshold()
    with TestClient(create_app(Settings(), model)) as client:
        while client.get("/readyz").status_code == 503:
            pass
        assert (gc.get_freeze_count(), gc.get_threshold()) == before
