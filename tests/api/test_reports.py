"""Finished surveys over HTTP."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import serving
from fake_model import DESCRIPTION, FakeModel
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from playwright.sync_api import expect, sync_playwright
from starlette.testclient import TestClient
from surveyed import surveyed, write_all
from test_about import test_openapi_describes_every_parameter_and_error as every_parameter_and_error
from test_access import KEY, routes
from test_examples import (
    test_every_parameter_has_a_description_an_example_and_a_range as every_parameter_has_an_example,
)

from app.errors import RefusedToStartError
from app.main import create_app
from app.settings import Settings
from app.survey.finished import Reports

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NAME = "first & <best>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report, and one that is not finished."""
    root = tmp_path_factory.mktemp("reports")
    surveyed(write_all(root / "data", 6), root / NAME)
    shutil.copytree(root / NAME, root / "damaged")
    (root / "damaged" / "report.html").unlink()
    return root


@pytest.fixture(scope="module")
def reporting(folder: Path) -> FastAPI:
    return create_app(Settings(reports=folder), FakeModel())


@pytest.fixture(scope="module")
def client(reporting: FastAPI) -> Iterator[TestClient]:
    with TestClient(reporting) as client:
        yield client


def test_reports_are_listed_as_json(client: TestClient, folder: Path) -> None:
    answer = client.get("/reports")
    summary = json.loads((folder / NAME / "summary.json").read_text())
    assert answer.headers["Vary"] == "Accept"
    assert answer.json() == {
        "reports": [
            {
                "name": NAME,
                "title": "Survey of quadrants on data",
                "date": summary["date"],
                "model": "quadrants",
                "version": DESCRIPTION.card.version,
                "items": 24,
                "accuracy": 1,
                "suspicion": max(one["suspicion"] for one in summary["clusters"]),
            }
        ],
        "damaged": [
            {
                "name": "damaged",
                "error": "it has no report.html, which a survey writes when it is finished",
            }
        ],
    }


def test_reports_are_listed_as_a_page(client: TestClient) -> None:
    answer = client.get("/reports", headers=PAGE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "<best>" not in answer.text
    assert '<a href="reports/first%20%26%20%3Cbest%3E">Survey of quadrants on data</a>' in answer.text
    assert "damaged is left out: it has no report.html" in answer.text


def test_an_empty_folder_is_a_page(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(reports=tmp_path), FakeModel())) as client:
        assert client.get("/reports").json() == {"reports": [], "damaged": []}
        assert "lrpserve survey DATA" in client.get("/reports", headers=PAGE).text


def test_a_report_is_shown_in_a_sandbox(client: TestClient, folder: Path) -> None:
    answer = client.get(f"/reports/{NAME}")
    policy = answer.headers["Content-Security-Policy"]
    assert answer.content == (folder / NAME / "report.html").read_bytes()
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert policy.startswith("sandbox allow-scripts allow-forms; default-src 'none'; ")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy  # that of default-src


def test_the_files_of_a_report_are_offered(client: TestClient, folder: Path, tmp_path: Path) -> None:
    summary = client.get(f"/reports/{NAME}/summary.json")
    items = client.get(f"/reports/{NAME}/items.parquet")
    assert summary.json() == json.loads((folder / NAME / "summary.json").read_text())
    assert items.headers["Content-Type"] == "application/vnd.apache.parquet"
    assert items.headers["Content-Disposition"] == "attachment"
    (tmp_path / "items.parquet").write_bytes(items.content)
    assert pq.read_table(tmp_path / "items.parquet").num_rows == 24


def test_browsers_keep_a_report_until_it_changes(client: TestClient) -> None:
    first = client.get(f"/reports/{NAME}")
    again = client.get(f"/reports/{NAME}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "damaged",
        "data",
        "..",
        "%2e%2e",
        "%00",
        "..%2f..",
        "damaged/summary.json",
        f"{NAME}/relevance.h5",
    ],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    answer = client.get(f"/reports/{path}")
    assert answer.status_code in (404, 200 if path == ".." else 404)  # clients resolve dots: that is the page
    assert "PAR1" not in answer.text
    if path in ("nothing", "damaged"):
        assert answer.json()["detail"] == f"no report '{path}' is here; GET /reports lists them"


def test_dots_on_the_wire_lead_nowhere(client: TestClient) -> None:
    for path in ("/reports/../summary.json", "/reports/%2e%2e/summary.json", "/reports/./summary.json"):
        request = client.build_request("GET", "/reports")
        request.url = request.url.copy_with(raw_path=path.encode())
        assert client.send(request).status_code == 404


def test_queries_and_uploads_are_refused(client: TestClient) -> None:
    for path in ("/reports", f"/reports/{NAME}", f"/reports/{NAME}/summary.json"):
        assert client.get(path, params={"x": 1}).status_code == 422
        assert client.post(path, content=b"x").status_code == 405


def test_reports_need_a_key_if_others_do(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEY)
    app = create_app(Settings(reports=folder, api_keys_file=tmp_path / "keys"), FakeModel())
    addresses = {path.replace("{report}", NAME) for _, path in routes(app) if path.startswith("/reports")}
    assert len(addresses) == 4
    with TestClient(app) as client:
        for path in addresses:
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"X-API-Key": KEY}).status_code == 200


def test_a_report_works_in_its_sandbox(reporting: FastAPI) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with serving(Settings(), reporting) as server, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        faults: list[str] = []
        page.on("console", lambda line: faults.append(line.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.port}")
        page.get_by_role("link", name="Reports").click()
        assert Axe().run(page).response["violations"] == []
        page.get_by_role("link", name="Survey of quadrants on data").click()
        page.locator(".tile").first.click()
        expect(page.locator("#item img").first).to_be_visible()
        page.get_by_label("Close").click()
        expect(page.locator("#item")).to_be_hidden()
        assert page.evaluate("origin") == "null"
        assert faults == []


def test_there_are_no_addresses_of_reports_without_a_folder() -> None:
    app = create_app(Settings(), FakeModel())
    assert not [path for path in app.openapi()["paths"] if path.startswith("/reports")]
    with TestClient(app) as client:
        assert client.get("/reports").status_code == 404


def test_a_folder_that_does_not_exist_keeps_the_service_from_starting(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match="LRP_REPORTS"):
        create_app(Settings(reports=tmp_path / "missing"), FakeModel())


def test_openapi_describes_reports(reporting: FastAPI) -> None:
    schema = reporting.openapi()
    assert [error.message for error in OpenAPIV31SpecValidator(schema).iter_errors()] == []
    listed = schema["paths"]["/reports"]["get"]["responses"]["200"]["content"]
    assert set(listed) == {"application/json", "text/html"}
    every_parameter_and_error(reporting)
    every_parameter_has_an_example(reporting)
    example = listed["application/json"]["example"]
    assert Reports.model_validate(example).model_dump() == example
    assert example["reports"][0]["title"] == "Survey of quadrants on holdout.zip"
    summary = schema["paths"]["/reports/{report}/summary.json"]["get"]["responses"]["200"]["content"]
    assert summary["application/json"]["example"]["clusters"][0]["class"] in DESCRIPTION.card.classes
