"""API keys, trusted host names, and settings with which the service refuses to start."""

import base64
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.testclient import TestClient

from app.api.routes.health import ALIASES, PROBES, READY
from app.errors import RefusedToStartError
from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings

KEY, NEW_KEY = "correct-horse-battery-staple", "näher-am-wasser"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# for the ward\n{KEY}\n\n", "utf-8")
    return path


@pytest.fixture
def locked_app(key_file: Path, model: Model) -> FastAPI:
    return create_app(Settings(api_keys_file=key_file, reports=key_file.parent), model)


@pytest.fixture
def locked(locked_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(locked_app) as client:
        yield client


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """Return method and path of all routes, including those that are not in OpenAPI."""
    found: set[tuple[str, str]] = set()
    for context in iter_route_contexts(app.routes):
        route: Any = context.original_route
        if isinstance(route, Mount):
            found.add(("GET", route.path + "/swagger-ui.css"))
        else:
            found |= {(method, route.path) for method in route.methods}
    return found


def test_a_key_is_required_except_for_probes(locked: TestClient, locked_app: FastAPI) -> None:
    protected = {(method, path) for method, path in routes(locked_app) if path not in PROBES}
    assert {path for _, path in protected} >= {
        "/explain",
        "/predict",
        "/model",
        "/reports",
        "/docs",
        "/openapi.json",
    }
    for method, path in protected | {("GET", "/nothing"), ("OPTIONS", "/explain")}:
        response = locked.request(method, path)
        assert response.status_code == 401, path
        assert "Bearer realm" in response.headers["WWW-Authenticate"]
        if method != "HEAD":
            fields = {"error"} if path.startswith(("/v1", "/v2")) else {"detail", "instance"}
            assert response.json().keys() >= fields


def test_probes_need_no_key(locked: TestClient) -> None:
    for path in PROBES:
        assert locked.get(path).status_code in (200, 503)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY}"},
        {"X-API-Key": KEY},
        {"Authorization": "Basic " + base64.b64encode(f"anybody:{KEY}".encode()).decode()},
    ],
)
def test_a_valid_key_is_accepted_in_each_header(locked: TestClient, headers: dict[str, str]) -> None:
    assert locked.get("/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "# for the ward"},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": KEY + "x"},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic " + base64.b64encode(KEY.encode()).decode()},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": b"Basic \xe9"},
    ],
)
def test_an_invalid_or_missing_key_is_refused(locked: TestClient, headers: dict[str, str | bytes]) -> None:
    assert locked.get("/model", headers=headers).status_code == 401


def test_keys_are_rotated_by_changing_the_file(locked: TestClient, key_file: Path) -> None:
    def status(key: str) -> int:
        return int(locked.get("/model", headers={"X-API-Key": key.encode()}).status_code)

    assert (status(KEY), status(NEW_KEY)) == (200, 401)
    key_file.write_text(f"{KEY}\n{NEW_KEY}\n", "utf-8")
    assert (status(KEY), status(NEW_KEY)) == (200, 200)
    key_file.write_text(f"{NEW_KEY}\n", "utf-8")
    assert (status(KEY), status(NEW_KEY)) == (401, 200)
    key_file.unlink()
    assert (status(KEY), status(NEW_KEY)) == (401, 200)
    key_file.write_text("")
    assert (status(KEY), status(NEW_KEY)) == (401, 401)


def test_openapi_describes_authentication(locked_app: FastAPI, app: FastAPI) -> None:
    schema = locked_app.openapi()
    schemes = schema["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert (schemes["header"]["in"], schemes["header"]["name"]) == ("header", "X-API-Key")
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == ("401" in operation["responses"]) == (path not in PROBES)
    assert "securitySchemes" not in app.openapi()["components"]


@pytest.mark.parametrize("content", ["", "# only a comment\n", None])
def test_a_key_file_without_keys_is_refused(tmp_path: Path, content: str | None, model: Model) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RefusedToStartError, match="LRP_API_KEYS_FILE"):
        create_app(Settings(api_keys_file=path), model)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "lrp.example.com"])
def test_an_address_other_than_the_loopback_requires_keys(host: str, key_file: Path, model: Model) -> None:
    with pytest.raises(RefusedToStartError, match="LRP_API_KEYS_FILE"):
        create_app(Settings(host=host), model)
    create_app(Settings(host=host, api_keys_file=key_file), model)
    create_app(Settings(host=host, allow_unauthenticated=True), model)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_loopback_needs_no_keys(host: str, model: Model) -> None:
    create_app(Settings(host=host), model)


def status(app: FastAPI, host: str) -> int:
    with TestClient(app) as client:
        return int(client.get("/livez", headers={"Host": host}).status_code)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:8000", "[::1]:8000", "10.2.3.4", "lrpserve:8000",
        "lrp.localhost:8000",
    ],
)  # fmt: skip
def test_hosts_that_are_not_in_public_dns_are_trusted(app: FastAPI, host: str) -> None:
    assert status(app, host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1].evil.example", "a:b:c", "a.b]"],
)
def test_unknown_hosts_are_refused(app: FastAPI, host: str) -> None:
    with TestClient(app) as client:
        response = client.get("/model", headers={"Host": host})
    assert response.status_code == 400
    assert "LRP_ALLOWED_HOSTS" in response.json()["detail"]


def test_a_host_longer_than_a_dns_name_is_refused_without_being_parsed_or_cached(model: Model) -> None:
    tracemalloc.start()
    with TestClient(create_app(Settings(), model)) as client:
        for parts in range(30_000, 30_010):
            assert client.get("/livez", headers={"Host": "a." * parts}).status_code == 400
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * 2**20  # storing all parent domains took 250 MiB


def test_allowed_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, model: Model) -> None:
    monkeypatch.setenv("LRP_ALLOWED_HOSTS", "lrp.example.com, *.Clinic.example")
    app = create_app(models=model)
    hosts = ("lrp.example.com", "a.b.clinic.example:80", "10.0.0.1", "clinic.example", "x.lrp.example.com")
    assert [status(app, host) for host in hosts] == [200, 200, 200, 400, 400]


def test_any_host_is_trusted_if_keys_are_required_or_all_hosts_are_allowed(
    locked_app: FastAPI, model: Model
) -> None:
    assert status(locked_app, "lrp.example.com") == 200
    assert status(create_app(Settings(allowed_hosts=("*",)), model), "lrp.example.com") == 200


def test_the_host_that_the_service_is_bound_to_is_trusted(model: Model) -> None:
    app = create_app(Settings(host="lrp.example.com", allow_unauthenticated=True), model)
    assert [status(app, host) for host in ("lrp.example.com", "lrp.example.org")] == [200, 400]


def test_cross_origin_requests_are_not_allowed(app: FastAPI) -> None:
    with TestClient(app) as client:
        preflight = client.options(
            "/explain", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        )
        response = client.get("/model", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 405
    assert not [
        name for answer in (preflight, response) for name in answer.headers if "access-control" in name
    ]


def test_aliases_of_readiness_give_the_same_answer(client: TestClient) -> None:
    assert [client.get(path).json() for path in (READY, *ALIASES)] == [{"status": "ready"}] * 4
