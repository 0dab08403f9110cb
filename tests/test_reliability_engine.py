"""Rows 16, 19 to 23, 27 and 29 of what the service must withstand, over real connections. Nothing is timed."""

import base64
import io
import json
import socket
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest
import torch
from conftest import Server, encode, serving
from fastapi import FastAPI
from gate import LIMIT_S, Gate, with_non_finite
from PIL import Image
from starlette.testclient import TestClient

from app.lrp.attribution import Batch, BatchAttributions
from app.lrp.engine.engine import Engine
from app.main import create_app
from app.models.local import LocalModel
from app.settings import Settings, shipped_model

PNG = {"Content-Type": "image/png"}
WAITING = 'queue_depth{model="minivgg-cifar10"}'
CRASHES = 'failures_total{model="minivgg-cifar10",reason="crash"}'
NON_FINITE = 'failures_total{model="minivgg-cifar10",reason="non_finite"}'
PROBES = ("/livez", "/readyz", "/health", "/healthz", "/ping", "/v2/health/live", "/v2/health/ready")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


class Client:
    """Of one service, with as many requests at once as are wanted."""

    def __init__(self, server: Server, app: FastAPI, picture: bytes) -> None:
        self.server, self.app, self.picture = server, app, picture
        self._pool = ThreadPoolExecutor(16)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.server.port}{path}", timeout=LIMIT_S)

    def post(self, path: str = "/explain", *, accept: str = "*/*") -> "Future[httpx.Response]":
        url, headers = f"http://127.0.0.1:{self.server.port}{path}", {**PNG, "Accept": accept}
        return self._pool.submit(httpx.post, url, content=self.picture, headers=headers, timeout=LIMIT_S)

    def counted(self, sample: str) -> float:
        lines = self.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"lrpserve_{sample} "))

    def until(self, sample: str, value: float) -> None:
        """Ask until so many are counted."""
        asked = (self.counted(sample) == value for _ in range(100_000))
        assert any(asked)


@contextmanager
def serving_to_a_client(picture: bytes, **limits: int) -> Iterator[Client]:
    """The service, warmed up."""
    settings = Settings(picture_processes=1, **limits)  # type: ignore[arg-type] # mypy takes them for any field
    app = create_app(settings, LocalModel.load(shipped_model(), "cpu", None))
    with serving(settings, app) as server:
        client = Client(server, app, picture)
        while client.get("/readyz").status_code == 503:
            pass
        yield client


@pytest.fixture(scope="module")
def shared(cat_png: bytes) -> Iterator[Client]:
    """A service for all tests that leave it as it was; they compare its counters with those before."""
    with serving_to_a_client(cat_png) as client:
        yield client


@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare", "/v1/models/minivgg-cifar10:explain"])
@pytest.mark.parametrize("abruptly", [False, True])
def test_row_16_a_client_that_leaves_while_it_waits_is_dropped_before_it_is_computed(
    gate: Gate, shared: Client, path: str, abruptly: bool
) -> None:
    gate.close()
    stays = shared.post()
    gate.wait_for_batch()
    cancelled, crashes = shared.counted("cancelled_total"), shared.counted(CRASHES)
    with closing(socket.create_connection(("127.0.0.1", shared.server.port))) as leaves:
        if abruptly:  # a reset instead of an orderly end
            leaves.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        in_json = json.dumps({"instances": [base64.b64encode(shared.picture).decode()]}).encode()
        body = in_json if "v1" in path else shared.picture
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(body)}"
        leaves.sendall(head.encode() + b"\r\n\r\n" + body)
        shared.until(WAITING, 1)
    shared.until(WAITING, 0)
    shared.until("cancelled_total", cancelled + 1)
    gate.open()
    assert stays.result().status_code == 200
    assert shared.post().result().status_code == 200
    assert gate.batch_sizes == [1, 1]  # nobody computed for the one who left
    assert shared.counted(CRASHES) == crashes


def test_row_19_what_the_queue_cannot_hold_is_told_when_to_come_again_and_the_rest_is_answered(
    gate: Gate, cat_png: bytes
) -> None:
    with serving_to_a_client(cat_png, max_batch=1, max_queue=2, max_pictures=1) as client:
        gate.close()
        taken = [client.post()]
        gate.wait_for_batch()
        for waiting in (1, 2):
            taken.append(client.post())
            client.until(WAITING, waiting)
        refused = client.post().result()
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["type"] == "urn:lrpserve:problem:unavailable"
        assert client.counted('refused_total{model="minivgg-cifar10",reason="queue_full"}') == 1
        gate.open()
        assert [answer.result().status_code for answer in taken] == [200] * 3
        assert client.post().result().status_code == 200  # and it is as before


def test_row_21_a_request_that_waits_past_the_deadline_is_told_so_and_never_computed(
    gate: Gate, cat_png: bytes
) -> None:
    with serving_to_a_client(cat_png, queue_deadline_s=1) as client:
        gate.close()
        running = client.post()
        gate.wait_for_batch()
        late = [client.post("/explain").result(), client.post("/predict").result()]
        assert [answer.status_code for answer in late] == [504, 504]
        assert late[0].json()["type"] == "urn:lrpserve:problem:deadline"
        assert client.counted('refused_total{model="minivgg-cifar10",reason="deadline"}') == 2
        gate.open()
        assert running.result().status_code == 200
        assert gate.batch_sizes == [1]


