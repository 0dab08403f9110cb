"""The command line, in process."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.cli import main


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


def test_what_is_wrong_is_one_line_and_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_jpeg: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(cat_jpeg)
    assert run(monkeypatch, "explain", str(photo), "--rule", "nonsense") == 2
    assert "nonsense" in capsys.readouterr().err


def test_evaluate_counts_right_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "test" / "cat"
    folder.mkdir(parents=True)
    cat.crop((75, 0, 375, 300)).resize((32, 32)).save(folder / "chelsea.png")
    assert run(monkeypatch, "evaluate", str(tmp_path), "--json") == 0
    assert '"count":1' in capsys.readouterr().out
