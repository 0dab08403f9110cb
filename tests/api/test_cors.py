"""Pages of other sites: what browsers send, and what they may read."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings

ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, x-request-id",
}
ALLOWED = "access-control-allow-origin"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text("secret")
    return path


def test_by_default_no_origin_is_allowed(client: TestClient) -> None:
    assert ALLOWED not in client.get("/livez", headers={"Origin": ORIGIN}).headers
    assert client.options("/explain", headers=PREFLIGHT).status_code == 405


def test_a_named_origin_is_allowed_with_keys_and_its_preflight_needs_none(
    model: Model, keys: Path, cat_png: bytes
) -> None:
    settings = Settings(cors_origins=(ORIGIN, "https://b.example"), api_keys_file=keys)
    with TestClient(create_app(settings, model)) as client:
        preflight = client.options("/explain", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers[ALLOWED] == ORIGIN
        assert "POST" in preflight.headers["access-control-allow-methods"]
        other = client.options("/explain", headers={**PREFLIGHT, "Origin": "https://evil.example"})
        assert other.status_code == 400
        assert ALLOWED not in other.headers

        sent = {"Origin": ORIGIN, "Content-Type": "image/png", "Accept": "image/png"}
        refused = client.post("/explain", content=cat_png, headers=sent)
        assert (refused.status_code, refused.headers[ALLOWED]) == (401, ORIGIN)
        answer = client.post("/explain", content=cat_png, headers={**sent, "X-API-Key": "secret"})
        assert (answer.status_code, answer.headers[ALLOWED]) == (200, ORIGIN)
        assert "Origin" in answer.headers["vary"]
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        sent_back = {name for name in answer.headers if name.startswith("x-") or name == "server-timing"}
        assert sent_back <= {name.lower() for name in exposed}


def test_any_origin_is_allowed_only_without_keys(model: Model, keys: Path) -> None:
    with TestClient(create_app(Settings(cors_origins=("*",)), model)) as client:
        assert client.get("/livez", headers={"Origin": ORIGIN}).headers[ALLOWED] == "*"
    with pytest.raises(ValidationError, match="only without keys"):
        Settings(cors_origins=("*",), api_keys_file=keys)
