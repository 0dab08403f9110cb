"""Who gets in: API keys from a file, and the names that the service answers to. Pure ASGI."""

import base64
import hmac
import ipaddress
import logging
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http.errors import BadRequestError, UnauthorizedError
from app.errors import RefusedToStartError
from app.settings import Settings

log = logging.getLogger(__name__)

ANY_HOST = "*"
HOSTS_KEPT = 256
LONGEST_HOST = 260
"""Characters of the longest name that DNS has, with a dot behind it and a port. Others are not looked at: a
name of many parts has many parents.
"""
HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:[0-9]*)?")

KEY_FORMS = [
    Security(HTTPBearer(auto_error=False, scheme_name="bearer", description="One of the service's keys.")),
    Security(
        APIKeyHeader(
            name="X-API-Key", auto_error=False, scheme_name="header", description="One of the service's keys."
        )
    ),
]
"""For OpenAPI alone, so that Swagger's Authorize works: `RequireKey` does the checking, for every address."""


class KeyFile:
    """The keys in a file, one a line; lines that start with # are comments.

    Looked at with every request and read again when it has changed, so that keys are rotated by writing the
    file: first with both, later without the old one. Emptied, it lets nobody in. Gone, its last keys stay.
    """

    def __init__(self, path: Path) -> None:
        """Raises `RefusedToStartError` for a file that cannot be read or has no key."""
        self._path = path
        try:
            self._stamp, self._keys = _stamp(path), _read_keys(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedToStartError(
                f"LRP_API_KEYS_FILE: {path} cannot be read ({type(error).__name__})"
            ) from None
        if not self._keys:
            raise RefusedToStartError(f"LRP_API_KEYS_FILE: {path} has no key; write one a line")

    def admits(self, sent: bytes) -> bool:
        """Whether ``sent`` is one of the keys."""
        self._refresh()
        # All are compared, so that the time taken does not tell which.
        return sum(hmac.compare_digest(sent, key) for key in self._keys) > 0

    def _refresh(self) -> None:
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp, self._keys = stamp, _read_keys(self._path)
                log.info("API keys read again: %d", len(self._keys))
        except (OSError, UnicodeDecodeError) as error:
            log.warning("API keys cannot be read again (%s): the last ones stay", type(error).__name__)


class RequireKey:
    """Refuses requests without a key, except to the ``open_paths``."""

    def __init__(self, app: ASGIApp, keys: KeyFile, open_paths: Collection[str]) -> None:
        self._app = app
        self._keys = keys
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            sent = list(_credentials(Headers(scope=scope)))
            if not any(self._keys.admits(key) for key in sent):
                raise UnauthorizedError(
                    f"{'this key is not valid' if sent else 'a key is needed'}; send one of the service's keys "
                    "as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
                )
        await self._app(scope, receive, send)


class KnownHosts:
    """Refuses requests to names that are not the service's own.

    A web page can point a name of its own at 127.0.0.1 and have its visitors' browsers talk to what listens
    there (DNS rebinding); the Host header then has that name. It cannot do so with an IP address, a name
    without a dot or a *.localhost: no public DNS hands those out. They are always let in, which is what
    probes, port forwards and Compose's or Kubernetes' short service names need.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        """``names`` beyond those: exact, ``*.example.com`` for all below it, or ``*`` for any."""
        self._app = app
        self._names = {name.lower() for name in names}
        self._knows = lru_cache(HOSTS_KEPT)(self._is_known)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if len(host) > LONGEST_HOST or not self._knows(host):
                raise BadRequestError(
                    "the service does not go by the name in the Host header; use its IP address, or have the "
                    "name added to LRP_ALLOWED_HOSTS"
                )
        await self._app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        if ANY_HOST in self._names:
            return True
        parsed = HOST.fullmatch(host.lower())
        if parsed is None:
            return False
        name = parsed["name"].strip("[]").removesuffix(".")
        parents = name.split(".")[1:]
        below = {"*." + ".".join(parents[start:]) for start in range(len(parents))}
        return _is_nobodys(name) or not self._names.isdisjoint({name} | below)


def names_of(settings: Settings) -> tuple[str, ...]:
    """The names that the service goes by: those that are set; else any where keys guard it, as a page that
    points its name here has none; else the name that it is bound to.
    """
    if settings.allowed_hosts:
        return settings.allowed_hosts
    return (ANY_HOST,) if settings.api_keys_file else (settings.host,)


def refuse_open_doors(settings: Settings) -> None:
    """Raise `RefusedToStartError` where others could reach a service that asks for no key."""
    if settings.api_keys_file or settings.allow_unauthenticated or _is_loopback(settings.host):
        return
    raise RefusedToStartError(
        f"bound to {settings.host or 'every address'}, anybody who reaches it could use it: give it keys "
        "(LRP_API_KEYS_FILE, one a line), or say LRP_ALLOW_UNAUTHENTICATED=1 if something else keeps them out"
    )


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_keys(path: Path) -> list[bytes]:
    lines = (line.strip() for line in path.read_text("utf-8-sig").splitlines())
    return [line.encode() for line in lines if line and not line.startswith("#")]


def _credentials(headers: Headers) -> Iterator[bytes]:
    """Every key that was sent. Basic's password is what a browser asks its user for at /docs."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip().encode("latin-1")
    elif scheme.lower() == "basic":
        try:
            yield base64.b64decode(value).partition(b":")[2]
        except ValueError:  # not base64, or not even ASCII
            return
    if "x-api-key" in headers:
        yield headers["x-api-key"].encode("latin-1")


def _is_nobodys(name: str) -> bool:
    return "." not in name or name.endswith(".localhost") or _address(name) is not None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
