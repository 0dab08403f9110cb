"""Admission of requests to the whole service: of one picture or several, and however they end."""

import base64
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from conftest import Server, serving
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.main import create_app
from app.models.protocol import Model
from app.serving.admission import QUEUE_FULL, Admission, Ticket
from app.settings import MIB, Settings

NAME = "minivgg-cifar10"
PICTURES = 3
ROOM = Settings().max_batch + Settings().max_queue
PNG = {"Content-Type": "image/png"}
ATTEMPTS = 10_000

Send = Callable[[TestClient, bytes], Any]
"""Sends a picture several times in one request; returns the answer."""


def to_batch(client: TestClient, picture: bytes) -> Any:
    return client.post("/explain/batch", files=[("file", picture)] * PICTURES)


def to_batch_as_zip(client: TestClient, picture: bytes) -> Any:
    return client.post("/explain/batch?format=zip", files=[("file", picture)] * PICTURES)


def to_kserve(client: TestClient, picture: bytes) -> Any:
    instances = [base64.b64encode(picture).decode()] * PICTURES
    return client.post(f"/v1/models/{NAME}:explain", json={"instances": instances})


def to_open_inference(client: TestClient, picture: bytes) -> Any:
    data = [base64.b64encode(picture).decode()] * PICTURES
    image = {"name": "image", "datatype": "BYTES", "shape": [PICTURES], "data": data}
    return client.post(f"/v2/models/{NAME}/infer", json={"inputs": [image]})


@pytest.fixture
def admission(client: TestClient) -> Iterator[Admission]:
    """The counter of the service."""
    admission: Admission = client.app_state["admissions"].of(None)
    assert admission.occupied == 0
    yield admission
    assert admission.occupied == 0


@pytest.mark.parametrize("send", [to_batch, to_batch_as_zip, to_kserve, to_open_inference])
def test_several_pictures_are_admitted_together_or_not_at_all(
    client: TestClient, admission: Admission, cat_png: bytes, send: Send
) -> None:
    others = Ticket(admission)
    others.acquire(ROOM - PICTURES + 1)
    answer = send(client, cat_png)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert QUEUE_FULL in (answer.json().get("detail"), answer.json().get("error"))
    assert "model" not in answer.headers["Server-Timing"]  # nothing was computed for any of them
    assert admission.occupied == ROOM - PICTURES + 1
    others.release()
    others.acquire(ROOM - PICTURES)
    assert send(client, cat_png).status_code == 200
    others.release()


@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare"])
def test_one_picture_takes_one_place(
    client: TestClient, admission: Admission, cat_png: bytes, path: str
) -> None:
    others = Ticket(admission)
    others.acquire(ROOM - 1)
    assert client.post(path, content=cat_png, headers=PNG).status_code == 200
    others.acquire(ROOM)
    assert client.post(path, content=cat_png, headers=PNG).status_code == 503
    others.release()


def test_a_full_service_refuses_before_it_looks_at_the_request(
    client: TestClient, admission: Admission
) -> None:
    others = Ticket(admission)
    others.acquire(ROOM)
    answer = client.post("/explain", content=b"no picture", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["detail"]) == (503, QUEUE_FULL)
    others.release()


# ── However a request ends ──

IMPATIENT = Settings(max_body_bytes=2 * MIB, read_deadline_s=0.3)


@pytest.fixture(scope="module")
def impatient(model: Model) -> Iterator[Server]:
    app: FastAPI = create_app(IMPATIENT, model)
    with serving(IMPATIENT, app) as server:
        while httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 503:
            pass
        yield server


def head(*lines: str, path: str = "/explain") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def whole(path: str, body: bytes, media_type: str = "image/png") -> bytes:
    return head(f"Content-Type: {media_type}", f"Content-Length: {len(body)}", path=path) + body


INSTANCES = json.dumps({"instances": ["AAAA", "AAAA"]}).encode()
ENDS: dict[str, tuple[bytes, int]] = {
    "no picture": (whole("/explain", b"nothing"), 422),
    "bad parameter": (whole("/explain?epsilon=nan", b"nothing"), 422),
    "media type": (whole("/explain", b"nothing", "text/plain"), 415),
    "media type, body unread": (head("Content-Type: text/plain", "Content-Length: 9"), 415),
    "no such form of answer": (
        head("Content-Type: image/png", "Content-Length: 1", "Accept: text/css") + b"x",
        406,
    ),
    "empty": (whole("/explain", b""), 400),
    "too large, declared": (head("Content-Type: image/png", f"Content-Length: {3 * MIB}"), 413),
    "too large, chunked": (
        head("Content-Type: image/png", "Transfer-Encoding: chunked") + b"300000\r\n" + bytes(3 * MIB),
        413,
    ),
    "too slow": (head("Content-Type: image/png", "Content-Length: 9") + b"x", 408),
    "no such address": (whole("/v1/nowhere", b"nothing"), 404),
    "no such model": (whole("/v1/models/none:predict", INSTANCES, "application/json"), 404),
    "several pictures, all bad": (whole(f"/v1/models/{NAME}:predict", INSTANCES, "application/json"), 422),
    "no JSON": (whole(f"/v2/models/{NAME}/infer", b"{", "application/json"), 400),
    "host unknown": (
        b"POST /explain HTTP/1.1\r\nHost: example.org\r\nContent-Type: image/png\r\nContent-Length: 1\r\n\r\nx",
        400,
    ),
}


def assert_idle_soon(server: Server) -> None:
    """Send probes until all other requests are over; their places must be free then."""
    admission: Admission = server.lifespan.state["admissions"].of(None)
    for _ in range(ATTEMPTS):
        assert httpx.get(f"http://127.0.0.1:{server.port}/livez").status_code == 200
        if not server.server_state.tasks:
            break
    assert admission.occupied == 0


@pytest.mark.parametrize("way", ENDS)
def test_an_error_releases_the_place(impatient: Server, way: str) -> None:
    request, status = ENDS[way]
    with closing(socket.create_connection(("127.0.0.1", impatient.port), timeout=60)) as client:
        client.sendall(request)
        assert int(client.recv(2**16).split(b" ", 2)[1]) == status
        assert_idle_soon(impatient)


@pytest.mark.parametrize("part", ["head", "half", "whole", "several"])
def test_a_client_that_leaves_releases_the_place(impatient: Server, cat_png: bytes, part: str) -> None:
    request = whole("/explain", cat_png)
    sent = {
        "head": head("Content-Length: 9"),
        "half": request[:-9],
        "whole": request,
        "several": request * 3,
    }
    for _ in range(5):
        with closing(socket.create_connection(("127.0.0.1", impatient.port), timeout=60)) as client:
            client.sendall(sent[part])
        assert_idle_soon(impatient)


@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare"])
def test_an_answer_releases_the_place(impatient: Server, cat_png: bytes, path: str) -> None:
    answer = httpx.post(f"http://127.0.0.1:{impatient.port}{path}", content=cat_png, headers=PNG, timeout=60)
    assert answer.status_code == 200
    assert_idle_soon(impatient)
