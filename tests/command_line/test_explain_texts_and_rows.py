"""``predict`` and ``explain`` answer about texts and rows as the addresses of these do."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient
from test_cli import run
from test_pictures import assert_close

from app.main import create_app
from app.models.local import LocalModel
from app.settings import Settings

ATTEMPTS = 100_000
MODELS = Settings().models
TEXT = "a gorgeous, witty film"
HEADER = "Cement,Blast-Furnace-Slag,Fly-Ash,Water,Superplasticizer,Coarse-Aggregate,Fine-Aggregate,Age"
TABLE = f"{HEADER}\n540,0,0,162,2.5,1040,676,28\n332.5,142.5,0,228,0,932,594,270\n"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """A service with the shipped networks of texts and rows."""
    models = [LocalModel.load(Path(MODELS, name), "cpu", 1) for name in ("words-lstm", "concrete")]
    with TestClient(create_app(Settings(), models)) as client:
        assert any(client.get("/readyz").status_code == 200 for _ in range(ATTEMPTS))
        yield client


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The current directory, with a table."""
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(TABLE)


def test_the_answer_about_a_text_is_that_of_the_endpoint(
    monkeypatch: pytest.MonkeyPatch, client: TestClient
) -> None:
    query = {"target": "negative", "unit": "token", "rule": "epsilon"}
    answer = client.post("/explain/text", params=query, json={"text": TEXT}).json()
    options = [f"--{name}={value}" for name, value in query.items()]
    assert run(monkeypatch, "explain", "--text", TEXT, *options, "-o", "why.json") == 0
    assert_close(json.loads(Path("why.json").read_text()), answer)


def test_the_answer_about_rows_is_that_of_the_endpoint_and_csv_has_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, client: TestClient
) -> None:
    query, headers = {"baseline": "zero", "start": "logit"}, {"Content-Type": "text/csv"}
    answer = client.post("/explain/table", params=query, content=TABLE, headers=headers).json()
    options = ["--table", "rows.csv", *(f"--{name}={value}" for name, value in query.items())]
    for output in ("why.json", "why.csv"):
        assert run(monkeypatch, "explain", *options, "-o", output) == 0
    assert_close(json.loads(Path("why.json").read_text()), answer)
    lines = list(csv.DictReader(Path("why.csv").read_text().splitlines()))
    assert list(lines[0]) == [*HEADER.split(","), "bias"]
    for line, one in zip(lines, answer["results"], strict=True):
        assert [float(line[feature["name"]]) for feature in one["features"]] == pytest.approx(
            [feature["relevance"] for feature in one["features"]], rel=1e-3
        )
        assert sum(map(float, line.values())) == pytest.approx(one["prediction"]["value"], rel=1e-5)


def test_each_text_and_row_has_a_drawing_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "explain", "--text", TEXT, "--text", "dull", "-o", "new", "--format", "html") == 0
    assert run(monkeypatch, "explain", "--table", "rows.csv", "-o", "new", "--format", "npy") == 0
    names = sorted(path.name for path in Path("new").iterdir())
    assert names == [
        "rows-row-1.heatmap.npy",
        "rows-row-2.heatmap.npy",
        "text-1.heatmap.html",
        "text-2.heatmap.html",
    ]
    assert "gorgeous" in Path("new/text-1.heatmap.html").read_text()
    assert np.load("new/rows-row-2.heatmap.npy").shape == (8,)


def test_without_output_explanations_are_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert run(monkeypatch, "explain", "--text", "-") == 0
    printed = capfd.readouterr().out
    assert "why positive? Rule epsilon_plus_flat" in printed
    assert "gorgeous" in printed
    assert run(monkeypatch, "explain", "--table", "rows.csv") == 0
    printed = capfd.readouterr().out
    first, second = printed.split("rows.csv row 2\n")
    for row, cement in ((first, "540 kg/m³"), (second, "332.5 kg/m³")):
        assert "MPa, why" in row
        assert cement in row
        assert row.index("bias") < row.index("sum")


def test_predictions_have_probabilities_or_units(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "predict", "--text", TEXT) == 0
    assert capsys.readouterr().out.startswith(f"{TEXT}: positive 9")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TABLE.encode())))
    assert run(monkeypatch, "predict", "--table", "-", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["file"], row["row"], row["prediction"]["unit"]) for row in rows] == [
        ("-", 1, "MPa"),
        ("-", 2, "MPa"),
    ]


def test_a_row_that_cannot_be_used_is_named_and_the_others_are_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("rows.csv").write_text(TABLE.replace("\n540,", "\nmuch,"))
    assert run(monkeypatch, "explain", "--table", "rows.csv", "-o", "why.csv") == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("lrpserve: rows.csv row 1: Cement: ")
    assert printed.out == "1 rows -> why.csv\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "no input: give pictures as PATH, texts as --text, rows as --table"),
        ("--text a cat.png", "one kind of input at a time: PATH is for pictures, --text is for texts"),
        (
            "--text a --recursive",
            "one kind of input at a time: --recursive is for pictures, --text is for texts",
        ),
        ("--recursive", "--recursive: is for folders of pictures; name one"),
        ("--text a --view overlay", "--view: is not for texts; leave it out"),
        ("--table rows.csv --unit token", "--unit: is not for rows; leave it out"),
        ("--text a --format csv", "--format: must be 'json', 'html', 'png' or 'npy'"),
        (
            "--table rows.csv -o why.html",
            "--output: why.html: explanations of rows are written as json, csv, ",
        ),
        ("--table rows.csv -o ./rows.csv", "--output: rows.csv is an input and would be replaced"),
        ("--table none.csv", "none.csv: No such file or directory"),
        ("--text a --model concrete", "no model takes text input: concrete takes table"),
        ("--text a --layer none", "--layer: "),
    ],
)
def test_an_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert run(monkeypatch, "explain", *arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"lrpserve: {message}")
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_networks_of_texts_are_not_evaluated_on_pictures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "evaluate", str(tmp_path), "--model", "words-lstm") == 2
    assert "no model takes image input: words-lstm takes text" in capsys.readouterr().err
