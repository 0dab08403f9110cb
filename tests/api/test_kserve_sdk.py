"""Both serving protocols through KServe's own SDK."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Server
from starlette.testclient import TestClient

PYTHON = Path(sys.prefix, "kserve", "bin", "python")
SCRIPT = Path(__file__).with_name("ask_with_kserve.py")
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def answers(server: Server, cat_png: bytes) -> dict[str, Any]:
    if not PYTHON.exists():
        pytest.skip("KServe's SDK is not installed; `make test` does it")
    address = f"http://127.0.0.1:{server.port}"
    asked = subprocess.run(
        [PYTHON, SCRIPT, address], input=cat_png, capture_output=True, timeout=300, check=False
    )
    assert asked.returncode == 0, asked.stderr.decode()
    answers: dict[str, Any] = json.loads(asked.stdout)
    return answers


def test_kserves_sdk_finds_the_server_alive_and_ready(answers: dict[str, Any]) -> None:
    v1, v2 = answers["v1"], answers["v2"]
    assert [v1["live"], v1["ready"], v2["live"], v2["ready"], v2["model_ready"]] == [True] * 5


def test_kserves_sdk_predicts_and_explains_over_v1(
    answers: dict[str, Any], client: TestClient, cat_png: bytes
) -> None:
    alone = client.post("/explain", params={"target": "dog"}, content=cat_png, headers=PNG).json()
    (predicted,) = answers["v1"]["predict"]["predictions"]
    (explained,) = answers["v1"]["explain"]["explanations"]
    assert predicted["prediction"]["label"] == alone["prediction"]["label"]
    assert explained["target"] == alone["target"]
    assert explained["relevance"]["sum"] == pytest.approx(alone["relevance"]["sum"], rel=1e-4)


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_sdk_infers_over_v2(
    answers: dict[str, Any], client: TestClient, cat_png: bytes, binary: bool
) -> None:
    options = {"target": "dog", "format": "npy"}
    alone = client.post("/explain", params=options, content=cat_png, headers=PNG).content
    grey = {"name": "image", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": [0.5] * 3072}
    (logits, _) = client.post("/v2/models/minivgg-cifar10/infer", json={"inputs": [grey]}).json()["outputs"]
    v2 = answers["v2"]
    np.testing.assert_allclose(v2[f"file {binary}"][0], np.load(io.BytesIO(alone)), atol=1e-6)
    np.testing.assert_allclose(v2[f"pixels {binary}"], [logits["data"]] * 2, rtol=1e-4, atol=1e-5)
    assert v2[f"parameters {binary}"] == {"ignored": "priority"}
