"""``GET /reports``: finished surveys in the folder of the settings. Nothing is uploaded or computed here.

A report is a page with scripts of its own. It is shown in a sandbox, whose origin is no one's: its scripts can
neither send anything nor read what belongs to the service, such as a key that its page has asked for.
"""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from app.api.http.errors import NotFoundError
from app.api.http.files import HEADERS, Files
from app.api.http.negotiation import names
from app.api.http.query import none_at_all
from app.api.openapi import problem, problems
from app.api.reports_page import page_of
from app.survey.files import ITEMS, REPORT, SUMMARY
from app.survey.finished import DamagedReport, Report, ReportFolder, Reports

POLICY = (
    "sandbox allow-scripts allow-forms; "  # a form closes a dialog
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
REPORT_HEADERS = {**HEADERS, "Content-Security-Policy": POLICY}
PARQUET = "application/vnd.apache.parquet"
UNKNOWN = "no report 'mine' is here; GET /reports lists them"
TEXT = {"type": "string"}
EXAMPLE = {"data": "holdout.zip", "items": 10000, "accuracy": 0.93, "clusters": [{"class": "{{class}}"}]}
"""The beginning of a summary."""

ReportName = Annotated[
    str, PathParameter(description="Name of a report's folder, as `/reports` lists it.", examples=["holdout"])
]
router = APIRouter(tags=["reports"], dependencies=[Depends(none_at_all)], responses=problems(422))


async def _folder(request: Request) -> ReportFolder:
    return cast("ReportFolder", request.state.reports)


FolderDep = Annotated[ReportFolder, Depends(_folder)]


def _one(media_type: str, content: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route that answers with a file of one report."""
    return {200: {"content": {media_type: content}}, 404: problem(NotFoundError, UNKNOWN)}


def _example_of(model: type[BaseModel]) -> dict[str, Any]:
    return {name: (field.examples or [None])[0] for name, field in model.model_fields.items()}


# The routes are plain functions, which FastAPI runs on threads: they read files.


@router.get(
    "/reports",
    summary="Finished surveys",
    response_model=Reports,
    responses={
        200: {
            "content": {
                "application/json": {
                    "example": {"reports": [_example_of(Report)], "damaged": [_example_of(DamagedReport)]}
                },
                "text/html": {"schema": TEXT},
            }
        }
    },
)
def list_reports(request: Request, folder: FolderDep) -> Response:
    """What `lrpserve survey` found, the newest first: a page for browsers, else JSON. Folders of surveys that are
    damaged or not finished are said apart.
    """
    found = folder.all()
    wants_page = names(request.headers.get("accept", ""), "text/html")
    response = (
        HTMLResponse(page_of(found), headers=HEADERS)
        if wants_page
        else Response(found.model_dump_json(), media_type="application/json")
    )
    response.headers["Vary"] = "Accept"
    return response


@router.get(
    "/reports/{report}",
    summary="The report of a survey, a page",
    response_class=HTMLResponse,
    responses=_one("text/html", {"schema": TEXT}),
)
def get_report(request: Request, folder: FolderDep, report: ReportName) -> Response:
    """The page as `lrpserve survey` has written it. It loads nothing, and browsers show it in a sandbox."""
    return _file(request, folder, report, REPORT, "text/html; charset=utf-8")


@router.get(
    f"/reports/{{report}}/{SUMMARY}",
    summary="The findings of a survey as numbers",
    response_class=JSONResponse,
    responses=_one("application/json", {"schema": {"type": "object"}, "example": EXAMPLE}),
)
def get_report_summary(request: Request, folder: FolderDep, report: ReportName) -> Response:
    """Accuracy, confusion, clusters, means and notes."""
    return _file(request, folder, report, SUMMARY, "application/json")


@router.get(
    f"/reports/{{report}}/{ITEMS}",
    summary="The items of a survey",
    response_class=Response,
    responses=_one(PARQUET, {"schema": {"type": "string", "format": "binary"}}),
)
def get_report_items(request: Request, folder: FolderDep, report: ReportName) -> Response:
    """A Parquet file with a row for each item: path, label, prediction, probabilities, cluster, neighbours."""
    response = _file(request, folder, report, ITEMS, PARQUET)
    response.headers["Content-Disposition"] = "attachment"
    return response


def _file(request: Request, folder: ReportFolder, report: str, name: str, media_type: str) -> Response:
    """Return a file of a report, or 304; raises `NotFoundError`."""
    path = folder.find(report, name)
    if path is None:
        raise NotFoundError(f"no report {report!r} is here; GET /reports lists them")
    response = Files(folder.path, REPORT_HEADERS).file_response(path, path.stat(), request.scope)
    response.headers["Content-Type"] = media_type
    return response
