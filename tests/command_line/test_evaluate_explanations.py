"""The command ``evaluate --explanations``."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import encode
from fake_model import HEIGHT, WIDTH, FakeModel
from PIL import Image
from test_cli import run

from app.command_line.evaluation import evaluate_explanations, pictures_of
from app.errors import DataError
from app.modalities.image.modality import ImageOptions
from app.runtime.threads import ThreadExecutor
from app.serving.factory import create_pipeline, create_renderer
from app.serving.pipeline import Pipeline
from app.serving.requests import EvaluateOptions
from app.settings import Settings
from app.telemetry.metrics import Metrics

OPTIONS = EvaluateOptions(rules=("zero", "gamma"), patch=16, input=ImageOptions())


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    return encode(Image.fromarray(pixels))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of four pictures in ``test``, and one picture in ``train``."""
    for name, count in (("test/a", 4), ("test/b", 4), ("train/a", 1)):
        place = tmp_path / "data" / name
        place.mkdir(parents=True)
        for seed in range(count):
            (place / f"{seed}.png").write_bytes(picture(seed))
    return tmp_path / "data"


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    model, settings = FakeModel(), Settings(evaluation_deadline_s=1e-9)
    renderers = ThreadExecutor(create_renderer(model.description, settings), 1)
    made = create_pipeline(model, settings, Metrics().of_model("any"), renderers, serves=False)
    with closing(made):
        yield made


def test_pictures_are_evenly_spaced_and_of_the_split(folder: Path) -> None:
    assert [one.name for one in pictures_of(folder, "test", 4)] == [
        "test/a/0.png",
        "test/a/2.png",
        "test/b/1.png",
        "test/b/3.png",
    ]
    assert len(pictures_of(folder, "test", None)) == len(pictures_of(folder, "test", 99)) == 8
    assert [one.name for one in pictures_of(folder / "train", "test", None)] == ["a/0.png"]


def test_a_zip_is_read_like_its_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    found, expected = (pictures_of(source, "test", 3) for source in (tmp_path / "data.zip", folder))
    assert [(one.name, one.read()) for one in found] == [(one.name, one.read()) for one in expected]


def test_what_holds_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    for source in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match=str(source)):
            pictures_of(source, "test", None)


def test_means_intervals_json_and_plot_are_written(
    pipeline: Pipeline, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "found.json"
    evaluate_explanations(pipeline, pictures_of(folder, "test", None), OPTIONS, output, as_json=True)
    found = json.loads(output.read_text())
    assert json.loads(capsys.readouterr().out) == found
    assert found["pictures"] == len(found["gaps"]) == 8
    gaps = np.array([[one["zero"], one["occlusion"]] for one in found["gaps"]])
    gap, share = found["rules"]["zero"]["gap"], found["rules"]["zero"]["share_of_occlusion"]
    assert gap["mean"] == pytest.approx(gaps[:, 0].mean())
    assert gap["low"] <= gap["mean"] <= gap["high"]
    assert share["mean"] == pytest.approx(gaps[:, 0].mean() / gaps[:, 1].mean())
    assert len(found["rules"]["gamma"]["curves"]["most_relevant_first"]) == 12
    assert [one["layer"] for one in found["rules"]["zero"]["randomization"]] == ["vote", "encoder.scan"]
    with Image.open(output.with_suffix(".png")) as plot:
        assert plot.format == "PNG"


def test_a_picture_that_fails_is_named_and_the_others_go_on(
    pipeline: Pipeline, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "test" / "a" / "0.png").write_bytes(b"none")
    evaluate_explanations(
        pipeline, pictures_of(folder, "test", None), OPTIONS, tmp_path / "found.json", as_json=False
    )
    printed = capsys.readouterr()
    assert "test/a/0.png" in printed.err
    assert "7 pictures" in printed.out
    assert "zero" in printed.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the pictures once"),
        (("--data", ".", "."), "name the pictures once"),
        (("--explanations", "--rule", "nope"), "nope"),
        (("--explanations", "--patch", "5"), "--patch"),
    ],
)
def test_bad_options_are_refused_with_code_2_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    data = ["--data", str(folder)] if "--explanations" in arguments else []
    assert run(monkeypatch, "evaluate", *arguments, *data) == 2
    assert said in capsys.readouterr().err
