"""``GET /``: the web page. Only files in ``app/web`` are served.

Clients whose ``Accept`` does not name text/html, as browsers' does, get the liveness of KServe V1.
"""

import os
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.api.http.negotiation import names

FOLDER = Path(__file__).parents[2] / "web"
# No resources from other origins, no inline scripts or styles, no scripts from strings.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
ALIVE = {"status": "alive"}
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",  # cached, and revalidated by ETag
}


class PageFiles(StaticFiles):
    """Static files with the security headers of the page. Starlette handles ETag and ``If-None-Match``."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Return the file, or 304 if the browser's copy is current."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


def install(app: FastAPI) -> None:
    """Add the routes of the page at ``/`` and its files below ``/web``."""
    files = PageFiles(directory=FOLDER)

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:  # query parameters are ignored: links may have some
        response = (
            await files.get_response("index.html", request.scope)
            if names(request.headers.get("accept", ""), "text/html")
            else JSONResponse(ALIVE)
        )
        response.headers["Vary"] = "Accept"
        return response

    app.mount("/web", files, name="web")
