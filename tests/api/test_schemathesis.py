"""Schemathesis generates requests from the OpenAPI schema, and checks that all answers match it."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from conftest import Server
from fastapi import FastAPI

FUZZ = Path(__file__).parents[1] / "fuzz"
COMMAND = "from schemathesis.cli import schemathesis; schemathesis()"
SOAK_S = os.environ.get("LRP_SOAK_S")
"""Duration in seconds of random requests in `make soak`; by default there are ten for each operation.

Requests with the boundary values of each parameter are always made.
"""


def test_every_answer_matches_the_schema(server: Server, app: FastAPI, tmp_path: Path) -> None:
    results = tmp_path / "results"
    options = {
        "--checks": "all",
        "--phases": "examples,coverage,fuzzing",
        "--max-examples": "10",
        "--seed": "1",
        "--workers": "1",
        "--request-timeout": "60",
        "--max-response-time": "30",  # 32 samples by the reference took 14 s on two slow cores; by default 10 s
        **({"--max-time": SOAK_S} if SOAK_S else {}),
    }
    result = subprocess.run(
        [
            *(sys.executable, "-c", COMMAND, "--config-file", FUZZ / "schemathesis.toml", "run"),
            *(f"{name}={value}" for name, value in options.items()),
            *("--no-color", "--continue-on-failure", f"http://127.0.0.1:{server.port}/openapi.json"),
        ],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "hooks",
            "LRP_FUZZ_RESULTS": str(results),
            "PYTHONPATH": os.pathsep.join([str(FUZZ), *sys.path]),
        },
        cwd=tmp_path,  # Schemathesis writes its findings to the working directory
        capture_output=True,
        text=True,
        timeout=1200 + int(SOAK_S or 0),
        check=False,
    )
    assert result.returncode == 0, result.stdout[-10_000:] + result.stderr[-2000:]
    assert "Tested: " in result.stdout
    assert refused_valid_requests(results) == dict.fromkeys(documented_operations(app), 0)


def documented_operations(app: FastAPI) -> set[str]:
    paths = app.openapi()["paths"].items()
    return {f"{method.upper()} {path}" for path, operations in paths for method in operations}


def refused_valid_requests(results: Path) -> dict[str, int]:
    """Return the number of valid requests of each operation whose status was not 200."""
    refused: Counter[str] = Counter()
    for line in results.read_text().splitlines():
        mode, status, operation = line.split(maxsplit=2)
        if mode == "positive":
            refused[operation] += status != "200"
    return dict(refused)
