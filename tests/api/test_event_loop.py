"""Large bodies of the serving protocols do not occupy the event loop, on which every other request waits;
dependencies of routes, which take microseconds, do not leave it.
"""

import base64
import io
import json
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from PIL import Image
from starlette.testclient import TestClient

from app.api.protocols.kinds.image import InferenceRequest, Instances
from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings

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


def dependencies(dependant: Dependant) -> Iterator[Any]:
    """Yield everything that FastAPI calls for a request before the route's own function."""
    for one in dependant.dependencies:
        yield one.call
        yield from dependencies(one)


def test_no_dependency_of_a_route_runs_on_a_thread(model: Model, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a key")
    app: FastAPI = create_app(Settings(api_keys_file=keys, reports=tmp_path), model)
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    called = {
        call for route in routes if isinstance(route, APIRoute) for call in dependencies(route.dependant)
    }
    assert len(called) > 20
    assert [
        call for call in called if not iscoroutinefunction(call) and not iscoroutinefunction(call.__call__)
    ] == []
