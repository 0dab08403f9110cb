"""Surveys of maps that ``lrpserve explain`` has written to a folder of Parquet files."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fake_model import DESCRIPTION, FakeModel
from surveyed import picture, pipeline_of, surveyed, write, write_all
from test_survey import Counted

from app.command_line.many import OnRay, described
from app.command_line.pictures import PICTURES
from app.errors import DataError, UnavailableError
from app.models.protocol import Job, JobResult, ModelLostError
from app.parquet.folder import Folder
from app.serving.many import ManyPictures, PictureFile
from app.serving.rows import MapForm
from app.survey.kept import KeptMap, KeptMaps, items_of_folder


def explained(paths: Sequence[Path], out: Path, form: MapForm = "npy", **asked: Any) -> Path:
    """Explain pictures as ``lrpserve explain -o NAME.parquet`` does."""
    parameters = PICTURES.explain.read({"rule": "zero", "format": form, **asked})
    pipeline = pipeline_of(FakeModel())
    try:
        folder = Folder(out, described(pipeline.card, "float32", parameters, form))
        many = ManyPictures(pipeline, parameters.options(), form)
        pictures = [PictureFile(str(path), path) for path in paths]
        for start in range(0, len(pictures), 5):  # several files
            asyncio.run(many.write(pictures[start : start + 5], folder, start, lambda _: None))
    finally:
        pipeline.close()
    return out


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_all(tmp_path / "test", 3)


@pytest.fixture
def maps(data: Path, tmp_path: Path) -> Path:
    return explained(sorted(data.rglob("*.png")), tmp_path / "maps.parquet")


def test_maps_are_not_computed_again(data: Path, maps: Path, tmp_path: Path) -> None:
    model = Counted()
    found, expected = surveyed(maps, tmp_path / "out", model=model), surveyed(data, tmp_path / "direct")
    assert model.explained == 0
    assert [one.name for one in found.items] == [str(data / one.name) for one in expected.items]
    assert [one.label for one in found.items] == [one.label for one in expected.items]
    np.testing.assert_array_equal(found.predictions.logits, expected.predictions.logits)
    np.testing.assert_allclose(found.store.leak, expected.store.leak)
    for row in range(len(found.items)):
        np.testing.assert_array_equal(found.pixels(row), expected.pixels(row))
        largest = np.abs(expected.relevance(row)).max()
        np.testing.assert_allclose(found.relevance(row), expected.relevance(row), atol=1e-3 * largest)


def test_a_survey_of_maps_goes_on_where_it_ended(
    maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.survey.network.IN_FLIGHT", 4)

    class Interrupted(FakeModel):
        left = 8

        def run(self, jobs: Sequence[Job]) -> list[JobResult]:
            self.left -= len(jobs)
            if self.left < 0:
                raise ModelLostError("out of order")
            return super().run(jobs)

    with pytest.raises(UnavailableError):
        surveyed(maps, tmp_path / "out", model=Interrupted())
    found, expected = surveyed(maps, tmp_path / "out"), surveyed(maps, tmp_path / "other")
    np.testing.assert_array_equal(found.maps, expected.maps)
    np.testing.assert_array_equal(found.predictions.logits, expected.predictions.logits)


def test_maps_are_read_by_number(maps: Path) -> None:
    folder = folder_of(maps)
    paths = list(folder.paths())
    every, some = (dict(KeptMaps(folder, paths).read(rows)) for rows in (range(12), [0, 4, 5, 11]))
    backwards = dict(KeptMaps(folder, paths[::-1]).read(range(12)))
    assert (len(every), list(some)) == (12, [0, 4, 5, 11])
    for row, one in some.items():
        np.testing.assert_array_equal(relevance_of(one), relevance_of(every[row]))
    for row, one in backwards.items():
        np.testing.assert_array_equal(relevance_of(one), relevance_of(every[11 - row]))
    assert list(KeptMaps(folder, paths).read([])) == []


def test_a_picture_that_is_listed_twice_has_its_map_twice(maps: Path) -> None:
    path = next(folder_of(maps).paths())
    found = dict(KeptMaps(folder_of(maps), [path, path]).read([0, 1]))
    np.testing.assert_array_equal(relevance_of(found[0]), relevance_of(found[1]))


def relevance_of(found: KeptMap | DataError) -> npt.NDArray[np.float32]:
    assert isinstance(found, KeptMap)
    return found.relevance


def folder_of(maps: Path) -> Folder:
    asked = PICTURES.explain.read({"rule": "zero", "format": "npy"})
    return Folder(maps, described(DESCRIPTION.card, "float32", asked, "npy"))


def test_pictures_that_failed_changed_or_are_gone_are_rows_with_their_error(
    data: Path, tmp_path: Path
) -> None:
    broken = data / "top-left" / "broken.png"
    broken.write_bytes(b"none")
    paths = sorted(data.rglob("*.png"))
    maps = explained(paths, tmp_path / "maps.parquet")
    write(data / "top-left" / "000.png", picture("bottom-right", 0))
    (data / "top-right" / "001.png").unlink()
    found = surveyed(maps, tmp_path / "out")
    reasons = {Path(one.name).relative_to(data).as_posix(): one.reason for one in found.failures}
    assert len(found.items) == 10
    assert reasons.keys() == {"top-left/000.png", "top-left/broken.png", "top-right/001.png"}
    assert reasons["top-left/000.png"] == (
        "the picture has changed: predicted as top-left when it was explained, now as bottom-right"
    )
    assert "Not a readable PNG" in reasons["top-left/broken.png"]
    assert reasons["top-right/001.png"] == "No such file or directory"


def test_only_a_split_is_taken(data: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "train" / "top-left" / "a.png", picture("top-left", 9))
    maps = explained([other, *sorted(data.rglob("*.png"))], tmp_path / "maps.parquet")
    folder = folder_of(maps)
    items = items_of_folder(folder, "test")
    assert [one.name for one in items] == [str(path) for path in sorted(data.rglob("*.png"))]
    assert len(items_of_folder(folder)) == len(items) + 1


@pytest.mark.parametrize(
    ("form", "asked", "difference"),
    [
        ("npy", {"rule": "epsilon_plus"}, "rule epsilon_plus instead of zero"),
        ("png", {}, "format png instead of npy"),
        ("npy", {"target": "top-left"}, "target top-left instead of not given"),
        ("npy", {"fit": "pad"}, "fit pad instead of crop"),
    ],
)
def test_maps_of_another_request_are_refused(
    data: Path, tmp_path: Path, form: MapForm, asked: dict[str, Any], difference: str
) -> None:
    maps = explained(sorted(data.rglob("*.png"))[:1], tmp_path / "maps.parquet", form, **asked)
    with pytest.raises(
        DataError, match=f"^DATA: .* another request, {difference}.*; give the survey the --model"
    ):
        surveyed(maps, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_maps_of_another_model_are_refused(tmp_path: Path) -> None:
    Folder(tmp_path / "maps.parquet", {"model": "vgg@1"}).write([{"path": "a.png"}], 0)
    with pytest.raises(DataError, match=r"another request, model vgg@1 instead of quadrants@"):
        surveyed(tmp_path / "maps.parquet", tmp_path / "out")


def test_maps_that_are_computed_already_need_no_cluster(maps: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^--ray: is not for maps that are computed already"):
        surveyed(maps, tmp_path / "out", on_ray=OnRay(None))
