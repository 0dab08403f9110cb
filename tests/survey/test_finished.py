"""Finished surveys in a directory, of which some are no surveys, damaged or elsewhere."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from app.errors import RefusedToStartError
from app.survey.finished import ReportFolder

SUMMARY = {
    "data": "a.zip",
    "date": "2026-11-28",
    "model": {"name": "quadrants", "version": "0123"},
    "items": 12,
    "accuracy": None,
    "clusters": [{"suspicion": None}, {"suspicion": 0.25}, {"suspicion": 0.5}],
}


def write_report(folder: Path, **changed: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<p>found</p>")
    (folder / "items.parquet").write_bytes(b"PAR1")
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, **changed}))
    return folder


def damage_of(root: Path) -> dict[str, str]:
    found = ReportFolder(root).all()
    assert found.reports == []
    return {one.name: one.error for one in found.damaged}


def test_reports_are_listed_with_the_newest_first(tmp_path: Path) -> None:
    for name, date in (("a", "2026-11-01"), ("c", "2026-12-01"), ("b", "2026-12-01")):
        write_report(tmp_path / name, date=date)
    (tmp_path / "no-survey").mkdir()
    (tmp_path / "file.txt").write_text("")
    found = ReportFolder(tmp_path).all()
    assert [one.name for one in found.reports] == ["b", "c", "a"]
    assert found.damaged == []
    assert found.reports[0].model_dump() == {
        "name": "b",
        "title": "Survey of quadrants on a.zip",
        "date": "2026-12-01",
        "model": "quadrants",
        "version": "0123",
        "items": 12,
        "accuracy": None,
        "suspicion": 0.5,
    }


def test_a_report_that_changes_is_read_again(tmp_path: Path) -> None:
    folder = write_report(tmp_path / "a")
    reports = ReportFolder(tmp_path)
    assert reports.all().reports[0].items == 12
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, "items": 1234, "clusters": []}))
    (again,) = reports.all().reports
    assert (again.items, again.suspicion) == (1234, None)


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("{", "summary.json: Invalid JSON: "),
        ("[" * 10_000, "summary.json: Invalid JSON: "),
        ("\udcff", "summary.json: Invalid JSON: "),
        ("{}", "summary.json: data: Field required"),
        (
            json.dumps({**SUMMARY, "items": -1}),
            "summary.json: items: Input should be greater than or equal to 0",
        ),
        (
            json.dumps({**SUMMARY, "accuracy": float("nan")}),
            "summary.json: accuracy: Input should be a finite number",
        ),
        (
            json.dumps({**SUMMARY, "clusters": [{}]}),
            "summary.json: clusters.0.suspicion: Field required",
        ),
    ],
)
def test_a_summary_that_cannot_be_read_is_said(tmp_path: Path, written: str, error: str) -> None:
    folder = write_report(tmp_path / "a")
    (folder / "summary.json").write_bytes(written.encode(errors="surrogateescape"))
    assert damage_of(tmp_path)["a"].startswith(error)
    assert ReportFolder(tmp_path).find("a", "report.html") is None


def test_a_survey_that_is_not_finished_is_said(tmp_path: Path) -> None:
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "relevance.h5").write_bytes(b"")
    folder = write_report(tmp_path / "almost")
    (folder / "report.html").unlink()
    assert damage_of(tmp_path) == {
        "almost": "it has no report.html, which a survey writes when it is finished",
        "running": "it has no report.html and no summary.json and no items.parquet, which a survey writes when "
        "it is finished",
    }


def test_links_out_of_the_directory_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "reports"
    outside = write_report(tmp_path / "outside")
    inside = write_report(root / "inside")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    (inside / "report.html").unlink()
    (inside / "report.html").symlink_to(outside / "report.html")
    assert damage_of(root) == {
        "folder": "it is a link out of the folder of reports, and is not followed",
        "inside": "it has no report.html, which a survey writes when it is finished",
    }


def test_links_within_the_directory_are_reports(tmp_path: Path) -> None:
    write_report(tmp_path / "reports" / "a")
    (tmp_path / "reports" / "latest").symlink_to("a")
    (tmp_path / "link").symlink_to("reports")
    reports = ReportFolder(tmp_path / "link")
    assert [one.name for one in reports.all().reports] == ["a", "latest"]
    found = reports.find("latest", "report.html")
    assert found is not None
    assert found.read_text() == "<p>found</p>"


@pytest.mark.parametrize("name", ["", ".", "..", "a/../a", "/", "a\0", "b", "a" * 5000, "../reports/a"])
def test_a_name_is_that_of_a_folder(tmp_path: Path, name: str) -> None:
    write_report(tmp_path / "reports" / "a")
    (tmp_path / "reports" / "b").mkdir()
    write_report(tmp_path / "other")
    reports = ReportFolder(tmp_path / "reports")
    assert reports.find("a", "report.html") is not None
    assert reports.find(name, "report.html") is None


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have names in Unicode only")
def test_a_name_that_is_no_text_is_said(tmp_path: Path) -> None:
    write_report(tmp_path / os.fsdecode(b"caf\xe9"))
    assert damage_of(tmp_path) == {"caf\\xe9": "its name is not UTF-8; rename it"}


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match=r"^LRP_REPORTS: .*missing is not a folder$"):
        ReportFolder(tmp_path / "missing")
