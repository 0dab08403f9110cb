"""Pictures of a cluster as files: their names, their content and the table that leads back to the data."""

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_model import FakeModel
from surveyed import picture, survey_of, surveyed, write, write_all

from app.command_line.surveys.options import options_of
from app.errors import DataError
from app.survey.image.export import COLUMNS, TABLE, ClusterName, export, files_of, safe
from app.survey.image.findings import ImageFindings
from app.survey.items import Item, find_items


def exported(data: Path, out: Path, *names: str) -> ImageFindings:
    found = survey_of("image", FakeModel(), options_of(data, out, {"rule": "zero"}, exported=names))
    assert isinstance(found, ImageFindings)
    return found


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def item(name: str, label: str | None) -> Item:
    return Item(name, label, "", bytes)


def marked(folder: Path) -> Path:
    """Write pictures among which those of one cluster of top-left are marked."""
    write_all(folder, 40)
    for number in range(15):
        write(folder / "top-left" / f"marked{number}.png", picture("top-left", 100 + number, marked=True))
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, f"test/{file.relative_to(folder)}")
    return path


def listed(folder: Path) -> Path:
    path = folder.with_suffix(".csv")
    lines = [f"{file.relative_to(folder.parent)},{file.parent.name}" for file in folder.rglob("*.png")]
    path.write_text("\n".join(["path,label", *lines]) + "\n")
    return path


@pytest.mark.parametrize("source", [Path, zipped, listed], ids=["folder", "zip", "csv"])
def test_the_pictures_of_a_cluster_are_copies_by_label(
    tmp_path: Path, source: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = marked(tmp_path / "data")
    data = source(folder)
    first = surveyed(data, tmp_path / "out").clusters[0]
    name = f"top-left:{first.number}"
    findings = exported(data, tmp_path / "out", name)
    written = tmp_path / "out" / "clusters" / f"top-left-{first.number}"
    rows = rows_of(written)
    assert [row["path"] for row in rows] == [findings.items[number].name for number in first.rows]
    assert {row["file"] for row in rows} == {f"top-left/marked{number}.png" for number in range(15)}
    assert {one.name for one in find_items(written)} == {row["file"] for row in rows}
    for row in rows:
        assert (written / row["file"]).read_bytes() == (folder / row["file"]).read_bytes()
        assert (row["label"], row["prediction"]) == ("top-left", "top-left")
        assert 0 < float(row["probability"]) <= 1
    assert f"wrote 15 pictures of cluster {name} to {written}/" in capsys.readouterr().out


def test_pictures_that_were_mended_are_not_replaced(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 3)
    exported(data, tmp_path / "out", "top-left:1", "top-right:1")
    assert {path.name for path in (tmp_path / "out" / "clusters").iterdir()} == {"top-left-1", "top-right-1"}
    mended = tmp_path / "out" / "clusters" / "top-left-1" / "top-left" / "000.png"
    mended.write_bytes(b"mended")
    with pytest.raises(
        DataError, match=r"clusters/top-left-1 exists, and its pictures may have been changed"
    ):
        exported(data, tmp_path / "out", "top-left:1")
    assert mended.read_bytes() == b"mended"


def test_a_cluster_that_there_is_not_is_refused(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 3, ("top-left",))
    with pytest.raises(DataError, match="the model has no class 'horse'; there are top-left, "):
        exported(data, tmp_path / "out", "horse:1")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="'top-left' has no cluster 2; its clusters are 1 to 1"):
        exported(data, tmp_path / "out", "top-left:1", "top-left:2")
    with pytest.raises(DataError, match="'top-right' has no cluster 1; no item is predicted as it"):
        exported(data, tmp_path / "out", "top-right:1")
    assert not (tmp_path / "out" / "clusters").exists()


@pytest.mark.parametrize("text", ["horse", "horse:", ":1", "horse:0", "horse:one", "horse:-1", "horse:12345"])
def test_what_is_no_name_of_a_cluster_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="write CLASS:NUMBER, as horse:1"):
        ClusterName.parse(text)


def test_a_class_may_have_colons() -> None:
    assert ClusterName.parse("a:b:3") == ClusterName("a:b", 3)
    assert str(ClusterName("a:b", 3)) == "a:b:3"


def test_names_that_meet_are_told_apart() -> None:
    names = files_of(
        [
            item("a/1.png", "cat"),
            item("b/1.png", "cat"),
            item("b/1.PNG", "cat"),
            item("c/1-2.png", "cat"),
            item("1.png", "Cat"),
            item("1.png", None),
        ]
    )
    assert names == [
        "cat/1.png",
        "cat/1-2.png",
        "cat/1-3.PNG",
        "cat/1-2-2.png",
        "Cat-2/1.png",
        "(no label)/1.png",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".hidden.png", "%2Ehidden.png"),
        ('<img src="x">.png', "%3Cimg src=%22x%22%3E.png"),
        ("C:\\1.png", "C%3A%5C1.png"),
        ("line\n.png", "line%0A.png"),
        ("Häuser & Bäume.png", "Häuser & Bäume.png"),
        ("5%.png", "5%25.png"),
    ],
)
def test_names_stay_in_their_folder(name: str, expected: str) -> None:
    assert safe(name) == expected


def test_long_names_keep_their_suffix() -> None:
    assert safe("x" * 300 + ".jpeg") == "x" * 50 + ".jpeg"
    assert len(safe("ü" * 300)) == 50


def test_labels_of_a_csv_file_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture("top-left", 0))
    (tmp_path / "x.csv").write_text('path,label\na.png,"../../../evil"\n')
    exported(tmp_path / "x.csv", tmp_path / "out", "top-left:1")
    (row,) = rows_of(tmp_path / "out" / "clusters" / "top-left-1")
    assert tuple(row) == COLUMNS
    assert row["file"] == "%2E.%2F..%2F..%2Fevil/a.png"
    assert row["label"] == "../../../evil"
    assert (tmp_path / "out" / "clusters" / "top-left-1" / row["file"]).exists()


def test_a_picture_that_is_gone_leaves_no_half_of_an_export(tmp_path: Path) -> None:
    data = write_all(tmp_path / "data", 3)
    findings = surveyed(data, tmp_path / "out")
    cluster = ClusterName("top-left", 1).find(findings)
    (data / "top-left" / "001.png").rename(tmp_path / "001.png")
    folder = tmp_path / "cluster"
    with pytest.raises(DataError, match=r"top-left/001.png: .*No such file"):
        export(findings, cluster, folder)
    assert not folder.exists()
    (tmp_path / "001.png").rename(data / "top-left" / "001.png")
    export(findings, cluster, folder)
    assert len(list(folder.glob("top-left/*.png"))) == 3
