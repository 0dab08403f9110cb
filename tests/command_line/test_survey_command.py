"""The command ``survey``."""

import json
from pathlib import Path

import pytest
from synthetic_data import write_split
from test_cli import GREY, run

from app.command_line import extras
from app.models.architectures.minivgg import MiniVGG
from app.models.checkpoint import save


def test_a_survey_is_written_and_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = save(MiniVGG(2), tmp_path, name="m", classes=("horizontal", "vertical"), normalisation=GREY)
    write_split(tmp_path / "data", 4, seed=0)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time, what is computed is read
        assert run(monkeypatch, "survey", "data", "--model", str(card), "--device", "cpu") == 0
        printed = capsys.readouterr().out
        assert "8 items explained" in printed
        assert "wrote data-survey/" in printed
    assert {path.name for path in (tmp_path / "data-survey").iterdir()} == {
        "items.parquet",
        "relevance.h5",
        "report.html",
        "summary.json",
        "virelay",
    }


def test_what_explain_has_written_is_surveyed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = save(MiniVGG(2), tmp_path, name="m", classes=("horizontal", "vertical"), normalisation=GREY)
    write_split(tmp_path / "data", 2, seed=0)
    monkeypatch.chdir(tmp_path)
    same = ("--model", str(card), "--device", "cpu")
    written = ("-o", "maps.parquet", "--format", "npy", "--rule", "gamma")
    assert run(monkeypatch, "explain", "data", "--recursive", *written, *same) == 0
    assert run(monkeypatch, "survey", "maps.parquet", "--rule", "gamma", *same) == 0
    assert "4 items explained" in capsys.readouterr().out
    assert run(monkeypatch, "survey", "maps.parquet", "--out", "other", *same) == 2
    assert "rule gamma instead of epsilon_plus_flat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((".", "--cluster", "magic"), "--cluster: there is no 'magic'; use spectral or hdbscan"),
        ((".", "--rule", "nope"), "nope"),
        ((".",), "no picture in it"),
    ],
)
def test_bad_options_are_refused_with_code_2(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "survey", *arguments) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_cannot_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.csv").write_text("C" * 200_000 + ",Age\n1,2\n")
    assert run(monkeypatch, "survey", "wide.csv", "--device", "cpu") == 2
    assert "wide.csv: line 1 of the CSV cannot be read" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda package: None if package == "h5py" else package)
    assert run(monkeypatch, "survey", str(tmp_path)) == 2
    assert capsys.readouterr().err == 'lrpserve: lrpserve survey needs h5py: pip install "lrpserve[survey]"\n'


def test_rules_of_maps_have_the_parameters_of_explain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = save(MiniVGG(2), tmp_path, name="m", classes=("horizontal", "vertical"), normalisation=GREY)
    write_split(tmp_path / "data", 2, seed=0)
    monkeypatch.chdir(tmp_path)
    same = ("data", "--model", str(card), "--device", "cpu", "--rule", "gamma")
    for parameter in (("--gamma", "0.5"), ("-p", "gamma=0.5")):
        assert run(monkeypatch, "survey", *same, *parameter) == 0
    summary = json.loads((tmp_path / "data-survey" / "summary.json").read_text())
    assert (summary["rule"], summary["parameters"]) == ("gamma", {"gamma": 0.5})
    assert run(monkeypatch, "survey", *same, "--gamma", "0.25") == 2
    assert "another survey, with another parameters" in capsys.readouterr().err
    assert run(monkeypatch, "survey", *same, "--gamma", "0.5", "--layers", "nothing:zero") == 2
    assert "nothing" in capsys.readouterr().err
    assert run(monkeypatch, "survey", *same, "--colormap", "vik") == 2
    assert "No such option" in capsys.readouterr().err


def test_texts_and_rows_are_surveyed_by_the_shipped_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films.tsv").write_text("a gorgeous , witty film\t1\ndull and far too long\t0\n" * 2)
    assert run(monkeypatch, "survey", "films.tsv", "--device", "cpu") == 0
    printed = capsys.readouterr().out
    assert "4 items explained, 100.00% of 4 right, 0 failed" in printed
    assert "gorgeous" in printed
    table = Path(__file__).parents[2] / "app" / "training" / "table" / "concrete.csv"
    (tmp_path / "some.csv").write_text("".join(table.read_text().splitlines(keepends=True)[:60]))
    assert run(monkeypatch, "survey", "some.csv", "--device", "cpu") == 0
    printed = capsys.readouterr().out
    assert "59 items explained, mean absolute error" in printed
    assert "Cement" in printed
    assert (tmp_path / "some-survey" / "report.html").stat().st_size < 20_000_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--address", "auto"), "--address: is for --ray; add that"),
        (("--masks", "."), "--masks: is not for rows"),
    ],
)
def test_options_that_are_not_for_rows_are_refused(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.csv").write_text("Cement,Age\n1,2\n")
    assert run(monkeypatch, "survey", "some.csv", *arguments) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["some.csv"]
