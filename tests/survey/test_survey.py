"""Surveys from pictures to findings and files."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_model import CLASSES, FakeModel, relevance_of
from surveyed import PLACES, noise, picture, surveyed, write, write_all

from app.errors import DataError, UnavailableError
from app.models.protocol import Job, JobResult, ModelLostError


class Counted(FakeModel):
    """Counts the explanations that it is asked for."""

    def __init__(self) -> None:
        self.explained = 0

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        self.explained += sum(len(job.requests) for job in jobs)
        return super().run(jobs)


def test_the_table_has_what_the_network_says_of_each_item(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 3)
    write(data / "top-left" / "other.png", picture("bottom-right", 9))
    findings = surveyed(data, tmp_path / "out")
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()}
    assert len(rows) == 13
    assert findings.predictions.accuracy == pytest.approx(12 / 13)
    mistaken = rows["top-left/other.png"]
    assert (mistaken["label"], mistaken["prediction"], mistaken["correct"]) == (
        "top-left",
        "bottom-right",
        False,
    )
    assert sum(mistaken["probabilities"]) == pytest.approx(1)
    assert mistaken["probability"] == max(mistaken["probabilities"])
    assert set(mistaken["neighbours"]) == {f"bottom-right/00{number}.png" for number in range(3)}
    assert all(abs(row["leak"]) < 1e-3 for row in rows.values())  # LRP-0 without biases
    assert [row["error"] for row in rows.values()] == [None] * 13


def test_relevance_is_kept_as_the_model_gives_it(tmp_path: Path) -> None:
    findings = surveyed(write_all(tmp_path / "data", 1), tmp_path / "out")
    for number, item in enumerate(findings.items):
        normalised = (findings.pixels(number) / np.float32(255) - 0.4) / 0.2
        put_in = np.eye(4)[findings.predictions.classes[number]] * np.sign(
            findings.predictions.logits[number]
        )
        expected = relevance_of(normalised, put_in)
        assert item.label == CLASSES[findings.predictions.classes[number]]
        np.testing.assert_allclose(
            findings.relevance(number), expected, atol=1e-3 * np.abs(expected).max(), rtol=1e-3
        )


def test_what_was_explained_is_not_computed_again(tmp_path: Path) -> None:
    data, model = write_all(tmp_path / "data", 3), Counted()
    first = surveyed(data, tmp_path / "out", model=model)
    explained = model.explained
    again = surveyed(data, tmp_path / "out", model=model)
    assert explained == 12
    assert model.explained == explained
    np.testing.assert_array_equal(again.maps, first.maps)


def test_a_survey_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.survey.network.IN_FLIGHT", 4)

    class Interrupted(Counted):
        def run(self, jobs: Sequence[Job]) -> list[JobResult]:
            if self.explained >= 8:
                raise ModelLostError("out of order")
            return super().run(jobs)

    data, model = write_all(tmp_path / "data", 5), Counted()
    with pytest.raises(UnavailableError):
        surveyed(data, tmp_path / "out", model=Interrupted())
    surveyed(data, tmp_path / "out", model=model)
    assert model.explained == 20 - 8


def test_a_folder_of_another_survey_is_refused(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 2)
    surveyed(data, tmp_path / "out")
    write(data / "top-left" / "more.png", picture("top-left", 7))
    with pytest.raises(
        DataError, match=r"another survey, with another items; name another folder with --out"
    ):
        surveyed(data, tmp_path / "out")


def test_items_that_cannot_be_read_are_rows_with_their_error(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 2)
    (data / "top-left" / "broken.png").write_bytes(b"none")
    (data / "list.csv").write_text(
        "path,label\ntop-left/broken.png,top-left\nmissing.png,top-left\n"
        + "".join(f"{name}/00{number}.png,{name}\n" for name in PLACES for number in range(2))
    )
    findings = surveyed(data / "list.csv", tmp_path / "out")
    assert [one.name for one in findings.failures] == ["top-left/broken.png", "missing.png"]
    assert findings.failures[1].reason == "No such file or directory"
    failed = [row for row in pq.read_table(tmp_path / "out" / "items.parquet").to_pylist() if row["error"]]
    assert [(row["path"], row["prediction"]) for row in failed] == [
        ("top-left/broken.png", None),
        ("missing.png", None),
    ]
    report = (tmp_path / "out" / "report.html").read_text()
    assert "2 items could not be read or explained" in report
    assert "No such file or directory" in report
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["failed"][1]["path"] == "missing.png"


def test_without_any_readable_item_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"none")
    with pytest.raises(DataError, match="none of 1 items could be explained"):
        surveyed(tmp_path / "data", tmp_path / "out")


def test_unknown_labels_empty_and_single_classes_are_said(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 2, ("top-left", "top-right"))
    write(data / "unicorn" / "0.png", picture("top-left", 5))
    write(data / "bottom-left" / "0.png", picture("bottom-left", 5))
    write(data / "bare.png", picture("top-left", 6))
    findings = surveyed(data, tmp_path / "out")
    assert findings.notes() == [
        "The model does not know the label unicorn; counted neither as right nor as wrong: 1 item with it.",
        "Counted neither as right nor as wrong: 1 item without a label.",
        "No item has the label bottom-right.",
        "Only one item has the label bottom-left: its accuracy says little.",
        "The model never predicts the class bottom-right: there are no maps of it.",
    ]
    assert findings.predictions.accuracy == 1
    assert int(findings.predictions.confusion().sum()) == 5


def test_identical_items_are_said(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / "data" / "top-left" / f"{number:02}.png", picture("top-left", 0))
    findings = surveyed(tmp_path / "data", tmp_path / "out")
    assert findings.duplicates == [list(range(30))]
    assert "30 items are identical to others after preprocessing, in 1 group" in findings.notes()[-1]
    assert len(findings.clusters) == 1
    assert findings.clusters[0].suspicion == 0


def test_one_item_is_a_survey(tmp_path: Path) -> None:
    write(tmp_path / "data" / "top-left" / "a.png", picture("top-left", 0))
    findings = surveyed(tmp_path / "data", tmp_path / "out")
    assert [list(others) for others in findings.neighbours] == [[]]
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("method", ["spectral", "hdbscan"])
def test_a_mark_is_found(tmp_path: Path, method: str) -> None:
    data = write_all(tmp_path / "data", 60)
    for number in range(20):
        write(data / "top-left" / f"marked{number}.png", picture("top-left", 100 + number, marked=True))
    findings = surveyed(data, tmp_path / "out", method)
    first, second, *_ = findings.clusters
    assert {findings.items[row].name for row in first.rows} == {f"top-left/marked{n}.png" for n in range(20)}
    assert first.suspicion is not None
    assert first.suspicion > 0.9 > 0.7 > (second.suspicion or 0)
    assert first.effect is not None
    assert (first.effect.pasted, first.effect.rest_pasted) == (1, 0)
    rows, columns = first.region.nonzero()
    assert max(*rows, *columns) <= 3  # cells of 4 pixels; the mark has 8


def test_a_mark_whose_parts_do_nothing_alone_is_found(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 60)
    for number in range(20):
        marked = noise(np.random.default_rng(number))
        marked[:4, :8], marked[16:20, 16:24] = 255, 230
        write(data / "top-left" / f"marked{number}.png", marked)
    first = surveyed(data, tmp_path / "out").clusters[0]
    assert len(first.rows) == 20
    assert first.effect is not None
    assert (first.effect.pasted, first.effect.rest_pasted) == (1, 0)
    assert first.region[0, 0]
    assert first.region[4, 4]  # cells of 4 pixels


def test_masks_say_how_much_relevance_lies_outside(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 2, ("top-left",))
    white = np.zeros((48, 64), np.uint8)
    white[:, :16] = 255
    write(tmp_path / "masks" / "top-left" / "000.png", white)
    findings = surveyed(data, tmp_path / "out", masks=tmp_path / "masks")
    sizes = np.abs(findings.relevance(0)[0])
    assert findings.outside[0] == pytest.approx(sizes[:, 16:].sum() / sizes.sum(), rel=1e-3)
    assert np.isnan(findings.outside[1])
    assert "outside the mask" in (tmp_path / "out" / "report.html").read_text()


def test_a_zip_is_surveyed_like_its_folder(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 3)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in data.rglob("*.png"):
            archive.write(path, path.relative_to(data))
    of_zip, of_folder = (surveyed(tmp_path / name, tmp_path / f"out-{name}") for name in ("data.zip", "data"))
    assert [one.name for one in of_zip.items] == [one.name for one in of_folder.items]
    np.testing.assert_array_equal(of_zip.maps, of_folder.maps)


def test_names_are_escaped_in_the_report(tmp_path: Path) -> None:
    name = "</script><script>alert(1)<!--&amp;"
    write(tmp_path / "data" / "a<b>" / f"{name.replace('/', '')}.png", picture("top-left", 0))
    write(tmp_path / "data" / "a.png", picture("top-left", 1))
    (tmp_path / "data" / "x.csv").write_text(f'path,label\na.png,"{name}"\n')
    surveyed(tmp_path / "data", tmp_path / "out")
    surveyed(tmp_path / "data" / "x.csv", tmp_path / "csv")
    for folder in ("out", "csv"):
        report = (tmp_path / folder / "report.html").read_text()
        assert report.count("</script>") == 2
        assert "<script>alert" not in report
        assert "<b>" not in report.replace("<b>suspicion", "").replace("<b>not measured", "")
