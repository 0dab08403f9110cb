"""The folder that a survey writes, also where it is interrupted."""

import os
from pathlib import Path

import pytest
import surveyed_tables
import surveyed_texts
from surveyed import surveyed, write_all

from app.survey import output
from app.survey.files import REPORT
from app.survey.findings import Findings
from app.survey.finished import DamagedReport, ReportFolder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_all(tmp_path / "data", 2)


def test_a_survey_that_fails_while_it_writes_leaves_no_report(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "surveys" / "one"
    with monkeypatch.context() as context:
        context.setattr(output, "write_report", _write_half)
        with pytest.raises(KeyboardInterrupt):
            surveyed(data, folder)
    assert names(folder) == {".unfinished", "relevance.h5"}
    (damaged,) = ReportFolder(folder.parent).all().damaged
    assert isinstance(damaged, DamagedReport)
    surveyed(data, folder)
    assert names(folder) == {"items.parquet", "relevance.h5", "report.html", "summary.json", "virelay"}
    assert len(ReportFolder(folder.parent).all().reports) == 1


def test_the_files_of_an_earlier_survey_stay_until_all_new_ones_are_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveyed(data, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*") if path.suffix != ".h5"}
    monkeypatch.setattr(output, "write_report", _write_half)
    with pytest.raises(KeyboardInterrupt):
        surveyed(data, tmp_path / "out", "hdbscan")
    assert {path: path.read_bytes() for path in before} == before


def test_a_survey_that_is_interrupted_between_files_has_no_report(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveyed(data, tmp_path / "out")
    replace, left = Path.replace, [1]

    def interrupted(self: Path, target: Path) -> Path:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        surveyed(data, tmp_path / "out", "hdbscan")
    assert REPORT not in names(tmp_path / "out")


@pytest.mark.parametrize("kind", ["pictures", "texts", "rows"])
def test_names_that_are_no_text_are_written_as_escapes(tmp_path: Path, kind: str) -> None:
    name = os.fsdecode(b"caf\xe9")
    findings: Findings
    out = tmp_path / f"{name}-survey"
    if kind == "pictures":
        findings = surveyed(write_all(tmp_path / name, 2), out)
    elif kind == "texts":
        findings = surveyed_texts.surveyed(surveyed_texts.write(tmp_path / name), out)
    else:
        data = surveyed_tables.write(tmp_path / name, surveyed_tables.rows(3), None)
        findings = surveyed_tables.surveyed(data, out)
    assert findings.setup.data == "caf\\udce9"
    assert "caf\\udce9" in (out / REPORT).read_text()


def _write_half(findings: object, page: object, path: Path) -> None:  # noqa: ARG001 # as the function
    path.write_text("<!doctype html>")
    raise KeyboardInterrupt
