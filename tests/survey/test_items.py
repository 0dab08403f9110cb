"""Items of folders, zips and CSV files."""

import os
import zipfile
from pathlib import Path

import pytest

from app.errors import DataError
from app.survey.items import NO_LABEL, digest, find_items, labels_of


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_labels_are_the_folders_that_pictures_lie_in(tmp_path: Path) -> None:
    write(tmp_path, "test/cat/a.png", "test/dog/b.JPG", "c.webp", "notes.txt", ".hidden/d.png", "dog/._b.png")
    items = find_items(tmp_path)
    assert [(one.name, one.label) for one in items] == [
        ("c.webp", None),
        ("test/cat/a.png", "cat"),
        ("test/dog/b.JPG", "dog"),
    ]
    assert items[1].read() == b"test/cat/a.png"


def test_only_pictures_of_the_split_are_taken(tmp_path: Path) -> None:
    write(tmp_path, "test/cat/a.png", "train/cat/b.png")
    assert [one.name for one in find_items(tmp_path, "train")] == ["train/cat/b.png"]
    assert len(find_items(tmp_path)) == 2


def test_members_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cat/b.png", "cat/a.png", "__MACOSX/cat/._a.png", "readme.md"):
            archive.writestr(name, name)
    items = find_items(tmp_path / "a.zip")
    assert [(one.name, one.label, one.read()) for one in items] == [
        ("cat/a.png", "cat", b"cat/a.png"),
        ("cat/b.png", "cat", b"cat/b.png"),
    ]


def test_rows_of_a_csv_file_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path, "b.png", "a.png")
    (tmp_path / "list.csv").write_text("\ufefflabel,path,more\ncat,b.png,1\n,a.png,2\n", "utf-8")
    items = find_items(tmp_path / "list.csv")
    assert [(one.name, one.label, one.read()) for one in items] == [
        ("b.png", "cat", b"b.png"),
        ("a.png", None, b"a.png"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no row"),
        ("file,label\na,b\n", "no column 'path'"),
        ("path,label\n,cat\n", "line 2: the column path is empty"),
        ("path,label\na.png,cat\nb\0.png,cat\n", "line 3: the column path has a character NUL"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        find_items(tmp_path / "list.csv")


def test_what_holds_no_picture_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt")
    for source in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match=str(source)):
            find_items(source)


def test_names_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"bytes")
    (item,) = find_items(tmp_path)
    assert item.name.encode() == b"\\udcff.png"
    assert item.read() == b"bytes"


def test_a_digest_changes_with_content_and_labels(tmp_path: Path) -> None:
    write(tmp_path, "cat/a.png")
    before = digest(find_items(tmp_path))
    assert digest(find_items(tmp_path)) == before
    (tmp_path / "cat" / "a.png").write_bytes(b"longer content")
    after = digest(find_items(tmp_path))
    assert after != before
    (tmp_path / "cat").rename(tmp_path / "dog")
    assert digest(find_items(tmp_path)) != after


def test_labels_have_the_numbers_of_classes_and_then_others(tmp_path: Path) -> None:
    write(tmp_path, "dog/a.png", "cat/b.png", "unicorn/c.png", "d.png")
    numbers, names = labels_of(find_items(tmp_path), ("cat", "dog"))
    assert names == ["cat", "dog", NO_LABEL, "unicorn"]
    assert numbers == [0, 2, 1, 3]
