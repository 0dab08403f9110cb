"""Which cluster is used, and clusters that cannot be used."""

import socket
from typing import Any

import pytest

from app.cluster.start import cluster
from app.errors import DataError


def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with (
            pytest.raises(DataError, match=f"--address: {address} cannot be reached: Connection refused"),
            cluster(address),
        ):
            pass


@pytest.mark.parametrize(
    ("address", "variable", "expected"),
    [
        (None, None, "local"),  # not None, with which Ray joins a cluster that runs on this machine
        (None, "", "local"),
        (None, "auto", "auto"),
        ("auto", None, "auto"),
        ("local", "auto", "local"),
    ],
)
def test_a_cluster_of_its_own_is_started_unless_another_one_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str | None, variable: str | None, expected: str
) -> None:
    ray = pytest.importorskip("ray")
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "init", lambda **options: calls.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    with cluster(address) as is_own:
        assert is_own is (expected == "local")
    (options,) = calls
    assert options["address"] == expected
    assert ("object_store_memory" in options) is is_own  # Ray refuses it for a cluster that it joins