def test_row_22_probes_answer_while_the_model_is_busy_and_the_queue_is_full(
    gate: Gate, cat_png: bytes
) -> None:
    with serving_to_a_client(cat_png, max_batch=1, max_queue=1, max_pictures=1) as client:
        gate.close()
        busy = [client.post()]
        gate.wait_for_batch()
        busy.append(client.post())
        client.until(WAITING, 1)
        assert client.post().result().status_code == 503
        for path in PROBES:
            assert client.get(path).status_code == 200
        gate.open()
        assert [answer.result().status_code for answer in busy] == [200] * 2


def all_poisoned(with_what: float) -> Callable[..., BatchAttributions]:
    """Relevance that is not all numbers."""

    def fault(_batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        result = run()
        return BatchAttributions(
            result.logits, tuple(with_non_finite(one, with_what) for one in result.attributions)
        )

    return fault


@pytest.mark.parametrize("accept", ["application/json", "image/png", "application/x-npy"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_row_27_relevance_that_is_not_finite_is_an_error_and_no_heatmap(
    gate: Gate, shared: Client, accept: str, value: float
) -> None:
    non_finite, crashes = shared.counted(NON_FINITE), shared.counted(CRASHES)
    gate.fault = all_poisoned(value)
    answer = shared.post(accept=accept).result()
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["instance"] == answer.headers["X-Request-ID"]
    assert shared.counted(NON_FINITE) == non_finite + 1
    assert shared.counted(CRASHES) == crashes
    gate.fault = lambda _batch, run: run()
    assert shared.post().result().status_code == 200


def test_row_23_a_crash_is_one_answer_of_eight_is_counted_and_says_nothing(
    gate: Gate, shared: Client
) -> None:
    bad = 3

    def fault(batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        if any(request.target.index == bad for request in batch.requests):
            raise ArithmeticError("secret")
        return run()

    solo = [shared.post(f"/explain?target={target}&values=1").result().json() for target in range(8)]
    crashes = shared.counted(CRASHES)
    gate.fault = fault
    gate.close()
    first = shared.post()
    gate.wait_for_batch()
    eight = [shared.post(f"/explain?target={target}&values=1") for target in range(8)]
    shared.until(WAITING, 8)
    gate.open()
    assert first.result().status_code == 200
    answers = [answer.result() for answer in eight]
    assert gate.batch_sizes[1] == 8
    assert [answer.status_code for answer in answers] == [500 if i == bad else 200 for i in range(8)]
    assert "secret" not in answers[bad].text
    assert shared.counted(CRASHES) == crashes + 1
    for i in set(range(8)) - {bad}:
        ours, alone = (torch.tensor(answer["relevance"]["values"]) for answer in (answers[i].json(), solo[i]))
        torch.testing.assert_close(ours, alone, rtol=1e-3, atol=1e-4 * float(alone.abs().max()))


@pytest.mark.parametrize("form", ["json", "zip"])
def test_row_23_a_crash_of_one_file_costs_the_others_of_its_request_nothing(
    gate: Gate, shared: Client, cat_png: bytes, cat_jpeg: bytes, form: str
) -> None:
    def fault(batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        if any(bool((image == image[:, :1, :1]).all()) for image in batch.inputs):
            raise ArithmeticError("secret")
        return run()

    grey = encode(Image.new("RGB", (40, 40), (9, 9, 9)))
    crashes = shared.counted(CRASHES)
    gate.fault = fault
    files = [("file", cat_png), ("file", grey), ("file", cat_jpeg)]
    url = f"http://127.0.0.1:{shared.server.port}/explain/batch?format={form}"
    answer = httpx.post(url, files=files, timeout=LIMIT_S)
    content = answer.content
    if form == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read("results.json")
    results = json.loads(content)["results"]
    assert [result["problem"] and result["problem"]["status"] for result in results] == [None, 500, None]
    assert results[1]["problem"]["instance"] == answer.headers["X-Request-ID"]
    assert b"secret" not in content
    assert shared.counted(CRASHES) == crashes + 1


def test_row_29_when_the_device_is_lost_readiness_goes_at_once_and_all_who_wait_hear_of_it(
    gate: Gate, cat_png: bytes
) -> None:
    ended = threading.Event()

    def lost(*_: object) -> BatchAttributions:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    with serving_to_a_client(cat_png) as client:
        client.app.state.on_death = ended.set
        gate.close()
        waiting = [client.post()]
        gate.wait_for_batch()
        waiting += [client.post() for _ in range(5)]
        client.until(WAITING, 5)
        gate.fault = lost
        gate.open()
        assert ended.wait(LIMIT_S)
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert "broken" in ready.json()["detail"]
        assert client.get("/livez").status_code == 200
        assert [answer.result().status_code for answer in waiting] == [503] * 6
        assert client.post().result().status_code == 503
        assert client.counted('refused_total{model="minivgg-cifar10",reason="broken"}') == 1
        assert client.counted(CRASHES) == 0


def test_row_29_a_warm_up_that_fails_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def fail(*_: object) -> BatchAttributions:
        raise ArithmeticError("from the first batch on")

    model = LocalModel.load(shipped_model(), "cpu", None)  # runs a batch of its own, to check the network
    monkeypatch.setattr(Engine, "run", fail)
    app = create_app(Settings(), model)
    app.state.on_death = ended.set
    with TestClient(app) as client:
        client.get("/livez")
        assert ended.wait(LIMIT_S)
        assert "broken" in client.get("/readyz").json()["detail"]
