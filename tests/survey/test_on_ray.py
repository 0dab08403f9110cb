"""Surveys on a Ray cluster, as far as they need none."""

import os
import pickle
import zipfile
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from surveyed import options, picture, survey_of, surveyed, write, write_all
from surveyed_texts import write as write_texts
from test_survey import Counted

from app.command_line.many import OnRay
from app.command_line.surveys.kinds import SURVEYS
from app.command_line.surveys.on_ray import OnCluster, SurveyWork, SurveyWorker, work_of
from app.command_line.surveys.options import options_of
from app.command_line.surveys.request import Request, network_of
from app.errors import DataError
from app.models.card import Kind
from app.serving.local import local_pipeline
from app.settings import Settings, shipped_models
from app.survey.network import explain
from app.survey.store import Layout, Result, Results
from app.training.table.recipe import CONCRETE

NOWHERE = OnRay("127.0.0.1:1")


def pictures(folder: Path) -> Path:
    """Write a zip with a picture that cannot be read."""
    write_all(folder / "data", 2)
    (folder / "data" / "top-left" / "broken.png").write_bytes(b"none")
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for path in (folder / "data").rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    return folder / "data.zip"


def rows(folder: Path) -> Path:
    """Write rows of the concrete table."""
    path = folder / "rows.csv"
    assert CONCRETE.data is not None
    path.write_text("".join(CONCRETE.data.read_text().splitlines(keepends=True)[:20]))
    return path


def here(kind: Kind, data: Path, out: Path) -> tuple[SurveyWork, Results]:
    """Return what workers are told, and what is computed without them."""
    models = Path(os.path.relpath(shipped_models()))
    survey, settings = SURVEYS[kind], Settings(device="cpu", cores=1, models=models)
    with closing(local_pipeline(settings, kind)) as pipeline:
        request = Request.of(survey.on_command_line, options_of(data, out), pipeline, settings)
        items = survey.find(request).items
        network, content = network_of(pipeline, request.asked), survey.kind(request).content
        (results,) = explain(network, items, content, range(len(items)))
        return work_of(request, items), results


def texts(folder: Path) -> Path:
    return write_texts(folder / "texts.tsv")


@pytest.mark.parametrize(("kind", "written"), [("image", pictures), ("text", texts), ("table", rows)])
def test_a_worker_computes_the_same(
    kind: Kind, written: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(tmp_path)
    monkeypatch.chdir(tmp_path)
    work, expected = here(kind, data.relative_to(tmp_path), tmp_path / "out")
    monkeypatch.chdir("/")  # a worker's folder is another one
    worker = SurveyWorker(pickle.loads(pickle.dumps(work)), 1)
    chunk = np.array([0, 6, 2])
    found = worker({"rows": chunk})
    assert set(found) == {0, 6, 2}
    assert isinstance(found[6], str) is (kind == "image")
    for row, result in found.items():
        same = expected[row]
        if isinstance(same, str):
            assert result == same
            continue
        assert isinstance(result, Result)
        np.testing.assert_array_equal(result.data, same.data)
        np.testing.assert_allclose(result.logits, same.logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.relevance, same.relevance, rtol=1e-3, atol=1e-5)
        assert result.leak == pytest.approx(same.leak, abs=1e-4)


def test_other_data_on_a_machine_are_refused(tmp_path: Path) -> None:
    data = texts(tmp_path)
    work, _ = here("text", data, tmp_path / "out")
    data.write_text("another text\t1\n")
    with pytest.raises(DataError, match=r"texts\.tsv is not the same on all machines, or has changed"):
        SurveyWorker(work, 1)
    with pytest.raises(DataError, match=r"^the model words-lstm is not the same on all machines"):
        SurveyWorker(replace(work, version="another"), 1)


def test_what_is_explained_already_needs_no_cluster(tmp_path: Path) -> None:
    data, model = write_all(tmp_path / "data", 2), Counted()
    expected = surveyed(data, tmp_path / "out")
    found = survey_of("image", model, options(data, tmp_path / "out", on_ray=NOWHERE))
    assert found.clusters[0].suspicion == expected.clusters[0].suspicion
    write(tmp_path / "other" / "top-left" / "a.png", picture("top-left", 9))
    with pytest.raises(DataError, match=r"^--address: 127\.0\.0\.1:1 cannot be reached"):
        survey_of("image", model, options(tmp_path / "other", tmp_path / "other-out", on_ray=NOWHERE))


@pytest.mark.parametrize(("side", "expected"), [(32, 128), (512, 17), (8192, 1)])
def test_results_of_a_chunk_have_at_most_64_mib(
    side: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def run_chunks(_worker: object, _arguments: object, chunks: Iterable[pa.Table], _workers: object) -> Any:
        sizes.extend(len(chunk["rows"][0]) for chunk in chunks)
        return iter(())

    monkeypatch.setattr("app.cluster.start.cluster", nullcontext)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 1.0}}])
    monkeypatch.setattr("app.cluster.chunks.run_chunks", run_chunks)
    work = SurveyWork(Settings(), "image", options(tmp_path, tmp_path), "version", "digest")
    rows = list(range(1000))
    assert list(OnCluster(None, work, Layout((3, side, side), np.uint8))(rows)) == []
    assert max(sizes) == expected
    assert sum(sizes) == len(rows)
