"""``serve --ray`` answers what ``serve`` answers."""

import base64
import itertools
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from on_ray import MODEL, Service, assert_ends, assert_equal, service

from benchmarks.exchanges import MIXTURE
from benchmarks.peers.torchserve.serve import free_ports

KEY = "a-key-of-this-test"
TEXT = {"text": "a gorgeous, witty film"}
ROW = {"features": MIXTURE}
MAX_BODY_BYTES = 200_000
READ_DEADLINE_S = 3
OF_ONE_PROCESS = ("content-length", "date", "server", "server-timing", "connection", "transfer-encoding")
"""Headers that depend on times, or are of the server that listens."""
COUNTED = re.compile(
    r"lrpserve_(?:requests|refused|failures|bad_pictures)_total|lrpserve_(?:batch|leak).*_count"
)
REPLICA = re.compile(r'replica="\w+",|,?replica="\w+"')
"""The label that metrics have on Ray only."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """The service on Ray, and the one without, with one thread for each model both."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(KEY + "\n")
    settings = {
        "LRP_API_KEYS_FILE": str(keys),
        "LRP_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "LRP_READ_DEADLINE_S": str(READ_DEADLINE_S),
    }
    ray_port, alone_port = free_ports(2)
    with (
        service(ray_port, "--ray", **settings) as on_ray,
        service(alone_port, **settings, LRP_CORES="1") as alone,
    ):
        for one in (on_ray, alone):
            one.wait_until_ready()
        yield on_ray, alone
        assert_ends(on_ray, signal.SIGTERM)


def requests(jpeg: bytes) -> Iterator[httpx.Request]:
    """Return what is requests of both services."""
    picture: dict[str, Any] = {"content": jpeg, "headers": {"Content-Type": "image/jpeg"}}
    instances = {"instances": [base64.b64encode(jpeg).decode()]}
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": instances["instances"]}
    for method, path, options in (
        ("POST", "/predict", picture),
        ("POST", "/explain", picture),
        ("POST", "/explain?rule=gamma&gamma=0.5&target=dog&versus=cat&verify=true", picture),
        ("POST", "/explain?samples=4", picture),
        ("POST", "/compare?rules=epsilon&rules=z_plus", picture),
        ("POST", "/evaluate?rule=epsilon&patch=16", picture),
        ("POST", "/explain", {"files": {"file": ("cat.jpg", jpeg)}}),
        (
            "POST",
            "/explain/batch",
            {"files": [("file", ("a.jpg", jpeg)), ("file", ("b.jpg", b"no picture"))]},
        ),
        ("POST", "/predict/text", {"json": TEXT}),
        ("POST", "/explain/text?model=words-transformer", {"json": TEXT}),
        ("POST", "/predict/table", {"json": ROW}),
        ("POST", "/explain/table", {"json": ROW}),
        ("POST", f"/v1/models/{MODEL}:predict", {"json": instances}),
        ("POST", f"/v1/models/{MODEL}:explain", {"json": instances}),
        ("POST", f"/v2/models/{MODEL}-lrp/infer", {"json": {"inputs": [tensor]}}),
        ("GET", "/models", {}),
        ("GET", f"/models/{MODEL}", {}),
        ("GET", "/rules", {}),
        ("GET", "/openapi.json", {}),
        ("HEAD", "/", {}),
        ("GET", "/nothing", {}),
        ("GET", "/predict", {}),
        ("POST", "/predict?model=vgg16", picture),
        ("POST", "/predict?colour=red", picture),
        ("POST", "/explain?target=submarine", picture),
        ("POST", "/predict", {"content": b"no picture", "headers": picture["headers"]}),
        ("POST", "/predict", {"content": bytes(MAX_BODY_BYTES + 1), "headers": picture["headers"]}),
        ("POST", "/predict", {"content": b"?", "headers": {"Content-Type": "text/plain"}}),
        ("POST", "/predict/table", {"json": {"features": {**MIXTURE, "Age": "old", "Sand": 1}}}),
        ("POST", "/v2/models/vgg16/infer", {"json": {"inputs": [tensor]}}),
        ("POST", f"/v1/models/{MODEL}:predict", {"content": b"{"}),
    ):
        yield httpx.Request(method, "http://127.0.0.1" + path, **options)
    for media_type in ("image/png", "application/x-npy", "text/csv"):
        headers = {**picture["headers"], "Accept": media_type}
        yield httpx.Request("POST", "http://127.0.0.1/explain", content=jpeg, headers=headers)


