"""Connects to a Ray cluster, or starts one on this machine."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator

from app.errors import DataError

LOCAL, LOOPBACK = "local", "127.0.0.1"
OBJECT_STORE_BYTES = 2**28
"""Of a cluster that is started here; what does not fit is written to disk."""

CONNECT_S = 5.0


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[bool]:
    """Use the cluster at ``address``, as ``host:6379`` or ``auto``; ``None``, ``local``: one of this machine.

    The value is whether it was started here. Such a one ends with the block. Ray listens on ports of all
    addresses, and requires a token by default. Ray's environment variables apply, such as ``RAY_ADDRESS``. Raises
    `DataError` if the cluster cannot be reached.
    """
    address = (
        address or os.environ.get("RAY_ADDRESS") or LOCAL
    )  # else Ray would join one that runs here already
    _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    is_own = address == LOCAL
    options: dict[str, object] = {"address": address}
    if is_own:
        options |= {
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_node_ip_address": LOOPBACK,
        }
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)  # type: ignore[arg-type]
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DataError(f"--address: no Ray cluster can be used: {error}") from None
    try:
        yield is_own
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise `DataError` if nothing listens at ``HOST:PORT``, for which Ray would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # such as auto
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise DataError(f"--address: {address} cannot be reached: {error.strerror or error}") from None
