"""``GET /redoc``: the reference, changed to load nothing from other hosts."""

from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html

LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_IMAGE = "data:,"  # ReDoc omits a logo that cannot be loaded
SCRIPT = "/redoc/redoc.standalone.js"


def install(app: FastAPI) -> None:
    """Add the routes of ReDoc, whose script is in the package ``fastapi_offline``."""

    @app.get("/redoc", include_in_schema=False)
    async def redoc(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_redoc_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title}: reference",
            redoc_js_url=f"{root}{SCRIPT}",
            redoc_favicon_url=f"{root}/web/icon.svg",
            with_google_fonts=False,
        )

    @app.get(SCRIPT, include_in_schema=False)
    async def redoc_script() -> Response:
        return Response(_script(), media_type="text/javascript", headers={"Cache-Control": "max-age=3600"})


@cache
def _script() -> str:
    bundle = files("fastapi_offline") / "static" / "redoc.standalone.js"
    return bundle.read_text(encoding="utf-8").replace(LOGO, NO_IMAGE)
