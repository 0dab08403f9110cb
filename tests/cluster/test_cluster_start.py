"""Clusters that cannot be used."""

import socket

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
