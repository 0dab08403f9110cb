"""Rows 11 to 19 of what the service must withstand, over real connections. Nothing here is timed."""

import asyncio
import errno
import gc
import json
import select
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPResponse
from itertools import repeat
from pathlib import Path

import httpx
import pytest
from conftest import Server, serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app.main import create_app
from app.models.protocol import Model
from app.serving.admission import QUEUE_FULL, Admission
from app.settings import MIB, Settings

SMALL = Settings(max_body_bytes=2 * MIB, read_deadline_s=0.2)
"""A service that loses its patience quickly, so that the tests do not have to wait."""


@pytest.fixture(scope="module")
def impatient(model: Model) -> Iterator[Server]:
    with serving(SMALL, create_app(SMALL, model)) as server:
        yield server


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def head(*lines: str, method: str = "POST", path: str = "/explain") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def status(connection: socket.socket) -> int:
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def assert_cut_off(client: socket.socket, more: bytes) -> None:
    """Send ``more`` again and again until the server has hung up."""
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        any(map(client.sendall, repeat(more)))


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{server.port}{path}", timeout=60)


def counted(server: Server, sample: str) -> float:
    lines = get(server, "/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(sample + " "))


def test_row_11_a_declared_length_over_the_cap_is_refused_before_a_byte_is_read(server: Server) -> None:
    with closing(connect(server)) as client:
        client.sendall(head("Content-Type: image/png", f"Content-Length: {8 * MIB + 1}"))
        assert status(client) == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "1, 2", "9" * 5000])
def test_row_11_a_nonsensical_length_is_no_crash(server: Server, length: str) -> None:
    with closing(connect(server)) as client:
        client.sendall(head("Content-Type: image/png", f"Content-Length: {length}"))
        assert status(client) in (400, 413)
    assert get(server, "/livez").status_code == 200


