"""The path prefix below which a proxy publishes the service, ``root_path`` in ASGI."""

from collections.abc import Mapping
from typing import Any, cast

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def without_prefix(path: str, prefix: str) -> str:
    """Return ``path`` without ``prefix``, or as it is if it is not below the prefix."""
    is_below = path == prefix or path.startswith(prefix + "/")
    return path[len(prefix) :] if is_below else path


def local_path(scope: Mapping[str, Any], root_path: str = "") -> str:
    """Return the path of a request as the routes have it, without the prefix of the scope or ``root_path``."""
    return without_prefix(without_prefix(cast("str", scope["path"]), prefix_of(scope)), root_path)


def prefix_of(scope: Mapping[str, Any]) -> str:
    """Return the prefix of the application; mounted applications have a longer one as their ``root_path``."""
    return cast("str", scope.get("app_root_path", scope.get("root_path", "")))


class RootPath:
    """Accepts requests with and without the prefix, and sets ``root_path`` and ``path`` as ASGI defines them.

    A proxy may remove the prefix or leave it in place, and probes do not know it. The prefix is ``root_path`` of
    the scope if the server has set it (`app.server`, from ``X-Forwarded-Prefix``), else that of the settings.
    The prefix alone, without a slash, is redirected to the page, whose links are relative.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = local_path(scope, self._root_path)
        root_path = scope.get("root_path") or self._root_path
        scope.update(root_path=root_path, path=root_path + path)  # seen by outer middleware, too
        if path:
            await self._app(scope, receive, send)
        else:
            query = scope["query_string"].decode("latin-1")
            response = RedirectResponse(f"{root_path}/{'?' if query else ''}{query}")
            await response(scope, receive, send)
