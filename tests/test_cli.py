"""The command line, run in the process of the tests."""

import io
import json
import logging
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from PIL import Image
from synthetic_data import TINY, write_data

from app.cli import main
from app.models.architectures.minivgg import MiniVGG
from app.models.checkpoint import save
from app.models.image_card import Normalisation
from app.serving.pipeline import Pipeline
from app.settings import Settings, unknown_variables
from app.training.recipe import RECIPES

GREY = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
CLASSES = ("horizontal", "none", "vertical")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lrpserve", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_explain_writes_the_heatmap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_jpeg: bytes) -> None:
    photo, heatmap = tmp_path / "photo.jpg", tmp_path / "heatmap.png"
    photo.write_bytes(cat_jpeg)
    assert (
        run(monkeypatch, "explain", str(photo), "--rule", "gamma", "-p", "gamma=0.5", "-o", str(heatmap)) == 0
    )
    assert Image.open(io.BytesIO(heatmap.read_bytes())).format == "PNG"


def test_predict_takes_a_folder(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cat_jpeg: bytes,
    cat_png: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.jpg").write_bytes(cat_jpeg)
    (tmp_path / "b.png").write_bytes(cat_png)
    assert run(monkeypatch, "predict", str(tmp_path)) == 0
    assert [Path(line.split(":")[0]).name for line in capsys.readouterr().out.splitlines()] == [
        "a.jpg",
        "b.png",
    ]


def test_an_unknown_rule_is_refused_with_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_jpeg: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(cat_jpeg)
    assert run(monkeypatch, "explain", str(photo), "--rule", "nonsense") == 2
    assert "nonsense" in capsys.readouterr().err


def test_evaluate_counts_the_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "test" / "cat"
    folder.mkdir(parents=True)
    cat.crop((75, 0, 375, 300)).resize((32, 32)).save(folder / "chelsea.png")
    assert run(monkeypatch, "evaluate", str(tmp_path), "--json") == 0
    assert '"count":1' in capsys.readouterr().out


def test_evaluate_lists_classes_without_pictures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = save(MiniVGG(3), tmp_path, name="m", classes=CLASSES, normalisation=GREY)
    data = write_data(tmp_path / "data", 4)
    assert run(monkeypatch, "evaluate", str(data), "--model", str(card)) == 0
    table = capsys.readouterr().out
    rows = [line.split() for line in table.splitlines()]
    assert ["none", "–", "0", "0", "0"] in rows
    assert [row[0] for row in rows if row and row[0] in CLASSES] == list(CLASSES)
    assert "of 4 pictures" in table


def test_evaluate_uses_the_model_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = save(MiniVGG(2), tmp_path, name="m", classes=("horizontal", "vertical"), normalisation=GREY)
    monkeypatch.setenv("LRP_MODEL", str(card))
    assert (
        run(monkeypatch, "evaluate", str(write_data(tmp_path / "data", 4)), "--split", "train", "--json") == 0
    )
    assert json.loads(capsys.readouterr().out)["count"] == 8


def test_train_writes_a_card_for_evaluate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, "talk", TINY)
    data, out = write_data(tmp_path / "data"), tmp_path / "out"
    options = ("--recipe", "talk", "--data", str(data), "--runs", str(tmp_path / "runs"), "--device", "cpu")
    assert run(monkeypatch, "train", *options, "--output", str(out), "--name", "stripes") == 0
    output = capsys.readouterr().out
    assert "epoch 3: validation" in output
    assert "stripes/card.json" in output.replace("\n", "")
    assert run(monkeypatch, "evaluate", str(data), "--model", str(out / "stripes"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["count"] == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--recipe", "none", "--data", "."), "no recipe 'none'"),
        (("train", "--data", "no/such/folder"), "no/such/folder"),
        (("train", "--data", ".", "--test-data", ".", "--device", "abacus"), "abacus"),
        (("evaluate", ".", "--model", "no/such/card.json"), "no/such/card.json"),
        (("evaluate", "."), "no pictures"),
        (("serve", "--host", "0.0.0.0", "--port", "0"), "LRP_API_KEYS_FILE"),
    ],
)
def test_errors_are_one_line_on_stderr_with_code_2(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LRP_CIFAR10", raising=False)  # of the tests; a server warns of what is no setting
    assert run(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_an_invalid_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LRP_PORT", "many")
    assert run(monkeypatch, "evaluate", str(tmp_path)) == 2
    assert "LRP_PORT" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_an_unreadable_file_of_a_folder_is_named_without_affecting_the_others(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cat_png: bytes,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "b.png").symlink_to("nowhere.png")
    (tmp_path / "c.png").write_bytes(cat_png)
    assert run(monkeypatch, command, str(tmp_path)) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{tmp_path / 'c.png'}: cat")
    errors = [line for line in printed.err.splitlines() if line.startswith("lrpserve: ")]
    assert [line.split(": ")[1] for line in errors] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert "1 of 3 pictures done, 2 failed\n" in printed.err


def test_an_error_that_all_pictures_have_is_printed_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(cat_png)
    assert run(monkeypatch, "explain", str(tmp_path), "--target", "tiger") == 2
    assert capsys.readouterr().err.count("no class 'tiger'") == 1


@pytest.mark.parametrize("output", ["no/such/folder/heatmap.png", "file/heatmap.png"])
def test_an_unwritable_heatmap_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cat_png: bytes,
    capsys: pytest.CaptureFixture[str],
    output: str,
) -> None:
    (tmp_path / "cat.png").write_bytes(cat_png)
    (tmp_path / "file").touch()
    assert run(monkeypatch, "explain", str(tmp_path / "cat.png"), "-o", str(tmp_path / output)) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"lrpserve: {tmp_path / output}: ")
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_a_file_in_place_of_the_output_folder_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat.png").write_bytes(cat_png)
    (tmp_path / "out").touch()
    assert run(monkeypatch, "explain", str(tmp_path), "-o", str(tmp_path / "out")) == 2
    assert capsys.readouterr().err == f"lrpserve: {tmp_path / 'out'}: File exists\n"