def test_row_12_all_bodies_together_have_a_cap_and_give_their_room_back(model: Model) -> None:
    settings = Settings(
        max_body_bytes=2 * MIB,
        max_bytes_in_hand=12 * MIB,  # three copies of 4 MiB
        queue_deadline_s=60,
    )
    start = head("Content-Type: image/png", f"Content-Length: {2 * MIB}")
    with serving(settings, create_app(settings, model)) as server, ExitStack() as stack:
        clients = [stack.enter_context(closing(connect(server))) for _ in range(3)]
        for client in clients:
            client.sendall(start + bytes(3 * MIB // 2))
        (refused,), _, _ = select.select(clients, [], [], 60)
        assert status(refused) == 503
        clients.remove(refused)
        for client in clients:
            client.sendall(bytes(MIB // 2))
        assert [status(client) for client in clients] == [422, 422]  # zeros are no picture
        with closing(connect(server)) as later:
            later.sendall(start + bytes(2 * MIB))
            assert status(later) == 422


def test_row_12_a_disk_that_is_full_is_told_to_come_again(
    client: TestClient, cat_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object, __: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.datastructures.UploadFile.write", full)
    answer = client.post("/explain", files={"file": cat_png})
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("form", ["image/png", "multipart/form-data; boundary=x", "v1"])
def test_row_12_a_chunked_body_is_refused_as_soon_as_it_passes_the_cap(
    impatient: Server, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = "/v1/models/minivgg-cifar10:explain" if form == "v1" else "/explain"
    with closing(connect(impatient)) as client:
        client.sendall(head(f"Content-Type: {form}", "Transfer-Encoding: chunked", path=path))
        client.sendall(chunk(b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'))
        for _ in range(SMALL.max_body_bytes // 2**18):
            client.sendall(chunk(bytes(2**18)))
        assert status(client) == 413  # though the body has no end yet
    gc.collect()
    open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [name for name in open_files if name.startswith(str(tmp_path))]
    assert list(tmp_path.iterdir()) == []


def test_row_12_a_body_that_goes_on_after_its_refusal_is_cut_off(impatient: Server) -> None:
    with closing(connect(impatient)) as client:
        client.sendall(head("Content-Type: text/plain", "Transfer-Encoding: chunked"))
        assert status(client) == 415
        assert_cut_off(client, chunk(b"x"))


@pytest.mark.parametrize("count", [2, 1001])
def test_row_13_more_than_one_part_is_refused(server: Server, cat_png: bytes, count: int) -> None:
    files = [("file", cat_png if number == 0 else b"x") for number in range(count)]
    response = httpx.post(f"http://127.0.0.1:{server.port}/explain", files=files, timeout=60)
    assert response.status_code == 400
    assert response.json()["detail"]


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # Starlette lets go of the file
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_row_14_a_truncated_form_is_refused(server: Server, cat_png: bytes, kept: float) -> None:
    request = httpx.Request("POST", "http://x", files={"file": cat_png})
    body = request.read()
    response = httpx.post(
        f"http://127.0.0.1:{server.port}/explain",
        content=body[: int(len(body) * kept)],
        headers={"Content-Type": request.headers["Content-Type"]},
        timeout=60,
    )
    assert response.status_code == 400


@pytest.mark.parametrize("path", ["/explain", "/predict", "/v1/models/minivgg-cifar10:predict"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_row_15_a_compressed_body_is_refused(server: Server, path: str, encoding: str) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": encoding}
    response = httpx.post(f"http://127.0.0.1:{server.port}{path}", content=b"x", headers=headers, timeout=60)
    assert response.status_code == 415


@pytest.mark.parametrize("form", ["image/png", "multipart/form-data; boundary=x"])
def test_row_16_a_client_that_leaves_while_it_sends_is_neither_answered_nor_an_error(
    impatient: Server, form: str
) -> None:
    before = counted(impatient, "lrpserve_cancelled_total")
    with closing(connect(impatient)) as client:
        client.sendall(head(f"Content-Type: {form}", "Content-Length: 100") + b"--x\r\n")
    while counted(impatient, "lrpserve_cancelled_total") == before:
        pass  # the server learns of it when it next looks at the connection
    assert counted(impatient, 'lrpserve_failures_total{model="minivgg-cifar10",reason="crash"}') == 0


@pytest.mark.parametrize("path", ["/explain", "/v2/models/minivgg-cifar10/infer"])
def test_row_17_a_trickling_body_is_cut_off_and_harms_no_other(
    impatient: Server, path: str, cat_png: bytes
) -> None:
    with closing(connect(impatient)) as client:
        client.sendall(head("Content-Type: image/png", "Content-Length: 100000", path=path))
        client.sendall(b"\x89")
        url = f"http://127.0.0.1:{impatient.port}/predict"
        other = httpx.post(url, content=cat_png, headers={"Content-Type": "image/png"}, timeout=60)
        assert other.status_code == 200
        assert status(client) == 408
        assert client.recv(1) == b""  # and the connection is closed


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: local"])
def test_row_17_a_head_that_never_ends_is_cut_off(impatient: Server, sent: bytes) -> None:
    with closing(connect(impatient)) as client:
        client.sendall(sent)
        assert client.recv(1) == b""


def test_row_17_bytes_that_trickle_in_do_not_wind_the_clock_back(impatient: Server) -> None:
    with closing(connect(impatient)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert_cut_off(client, b"x")


@pytest.mark.parametrize(
    "start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", head("Transfer-Encoding: chunked") + b"0\r\nX-Trailer: "]
)
def test_a_head_without_end_is_cut_off(model: Model, start: bytes) -> None:
    patient = Settings(read_deadline_s=3600)
    with serving(patient, create_app(patient, model)) as server, closing(connect(server)) as client:
        client.sendall(start)
        assert_cut_off(client, b"x" * 2**16)


def test_a_body_in_the_smallest_of_chunks_is_no_head_without_end(server: Server) -> None:
    with closing(connect(server)) as client:
        client.sendall(head("Content-Type: image/png", "Transfer-Encoding: chunked"))
        client.sendall(chunk(b"x") * 2**17 + chunk(b""))
        assert status(client) == 422


def test_row_17_a_slow_answer_is_not_cut_off() -> None:
    asked, release = threading.Event(), threading.Event()

    async def slow(_: Request) -> Response:
        asked.set()
        await asyncio.to_thread(release.wait)
        return Response("at last")

    app = Starlette(routes=[Route("/", slow)])
    with serving(SMALL, app) as server, closing(connect(server)) as client:
        client.sendall(head(method="GET", path="/"))
        assert asked.wait(60)
        with closing(connect(server)) as idle:
            assert idle.recv(1) == b""  # longer than the deadline has passed when this one is cut off
        release.set()
        assert status(client) == 200


def test_row_18_idle_connections_do_not_keep_probes_from_answering(server: Server) -> None:
    with ExitStack() as idle:
        for number in range(500):
            client = idle.enter_context(closing(connect(server)))
            if number % 2:
                client.sendall(head("Content-Length: 10", "Content-Type: image/png"))
        for path in ("/livez", "/readyz", "/health"):
            assert get(server, path).status_code == 200


@contextmanager
def full(model: Model, root_path: str = "") -> Iterator[Server]:
    """A service that has no room for anything."""
    settings = Settings(read_deadline_s=30, root_path=root_path)
    app = create_app(settings, model)
    with serving(settings, app) as server:
        while httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 503:
            pass  # the warm-up needs room
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Admission, "is_full", True)
            yield server


def read_answer(client: socket.socket) -> tuple[dict[str, str], bytes]:
    """The head, by lower-case name, and the body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(2**16)
    start, _, body = received.partition(b"\r\n\r\n")
    lines = start.decode().split("\r\n")
    found = dict(line.lower().split(": ", 1) for line in lines[1:]) | {"status": lines[0].split()[1]}
    while len(body) < int(found["content-length"]):
        body += client.recv(2**16)
    return found, body


def test_row_19_whoever_is_refused_may_ask_again_on_the_same_connection(model: Model) -> None:
    picture = b"x" * 2**17
    with full(model) as server, closing(connect(server)) as client:
        for number in range(3):  # the body of one that is refused is passed over, not taken for a request
            client.sendall(
                head(
                    "Content-Type: image/png",
                    f"Content-Length: {len(picture)}",
                    f"X-Request-ID: mine-{number}",
                )
            )
            found, body = read_answer(client)
            assert (found["status"], found["retry-after"]) == ("503", "1")
            assert found["content-type"] == "application/problem+json"
            assert found["x-request-id"] == json.loads(body)["instance"] == f"mine-{number}"
            assert json.loads(body)["detail"] == QUEUE_FULL
            client.sendall(picture)
        client.sendall(head(method="GET", path="/livez"))
        assert read_answer(client)[0]["status"] == "200"


@pytest.mark.parametrize("line", ["Connection: close", "Expect: 100-continue"])
def test_row_19_a_refusal_ends_connections_whose_next_bytes_are_in_doubt(model: Model, line: str) -> None:
    with full(model) as server, closing(connect(server)) as client:
        client.sendall(head("Content-Type: image/png", "Content-Length: 9", line))
        found, _ = read_answer(client)
        assert (found["status"], found["connection"]) == ("503", "close")
        assert client.recv(1) == b""


@pytest.mark.parametrize("path", ["/explain", "/xai/explain"])
def test_row_19_a_refusal_is_the_same_below_a_prefix(model: Model, path: str) -> None:
    with full(model, root_path="/xai") as server, closing(connect(server)) as client:
        client.sendall(head("Content-Length: 9", path=path))  # refused without its body
        found, body = read_answer(client)
    assert found["status"] == "503"
    assert json.loads(body)["detail"] == QUEUE_FULL


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/explain", 503), ("POST", "/nowhere", 404), ("GET", "/rules", 200), ("GET", "/explain", 405)],
)
def test_row_19_only_what_takes_the_model_is_refused(
    model: Model, method: str, path: str, status: int
) -> None:
    with full(model) as server:
        answer = httpx.request(method, f"http://127.0.0.1:{server.port}{path}")
    assert answer.status_code == status


def test_row_19_a_refusal_has_the_form_of_its_protocol_and_is_counted(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    with full(model) as server:
        address = f"http://127.0.0.1:{server.port}"
        answer = httpx.post(f"{address}/v2/models/minivgg-cifar10/infer", content=b"{}")
        counted = httpx.get(f"{address}/metrics").text
        while not any(record.getMessage() == "refused" for record in caplog.records):
            time.sleep(0.05)  # once a second
    assert (answer.status_code, answer.json()) == (503, {"error": QUEUE_FULL})
    assert 'lrpserve_requests_total{route="other",status="503"} 1.0' in counted
