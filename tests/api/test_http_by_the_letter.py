"""Requests that HTTP allows or forbids and that its usual clients do not send: RFC 9110, 9112 and 2046."""

import socket
from contextlib import closing
from http.client import HTTPResponse

import pytest
from conftest import Server
from starlette.testclient import TestClient

PNG = ("Content-Type", "image/png")


def exchange(server: Server, request: bytes) -> HTTPResponse:
    """Return the response to ``request``, read."""
    with closing(socket.create_connection(("127.0.0.1", server.port), 60)) as connection:
        connection.sendall(request)
        response = HTTPResponse(connection)
        response.begin()
        response.read()
        return response


@pytest.mark.parametrize(
    ("lines", "media_type"),
    [
        (["application/x-npy;q=0.1", "image/png"], "image/png"),
        (["application/json;q=0", "image/png;q=0.2, application/x-npy;q=0.3"], "application/x-npy"),
        (["text/html", "", "*/*"], "application/json"),
    ],
)
def test_accept_on_several_lines_is_one_list(
    client: TestClient, cat_png: bytes, lines: list[str], media_type: str
) -> None:
    headers = [PNG, *(("Accept", line) for line in lines)]
    response = client.post("/explain", content=cat_png, headers=headers)
    assert response.headers["Content-Type"] == media_type


def test_other_lists_on_several_lines_are_joined_as_well(client: TestClient, cat_png: bytes) -> None:
    headers = [PNG, ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")]
    assert client.post("/predict", content=cat_png, headers=headers).status_code == 415
    etag = client.get("/web/style.css").headers["ETag"]
    headers = [("If-None-Match", '"another"'), ("If-None-Match", etag)]
    assert client.get("/web/style.css", headers=headers).status_code == 304


@pytest.mark.parametrize(
    ("request_line", "hosts", "status"),
    [
        ("GET /model HTTP/1.1", [], 400),
        ("GET /model HTTP/1.1", ["localhost"], 200),
        ("GET /model HTTP/1.1", ["localhost", "localhost"], 400),
        ("GET /model HTTP/1.1", ["evil.example", "localhost"], 400),
        ("GET /model HTTP/1.0", [], 200),
        ("GET /model HTTP/1.0", ["localhost", "localhost"], 400),
        ("POST /explain HTTP/1.1", [], 400),
    ],
)
def test_a_request_has_one_host(server: Server, request_line: str, hosts: list[str], status: int) -> None:
    lines = [request_line, *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
    response = exchange(server, "\r\n".join(lines).encode())
    assert response.status == status
    if status == 400:
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/predict/", "/explain/", "/model/", "/livez/", "/v1/models/", "/docs/", "/nothing/"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_address_with_a_slash_too_many_is_not_found(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path, follow_redirects=False)
    assert (response.status_code, "location" in response.headers) == (404, False)


def multipart(client: TestClient, preamble: bytes, picture: bytes) -> tuple[int, str]:
    """Return the status, and the format that the picture was read as."""
    disposition = b'Content-Disposition: form-data; name="file"; filename="cat.png"'
    body = b"%s--xyz\r\n%s\r\n\r\n%s\r\n--xyz--\r\nepilogue" % (preamble, disposition, picture)
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    response = client.post("/predict", content=body, headers=headers)
    return response.status_code, response.json().get("input", {}).get("format", "")


@pytest.mark.parametrize(
    "preamble",
    [
        b"",
        b"\r\n",
        b"This is a message in MIME format.\r\n",
        b"--xy\r\nnot yet --xyz\r\n\r\n",
        b"x" * 65_000 + b"\r\n",
    ],
)
def test_text_before_the_first_boundary_is_ignored(
    client: TestClient, cat_png: bytes, preamble: bytes
) -> None:
    assert multipart(client, preamble, cat_png) == (200, "PNG")


def test_text_before_the_first_boundary_is_bounded(client: TestClient, cat_png: bytes) -> None:
    assert multipart(client, b"x" * 200_000 + b"\r\n", cat_png)[0] == 400


def test_a_preamble_may_end_in_any_chunk(server: Server, cat_png: bytes) -> None:
    disposition = b'Content-Disposition: form-data; name="file"; filename="cat.png"'
    chunks = [b"pre", b"amble\r", b"\n--x", b"yz\r\n" + disposition + b"\r\n\r\n", cat_png, b"\r\n--xyz--"]
    head = [
        "POST /predict HTTP/1.1",
        "Host: localhost",
        "Content-Type: multipart/form-data; boundary=xyz",
        "Transfer-Encoding: chunked",
        "",
        "",
    ]
    with closing(socket.create_connection(("127.0.0.1", server.port), 60)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall("\r\n".join(head).encode())
        for chunk in [*chunks, b""]:
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        response = HTTPResponse(connection)
        response.begin()
        assert response.status == 200
