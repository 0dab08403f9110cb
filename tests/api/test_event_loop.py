"""What large bodies of the serving protocols cost the event loop, on which everything else waits meanwhile."""

import asyncio
import base64
import io
import json
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

NETWORK, EXPLAINED = "minivgg-cifar10", "minivgg-cifar10-lrp"
MAX_STEP_S = 0.025
"""Longest step of the event loop, in its processor time; other requests, and probes, wait so long."""


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


class Ticker:
    """Measures the longest step of an event loop."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.stopped = False

    async def tick(self) -> None:
        """Take part in every step until stopped."""
        while not self.stopped:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest_s = max(self.longest_s, time.thread_time() - before)


@pytest.mark.parametrize("what", ["numbers", "file over V2", "file over V1"])
def test_large_bodies_are_parsed_elsewhere(client: TestClient, what: str) -> None:
    encoded = base64.b64encode(noise()).decode() if what != "numbers" else ""
    path, body = {
        "numbers": (f"/v2/models/{EXPLAINED}/infer", pixels() if what == "numbers" else b""),
        "file over V2": (f"/v2/models/{NETWORK}/infer", inputs(datatype="BYTES", shape=[1], data=[encoded])),
        "file over V1": (f"/v1/models/{NETWORK}:predict", json.dumps({"instances": [encoded]}).encode()),
    }[what]
    assert 7 * 2**20 < len(body) < 8 * 2**20
    assert client.portal is not None
    ticker = Ticker()
    ticking = client.portal.start_task_soon(ticker.tick)
    response = client.post(path, content=body)
    ticker.stopped = True
    ticking.result()
    assert response.status_code == 200
    assert ticker.longest_s < MAX_STEP_S
