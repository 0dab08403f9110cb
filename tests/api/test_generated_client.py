"""A client generated from the service's OpenAPI, by openapi-python-client."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Server
from starlette.testclient import TestClient

BIN = Path(sys.prefix, "openapi-client", "bin")
SCRIPT = Path(__file__).with_name("ask_with_generated_client.py")
PNG = {"Content-Type": "image/png"}
LIMIT_S = 300


@pytest.fixture(scope="module")
def answers(server: Server, cat_png: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not BIN.exists():
        pytest.skip("openapi-python-client is not installed; `make test` does it")
    folder = tmp_path_factory.mktemp("client")
    address = f"http://127.0.0.1:{server.port}"
    options = [
        "--url",
        f"{address}/openapi.json",
        "--output-path",
        str(folder / "generated"),
        "--meta",
        "none",
    ]
    subprocess.run(
        [BIN / "openapi-python-client", "generate", *options],
        check=True,
        timeout=LIMIT_S,
        capture_output=True,
        cwd=folder,
    )
    asked = subprocess.run(
        [BIN / "python", SCRIPT, folder, address],
        input=cat_png,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr.decode()
    answers: dict[str, Any] = json.loads(asked.stdout)
    return answers


def test_a_generated_client_explains(answers: dict[str, Any], client: TestClient, cat_png: bytes) -> None:
    options = {"rule": "gamma", "gamma": 0.5, "target": "dog", "start": "logit"}
    alone = client.post("/explain", params=options, content=cat_png, headers=PNG).json()
    explained = answers["explained"]
    assert explained["target"] == alone["target"]
    assert explained["rule"] == alone["rule"]
    assert explained["versus"] is None
    assert explained["relevance"]["sum"] == pytest.approx(alone["relevance"]["sum"], rel=1e-4)
    assert answers["contrast"]["versus"]["label"] == "dog"
    assert len(answers["contrast"]["scores"]) == 2


def test_a_generated_client_uses_all_kinds_of_requests(answers: dict[str, Any], client: TestClient) -> None:
    assert [one["target"]["label"] for one in answers["compared"]["explanations"][:2]] == ["cat", "dog"]
    cat, notes = answers["batch"]["results"]
    assert cat["explanation"]["prediction"]["label"] == "cat"
    assert notes["problem"]["status"] == answers["refused"]["status"] == 422
    assert answers["predicted"]["prediction"]["label"] == "cat"
    assert answers["v1"]["explanations"][0]["prediction"]["label"] == "cat"
    assert answers["model"] == client.get("/model").json()
