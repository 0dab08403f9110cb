"""The service against its own OpenAPI: requests made from the schema, answers held against it, all checks on."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from conftest import Server
from fastapi import FastAPI

HERE = Path(__file__).parents[1] / "fuzz"
COMMAND = "from schemathesis.cli import schemathesis; schemathesis()"
SECONDS = os.environ.get("LRP_SOAK_S")
"""So long random requests go on in `make soak`; else there are a few for each operation. Those that try every
boundary of every parameter are always made.
"""


def test_every_answer_is_as_the_schema_says(server: Server, app: FastAPI, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    options = {
        "--checks": "all",
        "--phases": "examples,coverage,fuzzing",
        "--max-examples": "10",
        "--seed": "1",
        "--workers": "1",
        "--request-timeout": "60",
        **({"--max-time": SECONDS} if SECONDS else {}),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-c", COMMAND, "--config-file", HERE / "schemathesis.toml", "run"),
            *(f"{name}={value}" for name, value in options.items()),
            *("--no-color", "--continue-on-failure", f"http://127.0.0.1:{server.port}/openapi.json"),
        ],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "hooks",
            "LRP_FUZZ_NOTES": str(notes),
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        },
        cwd=tmp_path,  # it keeps what it found in the folder that it runs in
        capture_output=True,
        text=True,
        timeout=600 + int(SECONDS or 0),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
    assert "Tested: " in done.stdout
    assert refused_of(notes) == dict.fromkeys(operations_of(app), 0)


def operations_of(app: FastAPI) -> set[str]:
    paths = app.openapi()["paths"].items()
    return {f"{method.upper()} {path}" for path, operations in paths for method in operations}


def refused_of(notes: Path) -> dict[str, int]:
    """How many valid requests had another answer than 200, by operation."""
    refused: Counter[str] = Counter()
    for line in notes.read_text().splitlines():
        mode, status, operation = line.split(maxsplit=2)
        if mode == "positive":
            refused[operation] += status != "200"
    return dict(refused)
