"""The InferenceService is valid, agrees with the Deployment, and its container runs as KServe starts it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from fastapi import FastAPI
from manifests import DEPLOY, VERSIONS, Manifest, by_kind, manifests

from app.settings import SHIPPED_NAMES

ROOT = DEPLOY.parent
SDK = Path(sys.prefix, "kserve", "bin", "python")
SCRIPT = Path(__file__).with_name("read_kserve.py")
LIMIT_S = 60
TEXT = (DEPLOY / "kserve.yaml").read_text()
(SERVICE,) = manifests(TEXT)
SCALING = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget"}
"""Fields of a component that are no fields of a pod."""
EXPLAIN = re.compile(r"^/v1/models/[\w-]+:explain$")
"""What KServe sends to the explainer: ``ExplainPrefix`` in its ``pkg/constants/constants.go``."""
ADDED = ("--model_name", "lrpserve", "--predictor_host", "lrpserve-predictor.ns", "--http_port", "8080")
"""What KServe appends to the arguments of an explainer: ``GetContainer`` in its ``explainer_custom.go``."""
KEY = "a-key-that-is-long-enough-for-the-service"

components = pytest.mark.parametrize("component", ["predictor", "explainer"])


def read_by_the_sdk(text: str) -> "subprocess.CompletedProcess[str]":
    if not SDK.exists():
        pytest.skip("KServe's SDK is not installed; `make test` does it")
    return subprocess.run(
        [SDK, SCRIPT], input=text, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def test_kserves_classes_hold_all_that_is_written() -> None:
    read = read_by_the_sdk(TEXT)
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout) == SERVICE


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("scaleMetric:", "scaleMetrik:"),
        ("periodSeconds:", "periodSecond:"),
        ("maxReplicas: 8", 'maxReplicas: "8"'),
        ("secretName:", "secret:"),
    ],
)
def test_a_field_that_kserve_does_not_have_is_noticed(right: str, wrong: str) -> None:
    assert right in TEXT
    misspelt = TEXT.replace(right, wrong)
    read = read_by_the_sdk(misspelt)
    assert read.returncode != 0 or json.loads(read.stdout) != yaml.safe_load(misspelt)


def pod_of(component: str) -> Manifest:
    return {name: value for name, value in SERVICE["spec"][component].items() if name not in SCALING}


@components
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_pods(component: str, version: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lrpserve"}, "spec": pod_of(component)}
    kubernetes_validate.validate(pod, version, strict=True)


@components
def test_pods_are_those_of_the_deployment(component: str) -> None:
    """But for names that KServe demands, the command, and where pods run, which its labels would have to say."""
    base = by_kind(manifests((DEPLOY / "base" / "kubernetes.yaml").read_text()))
    expected = base["Deployment"]["spec"]["template"]["spec"]
    del expected["topologySpreadConstraints"]
    scaler = base["HorizontalPodAutoscaler"]["spec"]
    (container,) = expected["containers"]
    container |= {"name": "kserve-container", "command": pod_of(component)["containers"][0]["command"]}
    (port,) = container["ports"]
    port |= {"name": "http1", "protocol": "TCP"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        container[probe]["httpGet"]["port"] = "http1"
    assert pod_of(component) == expected
    assert {name: SERVICE["spec"][component][name] for name in SCALING} == {
        "minReplicas": scaler["minReplicas"],
        "maxReplicas": scaler["maxReplicas"],
        "scaleMetric": "cpu",
        "scaleTarget": scaler["metrics"][0]["resource"]["target"]["averageUtilization"],
    }


@contextmanager
def started(folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", httpx.Client]]:
    """Run the explainer's command as KServe does, with this environment's ``lrpserve``."""
    (container,) = pod_of("explainer")["containers"]
    keys, log = folder / "keys", folder / "log"
    keys.write_text(f"{KEY}\n")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        **{one["name"]: one["value"] for one in container["env"]},
        "LRP_API_KEYS_FILE": str(keys),
        "LRP_PORT": "0",
        "LRP_DRAIN_S": "0",
    }
    with log.open("w") as written:
        process = subprocess.Popen([*container["command"], *ADDED], env=environment, stderr=written)
    try:
        while not (address := re.search(r"http://127\.0\.0\.1:[1-9]\d*", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=address[0], headers=headers, timeout=LIMIT_S) as client:
            while client.get("/readyz").status_code == 503:
                time.sleep(0.05)
            yield process, client
    finally:
        process.kill()
        process.wait()


def test_the_explainer_answers_all_that_kserve_routes_to_either_component(
    tmp_path: Path, cat_png: bytes
) -> None:
    instance: dict[str, Any] = {"instances": [{"image": {"b64": b64encode(cat_png).decode()}}]}
    grey = {"name": "image", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": [0.5] * 3072}
    with started(tmp_path) as (process, client):
        predicted = client.post("/v1/models/minivgg-cifar10:predict", json=instance).json()
        explained = client.post("/v1/models/minivgg-cifar10:explain", json=instance).json()
        inferred = client.post("/v2/models/minivgg-cifar10-lrp/infer", json={"inputs": [grey]}).json()
        process.terminate()
        assert process.wait(LIMIT_S) in (0, -signal.SIGTERM)  # the signal reaches the service, not a shell
    assert predicted["predictions"][0]["prediction"]["label"] == "cat"
    assert explained["explanations"][0]["target"]["label"] == "cat"
    assert "relevance" in {output["name"] for output in inferred["outputs"]}


def test_kserve_routes_explanations_of_every_shipped_model_to_the_explainer(app: FastAPI) -> None:
    (explain,) = (path for path in app.openapi()["paths"] if path.endswith(":explain"))
    assert all(EXPLAIN.match(explain.format(model=name)) for name in SHIPPED_NAMES.values())
