"""``GET /``: the web page. Only files in ``app/web`` are served.

Clients whose ``Accept`` does not name text/html, as browsers' does, get the liveness of KServe V1.
"""

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from app.api.http.files import HEADERS, Files
from app.api.http.negotiation import names

FOLDER = Path(__file__).parents[2] / "web"
ALIVE = {"status": "alive"}


def install(app: FastAPI) -> None:
    """Add the routes of the page at ``/`` and its files below ``/web``."""
    files = Files(FOLDER, HEADERS)

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
