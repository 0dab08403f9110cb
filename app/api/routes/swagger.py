"""``GET /docs``: Swagger UI, with the request body, where a picture is chosen, above the optional parameters."""

from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html

STYLE = "/docs/swagger-ui.css"
SCRIPT = "/static-offline-docs/swagger-ui-bundle.js"
BODY_FIRST = """
.swagger-ui .opblock-section:has(> .opblock-section-request-body) { display: flex; flex-direction: column; }
.swagger-ui .opblock-section > .opblock-section-request-body { order: -1; }
"""


def install(app: FastAPI) -> None:
    """Add the routes of Swagger UI, whose files are in the package ``fastapi_offline``."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title}: try the API",
            swagger_js_url=f"{root}{SCRIPT}",
            swagger_css_url=f"{root}{STYLE}",
            swagger_favicon_url=f"{root}/web/icon.svg",
            swagger_ui_parameters=app.swagger_ui_parameters,
        )

    @app.get(STYLE, include_in_schema=False)
    async def style() -> Response:
        return Response(_style(), media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@cache
def _style() -> str:
    sheet = files("fastapi_offline") / "static" / "swagger-ui.css"
    return sheet.read_text(encoding="utf-8") + BODY_FIRST