def test_ctrl_c_ends_the_command_without_output(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat.png").write_bytes(cat_png)
    closed: list[Pipeline] = []
    monkeypatch.setattr(Pipeline, "predict", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr(Pipeline, "close", lambda self: closed.append(self))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored
    try:
        assert run(monkeypatch, "predict", str(tmp_path / "cat.png")) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == ""
    assert closed  # if it were not, torch would abort the process while it computes


def test_contradictory_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LRP_MAX_BATCH", "4")
    monkeypatch.setenv("LRP_MAX_QUEUE", "4")
    assert run(monkeypatch, "serve") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("lrpserve: settings: a request may have 32 pictures (LRP_MAX_PICTURES)")


def test_the_largest_request_must_fit_into_the_queue() -> None:
    assert Settings(max_pictures=8, max_batch=4, max_queue=4).max_pictures == 8
    with pytest.raises(ValueError, match="LRP_MAX_PICTURES"):
        Settings(max_pictures=9, max_batch=4, max_queue=4)


def test_the_copies_of_the_largest_body_must_fit_into_memory() -> None:
    assert Settings(max_body_bytes=100, max_bytes_in_hand=300).max_body_bytes == 100
    with pytest.raises(ValueError, match="LRP_MAX_BYTES_IN_HAND"):
        Settings(max_body_bytes=101, max_bytes_in_hand=300)


def test_unknown_variables_are_reported_with_suggestions() -> None:
    given = ("LRP_MAX_QUEU", "lrp_max_queue", "LRP_API_KEY", "LRP_CPUS", "LRP_PORT_8000_TCP", "LRPSERVE_PORT")
    assert unknown_variables(given) == {
        "LRP_MAX_QUEU": "LRP_MAX_QUEUE",
        "LRP_API_KEY": "LRP_API_KEYS_FILE",
        "LRP_CPUS": None,
        "LRP_PORT_8000_TCP": None,
    }


def test_serve_warns_of_unknown_variables(
    monkeypatch: pytest.MonkeyPatch, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LRP_MAX_QUEU", "3")
    monkeypatch.setattr("app.cli.configure", lambda _: None)  # it would replace pytest's log handlers
    monkeypatch.setattr("app.runtime.model_process.start_models", lambda _: SimpleNamespace(models=()))
    monkeypatch.setattr("app.main.create_app", lambda *_: app)
    monkeypatch.setattr("app.server.run", lambda *_: None)
    with caplog.at_level(logging.WARNING):
        assert run(monkeypatch, "serve", "--port", "0") == 0
    assert "LRP_MAX_QUEU is no setting and is ignored; is LRP_MAX_QUEUE meant?" in caplog.messages
