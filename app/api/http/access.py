"""Access control as pure ASGI middleware: API keys from a file, and the host names that are accepted."""

import base64
import hmac
import ipaddress
import logging
import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http.errors import BadRequestError, UnauthorizedError
from app.api.http.root_path import local_path
from app.errors import RefusedToStartError
from app.settings import Settings

log = logging.getLogger(__name__)

ANY_HOST = "*"
HOST_CACHE_SIZE = 256
MAX_HOST_LENGTH = 260
"""Maximum length in characters of a Host header: the longest DNS name with a final dot and a port.

Longer ones are refused without being parsed, because memory for the parent domains of a name grows quadratically.
"""
HOST_PATTERN = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:[0-9]*)?")

SECURITY_SCHEMES = [
    Security(HTTPBearer(auto_error=False, scheme_name="bearer", description="One of the service's keys.")),
    Security(
        APIKeyHeader(
            name="X-API-Key", auto_error=False, scheme_name="header", description="One of the service's keys."
        )
    ),
]
"""For OpenAPI and the Authorize button of Swagger UI only. `RequireKey` checks the keys."""


class KeyFile:
    """API keys in a file, one on each line. Lines that start with # are comments.

    The file is checked with every request and read again when it has changed, so keys are rotated without a
    restart: add the new key, then remove the old one. If the file becomes empty, no key is valid. If it cannot be
    read any more, the keys that were read last remain valid.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; raises `RefusedToStartError` if it cannot be read or has no key."""
        self._path = path
        try:
            self._version, self._keys = _file_version(path), _read_keys(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RefusedToStartError(
                f"LRP_API_KEYS_FILE: {path} cannot be read ({type(error).__name__})"
            ) from None
        if not self._keys:
            raise RefusedToStartError(f"LRP_API_KEYS_FILE: {path} has no key; write one a line")

    def contains(self, candidate: bytes) -> bool:
        """Return whether ``candidate`` is one of the keys."""
        self._refresh()
        # Compares with all keys in constant time, so the time does not depend on which one matches.
        return sum(hmac.compare_digest(candidate, key) for key in self._keys) > 0

    def _refresh(self) -> None:
        try:
            version = _file_version(self._path)
            if version != self._version:
                self._version, self._keys = version, _read_keys(self._path)
                log.info("API keys read again: %d", len(self._keys))
        except (OSError, UnicodeDecodeError) as error:
            log.warning("API keys cannot be read again (%s): the last ones stay", type(error).__name__)


def has_key(keys: KeyFile | None, headers: Headers) -> bool:
    """Return whether a request with these ``headers`` may use the service; any may if there are no ``keys``."""
    return keys is None or any(keys.contains(key) for key in _credentials(headers))


class RequireKey:
    """Refuses requests without a valid key with 401."""

    def __init__(self, app: ASGIApp, keys: KeyFile, open_paths: Collection[str]) -> None:
        """Require a key for all paths but ``open_paths``."""
        self._app = app
        self._keys = keys
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and local_path(scope) not in self._open_paths:
            sent = list(_credentials(Headers(scope=scope)))
            if not any(self._keys.contains(key) for key in sent):
                raise UnauthorizedError(
                    f"{'this key is not valid' if sent else 'a key is needed'}; send one of the service's keys "
                    "as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
                )
        await self._app(scope, receive, send)


class TrustedHosts:
    """Refuses requests whose Host header has an unknown name with 400, against DNS rebinding.

    In that attack, a web page makes its own domain resolve to 127.0.0.1, so its scripts can call services on the
    visitor's machine; the Host header has the name of that domain. IP addresses, names without a dot and names
    below ``localhost`` cannot be such a domain. They are always accepted, because probes, port forwarding,
    Compose and Kubernetes use them; Starlette's `TrustedHostMiddleware` has no such exception.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        """Accept ``names`` as well: exact names, ``*.example.com`` for all subdomains, ``*`` for any name."""
        self._app = app
        self._names = {name.lower() for name in names}
        self._is_trusted = lru_cache(HOST_CACHE_SIZE)(self._check)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            hosts = Headers(scope=scope).getlist("host")
            _check_number(hosts, scope["http_version"])
            host = "".join(hosts)
            if len(host) > MAX_HOST_LENGTH or not self._is_trusted(host):
                raise BadRequestError(
                    "the Host header has an unknown name; use the service's IP address, or have the name added "
                    "to LRP_ALLOWED_HOSTS"
                )
        await self._app(scope, receive, send)

    def _check(self, host: str) -> bool:
        if ANY_HOST in self._names:
            return True
        parsed = HOST_PATTERN.fullmatch(host.lower())
        if parsed is None:
            return False
        name = parsed["name"].strip("[]").removesuffix(".")
        parents = name.split(".")[1:]
        wildcards = {"*." + ".".join(parents[start:]) for start in range(len(parents))}
        return _is_not_in_public_dns(name) or not self._names.isdisjoint({name} | wildcards)


def _check_number(hosts: Sequence[str], http_version: str) -> None:
    """Raise `BadRequestError` unless there is one Host, or none in HTTP/1.0 (RFC 9112, 3.2)."""
    if len(hosts) > 1 or (not hosts and http_version != "1.0"):
        raise BadRequestError(f"the request has {len(hosts) or 'no'} Host headers; send exactly one")


def trusted_names(settings: Settings) -> tuple[str, ...]:
    """Return the names that `TrustedHosts` accepts.

    These are the ``allowed_hosts`` of the settings. By default, any name is accepted if requests need a key,
    which a DNS rebinding attack does not have; otherwise only the name that the service is bound to.
    """
    if settings.allowed_hosts:
        return settings.allowed_hosts
    return (ANY_HOST,) if settings.api_keys_file else (settings.host,)


def refuse_unauthenticated_exposure(settings: Settings) -> None:
    """Raise `RefusedToStartError` if other machines could use the service without a key."""
    if settings.api_keys_file or settings.allow_unauthenticated or _is_loopback(settings.host):
        return
    raise RefusedToStartError(
        f"bound to {settings.host or 'every address'}, the service could be used from other machines without a "
        "key: set LRP_API_KEYS_FILE to a file with keys, one a line, or LRP_ALLOW_UNAUTHENTICATED=1 if access is "
        "restricted in another way"
    )


def _file_version(path: Path) -> tuple[int, int, int]:
    """Return values that change when the file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_keys(path: Path) -> list[bytes]:
    lines = (line.strip() for line in path.read_text("utf-8-sig").splitlines())
    return [line.encode() for line in lines if line and not line.startswith("#")]


def _credentials(headers: Headers) -> Iterator[bytes]:
    """Yield all keys in the headers. Browsers send a key as the password of Basic authentication."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        yield value.strip().encode("latin-1")
    elif scheme.lower() == "basic":
        try:
            yield base64.b64decode(value).partition(b":")[2]
        except ValueError:  # not base64, or not ASCII
            return
    if "x-api-key" in headers:
        yield headers["x-api-key"].encode("latin-1")


def _is_not_in_public_dns(name: str) -> bool:
    return "." not in name or name.endswith(".localhost") or _address(name) is not None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
