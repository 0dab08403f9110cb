"""Large bodies of the serving protocols do not occupy the event loop, on which every other request waits."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.api.protocols.kinds.image import InferenceRequest, Instances

NETWORK, EXPLAINED = "minivgg-cifar10", "minivgg-cifar10-lrp"


def noise() -> bytes:
    """Return a picture file of almost 6 MiB, 8 MiB in base64."""
    pixels = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def pixels() -> bytes:
    """Return 32 pictures as numbers in JSON with very many digits, almost 8 MiB."""
    numbers = np.random.default_rng(0).integers(0, 2**62, (32 * 3072, 4))
    values = ",".join("0." + "".join(map("{:019d}".format, row)) for row in numbers)
    head = b'{"inputs":[{"name":"image","datatype":"FP32","shape":[32,3,32,32],"data":['
    return head + values.encode() + b"]}]}"


def inputs(**tensor: Any) -> bytes:
    return json.dumps({"inputs": [{"name": "image", **tensor}]}).encode()


def unexpected(*_: object, **__: object) -> None:
    raise AssertionError("parsed in the process that listens")


@pytest.mark.parametrize("what", ["numbers", "file over V2", "file over V1"])
def test_large_bodies_are_parsed_in_another_process(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    encoded = base64.b64encode(noise()).decode() if what != "numbers" else ""
    path, body = {
        "numbers": (f"/v2/models/{EXPLAINED}/infer", pixels() if what == "numbers" else b""),
        "file over V2": (f"/v2/models/{NETWORK}/infer", inputs(datatype="BYTES", shape=[1], data=[encoded])),
        "file over V1": (f"/v1/models/{NETWORK}:predict", json.dumps({"instances": [encoded]}).encode()),
    }[what]
    assert 7 * 2**20 < len(body) < 8 * 2**20
    for kind in (InferenceRequest, Instances):
        monkeypatch.setattr(kind, "model_validate_json", unexpected)
    assert client.post(path, content=body).status_code == 200
