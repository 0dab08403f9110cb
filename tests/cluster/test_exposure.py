"""Keys are required where Serve runs already, since its proxies may listen on all addresses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import serve

from app.cluster.serve import _start
from app.errors import RefusedToStartError
from app.settings import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The options with which Serve is started on a cluster where it runs already."""
    options: list[dict[str, Any]] = []
    monkeypatch.setattr(
        serve, "status", lambda: SimpleNamespace(applications={}, proxies={"a node": "HEALTHY"})
    )
    monkeypatch.setattr(serve, "start", lambda **given: options.append(given))
    return options


def test_without_keys_the_service_is_not_added_to_a_serve_that_runs(started: list[dict[str, Any]]) -> None:
    with pytest.raises(RefusedToStartError, match="LRP_API_KEYS_FILE"):
        _start(Settings(host="127.0.0.1"))
    assert started == []


def test_with_keys_it_is(
    started: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _start(Settings(host="127.0.0.1", api_keys_file=tmp_path / "keys"))
    assert len(started) == 1
    assert "--host and --port are ignored" in caplog.text


def test_without_keys_it_is_where_that_is_allowed(started: list[dict[str, Any]]) -> None:
    _start(Settings(host="127.0.0.1", allow_unauthenticated=True))
    assert len(started) == 1
