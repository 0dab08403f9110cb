"""``explain`` with a folder of Parquet files as its output."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_model import HEIGHT, WIDTH, FakeModel
from PIL import Image
from starlette.testclient import TestClient
from test_cli import run

from app.modalities.image.modality import ImageOptions
from app.parquet.folder import Folder
from app.parquet.schema import SCHEMA, Row, relevance_of
from app.runtime.threads import ThreadExecutor
from app.serving import many
from app.serving.factory import create_pipeline, create_renderer
from app.serving.many import AT_A_TIME, ManyPictures, PictureFile
from app.serving.pipeline import Pipeline
from app.serving.requests import ExplainOptions
from app.settings import Settings
from app.telemetry.metrics import Metrics

OF_ANY_ROW = {"path", "error"}


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_jpeg: bytes) -> Path:
    """The current directory, with pictures, one of which is damaged."""
    monkeypatch.chdir(tmp_path)
    Path("in/sub").mkdir(parents=True)
    Path("in/a.jpg").write_bytes(cat_jpeg)
    Path("in/sub/b.jpg").write_bytes(cat_jpeg)
    Path("in/bad.png").write_bytes(b"broken")
    return tmp_path


def rows(path: str = "maps.parquet") -> dict[str, dict[str, Any]]:
    listed = pq.read_table(path).to_pylist()
    found = {row["path"]: row for row in listed}
    assert len(found) == len(listed)
    return found


@pytest.mark.parametrize("form", ["png", "npy"])
def test_rows_have_what_the_endpoint_answers(
    monkeypatch: pytest.MonkeyPatch, client: TestClient, cat_jpeg: bytes, form: str
) -> None:
    query = {"rule": "gamma", "gamma": 0.5, "target": "dog", "versus": "cat", "view": "heatmap", "size": 64}
    options = [f"--{name}={value}" for name, value in query.items()]
    assert run(monkeypatch, "explain", "in/a.jpg", "-o", "maps.parquet", "--format", form, *options) == 0
    (row,) = rows().values()
    files = {"file": cat_jpeg}
    answer = client.post("/explain", params={**query, "format": "json"}, files=files).json()
    best, relevance = answer["prediction"], answer["relevance"]
    model, scores = answer["model"], {score["label"]: score for score in answer["scores"]}
    assert row["path"] == "in/a.jpg"
    assert row["model"] == f"{model['name']}@{model['version']}"
    assert (row["prediction"], row["prediction_index"]) == (best["label"], best["index"])
    assert (row["target"], row["target_index"], row["versus"]) == ("dog", scores["dog"]["index"], "cat")
    assert (row["rule"], row["layer"], row["error"], row["difference"]) == ("gamma", None, None, None)
    assert (row["warnings"], row["precision"]) == (answer["warnings"], relevance["precision"])
    for name, value in {
        **{name: relevance[name] for name in ("start", "sum", "leak", "bias")},
        **{name: best[name] for name in ("probability", "logit")},
        "target_logit": scores["dog"]["logit"],
    }.items():
        assert row[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
    answered = client.post("/explain", params={**query, "format": form}, files=files).content
    if form == "png":
        ours, theirs = (np.asarray(Image.open(io.BytesIO(data)), int) for data in (row["png"], answered))
        assert np.abs(ours - theirs).max() <= 2
        assert (row["relevance"], row["scale"], row["shape"]) == (None, None, None)
    else:
        exact = np.load(io.BytesIO(answered))
        np.testing.assert_allclose(relevance_of(row), exact, rtol=2e-3, atol=1e-3 * np.abs(exact).max())
        assert row["png"] is None


def test_the_difference_to_the_reference_is_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "explain", "in/a.jpg", "-o", "maps.parquet", "--verify") == 0
    assert 0 < rows()["in/a.jpg"]["difference"] < 1e-4


def test_a_picture_that_cannot_be_read_is_a_row_with_its_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("list.txt").write_text("in/a.jpg\nnone.png\n\nin/bad.png\nin/a.jpg\n")
    assert run(monkeypatch, "explain", "--files-from", "list.txt", "-o", "maps.parquet") == 1
    found = rows()
    assert list(found) == ["in/a.jpg", "none.png", "in/bad.png"]
    assert found["none.png"]["error"] == "No such file or directory"
    assert found["in/bad.png"]["error"].startswith("Not a readable PNG")
    for path in ("none.png", "in/bad.png"):
        assert all(found[path][name] is None for name in set(SCHEMA.names) - OF_ANY_ROW)
    printed = capsys.readouterr().err
    assert "lrpserve: none.png: No such file or directory\n" in printed
    assert printed.endswith("1 of 3 pictures done, 2 failed -> maps.parquet\n")


def test_what_is_written_is_not_computed_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "explain", "in", "-o", "maps.parquet") == 1
    first = pq.read_table("maps.parquet/part-000000-0000.parquet")
    assert first["path"].to_pylist() == ["in/a.jpg", "in/bad.png"]
    assert run(monkeypatch, "explain", "in", "./in/sub", "-o", "maps.parquet", "--top-k=2") == 0
    assert pq.read_table("maps.parquet/part-000001-0000.parquet")["path"].to_pylist() == ["in/sub/b.jpg"]
    assert "1 of 1 pictures done, 0 failed, 2 were there before -> maps.parquet\n" in capsys.readouterr().err
    assert run(monkeypatch, "explain", "in", "-o", "maps.parquet") == 0
    assert "0 of 0 pictures done, 0 failed, 2 were there before -> maps.parquet\n" in capsys.readouterr().err
    assert len(list(Path("maps.parquet").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "--rule", "gamma"], "another request, rule epsilon_plus_flat instead of gamma"),
        (["in", "--view", "overlay"], "another request, view side_by_side instead of overlay"),
        (["in", "--format", "npy"], "another request, format png instead of npy"),
        (["in", "--format", "json"], "--format: rows in Parquet have maps as png or npy"),
        (["--text", "a film"], "--output: explanations of texts are written as json, html, png, npy"),
        (["-"], "--output: Parquet is for files; standard input has none"),
        (["nothing"], "nothing: No such file or directory"),
        (["empty"], "no picture in empty"),
        (["in", "--rule", "nonsense"], "--rule: "),
        (["in", "--address", "head:6379"], "--address: is for --ray; add that"),
    ],
)
def test_what_cannot_be_done_is_refused_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    Path("empty").mkdir()
    assert run(monkeypatch, "explain", "in/a.jpg", "-o", "maps.parquet") == 0
    assert run(monkeypatch, "explain", *arguments, "-o", "maps.parquet") == 2
    assert message in capsys.readouterr().err
    assert list(rows()) == ["in/a.jpg"]


def test_ray_is_for_parquet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "explain", "in/a.jpg", "--ray", "-o", "a.png") == 2
    assert "--ray: is for --output NAME.parquet" in capsys.readouterr().err


def test_an_array_does_not_depend_on_how_it_would_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("explain", "in/a.jpg", "-o", "maps.parquet", "--format=npy")
    assert run(monkeypatch, *arguments) == 0
    assert run(monkeypatch, *arguments, "--view=overlay", "--size=64") == 0


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    """That of a model that needs no torch."""
    model, settings = FakeModel(), Settings()
    renderers = ThreadExecutor(create_renderer(model.description, settings), 2)
    metrics = Metrics().of_model(model.description.card.name)
    with closing(create_pipeline(model, settings, metrics, renderers, serves=False)) as made:
        yield made


def copies(path: Path, count: int) -> list[PictureFile]:
    return [PictureFile(f"{number}.jpg", path) for number in range(count)]


OPTIONS = ExplainOptions(input=ImageOptions())


def test_few_pictures_are_in_work_at_a_time(pipeline: Pipeline, folder: Path) -> None:
    taken, told = 0, 0

    def take() -> Iterator[PictureFile]:
        nonlocal taken
        for one in copies(folder / "in" / "a.jpg", 3 * AT_A_TIME):
            taken += 1
            assert taken - told <= AT_A_TIME
            yield one

    def tell(_: Row) -> None:
        nonlocal told
        told += 1

    dataset = Folder(folder / "maps.parquet", {})
    asyncio.run(ManyPictures(pipeline, OPTIONS, "npy").write(take(), dataset, 0, tell))
    assert list(dataset.paths()) == [f"{number}.jpg" for number in range(3 * AT_A_TIME)]


def test_files_have_a_largest_size(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, folder: Path) -> None:
    pictures, explainer = copies(folder / "in" / "a.jpg", 10), ManyPictures(pipeline, OPTIONS, "npy")
    bytes_each = 2 * HEIGHT * WIDTH
    for name, largest in {"MAX_ROWS": 4, "MAX_BYTES": 3 * bytes_each + 1}.items():
        with monkeypatch.context() as patched:
            patched.setattr(many, name, largest)
            dataset = Folder(folder / name, {})
            asyncio.run(explainer.write(pictures, dataset, 0, lambda _: None))
        sizes = [pq.read_metadata(part).num_rows for part in sorted((folder / name).iterdir())]
        assert sizes == [4, 4, 2]


def test_what_is_explained_is_written_when_the_command_is_interrupted(
    pipeline: Pipeline, folder: Path
) -> None:
    dataset, told = Folder(folder / "maps.parquet", {}), []

    def tell(row: Row) -> None:
        told.append(row["path"])
        if len(told) == 5:
            raise KeyboardInterrupt

    pictures, explainer = copies(folder / "in" / "a.jpg", 100), ManyPictures(pipeline, OPTIONS, "npy")
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(explainer.write(pictures, dataset, 0, tell))
    assert list(dataset.paths()) == told