def ask(one: Service, request: httpx.Request, key: str | None = KEY) -> httpx.Response:
    headers = {**request.headers, "X-Request-ID": "the-same", **({"X-API-Key": key} if key else {})}
    headers.pop("host")
    url = one.url + str(request.url).removeprefix("http://127.0.0.1")
    return one.client.request(request.method, url, content=request.read(), headers=headers)


def assert_same(ours: httpx.Response, theirs: httpx.Response) -> None:
    assert ours.status_code == theirs.status_code
    of_ours, of_theirs = (
        [(name, value) for name, value in one.headers.multi_items() if name not in OF_ONE_PROCESS]
        for one in (ours, theirs)
    )
    assert sorted(of_ours) == sorted(of_theirs)
    if "json" in ours.headers.get("Content-Type", ""):
        assert_equal(ours.json() if ours.content else "", theirs.json() if theirs.content else "")
    else:
        assert ours.content == theirs.content


def test_every_request_is_answered_as_without_ray(services: tuple[Service, Service], cat_jpeg: bytes) -> None:
    statuses = set()
    for request in requests(cat_jpeg):
        ours, theirs = (ask(one, request) for one in services)
        try:
            assert_same(ours, theirs)
        except AssertionError as error:
            raise AssertionError(f"{request.method} {request.url}: {theirs.text[:300]}") from error
        statuses.add(ours.status_code)
    assert statuses == {200, 400, 404, 405, 406, 413, 415, 422}


@pytest.mark.parametrize("key", [None, "another-key"])
def test_keys_are_required_as_without_ray(
    services: tuple[Service, Service], cat_jpeg: bytes, key: str | None
) -> None:
    for request in (next(requests(cat_jpeg)), httpx.Request("GET", "http://127.0.0.1/metrics")):
        ours, theirs = (ask(one, request, key) for one in services)
        assert ours.status_code == 401
        assert_same(ours, theirs)
    for one in services:
        assert ask(one, httpx.Request("GET", "http://127.0.0.1/livez"), key).status_code == 200


def test_metrics_count_the_same(services: tuple[Service, Service], cat_jpeg: bytes) -> None:
    def counts(one: Service) -> dict[str, float]:
        request = httpx.Request("GET", "http://127.0.0.1/metrics")
        samples = [line.rsplit(" ", 1) for line in ask(one, request).text.splitlines() if COUNTED.match(line)]
        return {REPLICA.sub("", name): float(value) for name, value in samples}

    def added(one: Service) -> dict[str, float]:
        before = counts(one)
        for request in requests(cat_jpeg):
            ask(one, request)
        after = counts(one)
        return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name)}

    ours, theirs = map(added, services)
    assert ours == theirs
    assert ours[f'lrpserve_batch_size_count{{model="{MODEL}"}}'] > 10


def is_closed(one: Service, sent: bytes) -> bool:
    """Send bytes over a connection; return whether it is closed without an answer soon after the deadline."""
    host, port = one.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 2 * READ_DEADLINE_S) as connection:
        connection.sendall(sent)
        try:
            return connection.recv(1) == b""
        except TimeoutError:
            return False


def test_rays_proxy_has_no_deadline_for_heads(services: tuple[Service, Service]) -> None:
    """See docs/scale.md, which is to say so when a release of Ray has one."""
    cases = list(itertools.product(services, (b"", b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n")))
    with ThreadPoolExecutor(len(cases)) as pool:  # each waits for seconds
        closed = list(pool.map(is_closed, *zip(*cases, strict=True)))
    assert closed == [False, False, True, True]


def test_rays_proxy_sends_an_invalid_request_id_back(services: tuple[Service, Service]) -> None:
    headers = {"X-Request-ID": "not valid", "X-API-Key": KEY}
    (valid,), ours = (
        one.client.get("/livez", headers=headers).headers.get_list("X-Request-ID") for one in services[::-1]
    )
    assert valid != "not valid"
    assert len(ours) == 2
    assert ours[1] == "not valid"
