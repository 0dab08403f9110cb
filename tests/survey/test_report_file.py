"""The file of the report: its size, and what it is made of."""

import json
from pathlib import Path

import numpy as np
import pytest
import surveyed_tables
from surveyed import surveyed, write_all

from app.survey import report
from app.survey.image.page import outline
from app.survey.numerals import percent
from app.survey.report import as_script


def test_pictures_stop_at_the_size_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_BYTES", 30_000)
    data = write_all(tmp_path / "data", 12)
    surveyed(data, tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    assert 0 < text.count("data:image/webp") < 48 * 2


def test_sections_count_among_the_bytes_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_BYTES", 75_000)
    listed = surveyed_tables.rows(400)  # whose plots take over 30 000
    surveyed_tables.surveyed(surveyed_tables.write(tmp_path / "t.csv", listed, range(400)), tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    frame = sum(len((report.PAGE / name).read_text()) for name in ("report.css", "report.js", "table.js"))
    assert len(text.encode()) < 75_000 + frame + 4_000
    data = json.loads(text.partition('id="survey-data">')[2].partition("</script>")[0])
    assert 0 < len(data["drawings"]) < len(data["items"])


def test_json_in_a_script_ends_nothing() -> None:
    assert as_script(["</script>", "<!--", "&"]) == ('["\\u003c/script\\u003e","\\u003c!--","\\u0026"]')


def test_an_outline_goes_around_cells() -> None:
    cells = np.zeros((2, 3), bool)
    cells[0, 1] = cells[0, 2] = True
    assert (
        outline(cells).count("M") == 6
    )  # of two cells side by side, four edges each, but not the two between
    assert outline(~cells & cells) == ""


def test_shares_are_said_in_percent() -> None:
    assert (percent(0.123), percent(0.1234, 1), percent(None), percent(float("nan"))) == (
        "12 %",
        "12.3 %",
        "–",
        "–",
    )
