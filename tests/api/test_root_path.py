"""The service below a path prefix, behind a real nginx and by itself."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from conftest import Server, serving
from nginx import NAME, PREFIX, nginx, passing_on, recipe, trusting
from pydantic import ValidationError
from starlette.testclient import TestClient

from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings

LINK = re.compile(r"""(?:href|src)="([^"#]+)"|url: '([^']+)'|spec-url="([^"]+)\"""")
PNG = {"Content-Type": "image/png"}
HOSTS = (NAME,)
SETTINGS = {
    "removed": Settings(allowed_hosts=HOSTS),
    "passed on": Settings(allowed_hosts=HOSTS, root_path=PREFIX),
}
RECIPES = {"removed": recipe(), "passed on": passing_on(recipe())}


@dataclass(frozen=True)
class Published:
    """The service behind nginx."""

    client: httpx.Client
    """Of the address with the prefix."""
    server: Server


@pytest.fixture(scope="module", params=list(RECIPES))
def published(
    request: pytest.FixtureRequest, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("nginx")
    # With a folder of reports, because the page links to them.
    settings = SETTINGS[request.param].model_copy(update={"reports": tmp_path_factory.mktemp("reports")})
    with ExitStack() as stack:
        server = stack.enter_context(serving(settings, create_app(settings, model)))
        url = stack.enter_context(nginx(RECIPES[request.param], server.port, folder))
        client = httpx.Client(
            base_url=url, verify=trusting(folder), headers={"Host": NAME}, timeout=60, follow_redirects=True
        )
        stack.enter_context(client)
        while client.get("/readyz").status_code == 503:
            pass  # the warm-up runs between the requests
        yield Published(client, server)


def links(page: httpx.Response) -> list[str]:
    found = ["".join(groups) for groups in LINK.findall(page.text)]
    return [link for link in found if not link.startswith("data:")]


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/reports"])
def test_every_link_of_a_page_stays_below_the_prefix_and_works(published: Published, path: str) -> None:
    page = published.client.get(path, headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    found = links(page)
    assert found
    for link in found:
        url = page.url.join(link)
        assert url.path.startswith(f"{PREFIX}/")
        assert published.client.get(url).status_code == 200, link


def test_openapi_names_the_prefix_as_its_server(published: Published) -> None:
    described = published.client.get("/openapi.json").json()
    assert described["servers"] == [{"url": PREFIX}]
    direct = httpx.get(f"http://127.0.0.1:{published.server.port}/openapi.json", timeout=60).json()
    assert list(described["paths"]) == list(direct["paths"])


def test_the_prefix_without_a_slash_leads_to_the_page(published: Published) -> None:
    address = str(published.client.base_url).rstrip("/")
    answer = published.client.get(httpx.URL(address), follow_redirects=False)
    target = httpx.URL(answer.headers["location"])
    assert answer.is_redirect
    assert (target.scheme, target.host, target.path) == ("https", NAME, f"{PREFIX}/")


def test_a_picture_is_explained_as_without_a_proxy(published: Published, cat_png: bytes) -> None:
    options = {"rule": "gamma", "format": "npy"}
    answer = published.client.post("/explain", params=options, content=cat_png, headers=PNG)
    direct = httpx.post(
        f"http://127.0.0.1:{published.server.port}/explain",
        params=options,
        content=cat_png,
        headers=PNG,
        timeout=60,
    )
    assert answer.status_code == 200
    assert answer.content == direct.content
    assert answer.headers["X-Prediction"] == "cat"


def test_errors_of_the_protocols_keep_their_form(published: Published) -> None:
    assert set(published.client.get("/v2/models/other").json()) == {"error"}
    missing = published.client.get("/predict/")
    assert missing.headers["content-type"] == "application/problem+json"
    assert f"; {PREFIX}/docs lists" in missing.json()["detail"]
    assert f"; {PREFIX}/docs lists" in published.client.get("/web/none").json()["detail"]


def test_the_service_answers_for_a_body_over_its_limit_and_takes_one_below(
    published: Published, cat_png: bytes
) -> None:
    small = published.client.post("/predict", content=cat_png + bytes(4 * 2**20), headers=PNG)
    assert small.status_code == 200
    large = published.client.post("/predict", content=cat_png + bytes(8 * 2**20), headers=PNG)
    assert large.status_code == 413
    assert large.headers["content-type"] == "application/problem+json"


def test_a_name_that_is_not_allowed_is_refused(published: Published) -> None:
    answer = published.client.get("/model", headers={"Host": "other.example.com"})
    assert answer.status_code == 400
    assert "LRP_ALLOWED_HOSTS" in answer.json()["detail"]


# Without a proxy


def servers(port: int, prefix: str) -> object:
    answer = httpx.get(
        f"http://127.0.0.1:{port}/openapi.json", headers={"X-Forwarded-Prefix": prefix}, timeout=60
    )
    return answer.json().get("servers")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("/xai", "/xai"),
        ("/xai/", "/xai"),
        ("/a/b-c", "/a/b-c"),
        ("/", None),
        ("xai", None),
        ("//evil.example", None),
        ("/../x", None),
        ('/x"><script>', None),
        ("/a, /b", None),
        ("/" + 300 * "x", None),
    ],
)
def test_a_trusted_proxy_names_the_prefix_if_it_is_one(
    server: Server, prefix: str, expected: str | None
) -> None:
    assert servers(server.port, prefix) == (expected and [{"url": expected}])


def test_other_clients_do_not_name_the_prefix(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1, 198.51.100.0/24")
    settings = Settings()
    with serving(settings, create_app(settings, model)) as server:
        assert servers(server.port, PREFIX) is None
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.0/8")
    with serving(settings, create_app(settings, model)) as server:
        assert servers(server.port, PREFIX) == [{"url": PREFIX}]


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_with_the_setting_requests_are_accepted_with_and_without_the_prefix(
    model: Model, cat_png: bytes, tmp_path: Path, prefix: str
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret")
    settings = Settings(root_path="/xai/", api_keys_file=keys)
    with TestClient(create_app(settings, model)) as client:
        assert client.get(f"{prefix}/livez").status_code == 200  # without a key
        assert client.get(f"{prefix}/model").status_code == 401
        client.headers["X-API-Key"] = "secret"
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": PREFIX}]
        assert client.post(f"{prefix}/predict", content=cat_png, headers=PNG).status_code == 200
        assert set(client.get(f"{prefix}/v1/models/none").json()) == {"error"}
        assert f'"{PREFIX}/static-offline-docs/' in client.get(f"{prefix}/docs").text


def test_the_prefix_alone_is_redirected_without_a_host_name(model: Model) -> None:
    with TestClient(create_app(Settings(root_path=PREFIX), model), follow_redirects=False) as client:
        answer = client.get(f"{PREFIX}?a=1")
        assert (answer.status_code, answer.headers["location"]) == (307, f"{PREFIX}/?a=1")
        assert answer.headers["x-request-id"]
        assert client.get(f"{PREFIX}x/livez").status_code == 404


@pytest.mark.parametrize("path", ["xai", "//xai", "/x y", "/xai?", "https://lrp.example.com/xai"])
def test_a_setting_that_is_no_prefix_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="such as /xai"):
        Settings(root_path=path)
