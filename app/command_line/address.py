"""Whether the service can listen on its address, checked before the model is loaded.

uvicorn reports it as well, but seconds later and without the name of the option.
"""

import errno
import socket
import sys
from typing import Any

from app.errors import RefusedToStartError
from app.settings import Settings, variable

REFUSED_PORT = (errno.EADDRINUSE, errno.EACCES)
"""Errors of a port that another program listens on, or that needs privileges.

Others may concern one of several addresses only, such as IPv6 where it is disabled, and are left to uvicorn.
"""


def check_address(settings: Settings) -> None:
    """Raise `RefusedToStartError` if the host does not exist, or if its port is in use or needs privileges."""
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RefusedToStartError(f"--host: {host}: {error.strerror}") from None
    for family, kind, protocol, _, address in found:
        try:
            _bind(family, kind, protocol, address)
        except OSError as error:
            if error.errno in REFUSED_PORT:
                raise RefusedToStartError(
                    f"--port: {port} of {host}: {error.strerror}; choose another one with --port or "
                    f"{variable('port')}, or 0 for a free one"
                ) from None


def _bind(family: int, kind: int, protocol: int, address: Any) -> None:
    """Bind a socket as asyncio does, and close it; raises `OSError`."""
    with socket.socket(family, kind, protocol) as probe:
        if sys.platform != "win32":  # there it would share the port of another process
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
