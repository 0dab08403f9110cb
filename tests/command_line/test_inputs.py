"""Which files are pictures of a command."""

import errno
import io
import os
import threading
from pathlib import Path

import pytest
from conftest import encode
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient

from app.command_line.inputs import Input, find
from app.errors import DataError
from app.modalities.image.drawing.heatmap import is_heatmap


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def heatmap(client: TestClient, cat_png: bytes) -> bytes:
    query, headers = "?view=side_by_side", {"Content-Type": "image/png", "Accept": "image/png"}
    answer = client.post(f"/explain{query}", content=cat_png, headers=headers)
    assert answer.headers["content-type"] == "image/png"
    content: bytes = answer.content
    return content


def touch(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()


def names(*paths: str, recursive: bool = False) -> list[str]:
    return [str(one) for one in find(paths, recursive=recursive).items]


def test_files_folders_and_globs_may_be_mixed_and_count_once() -> None:
    touch("a.jpg", "b.png", "in/c.JPG", "in/d.txt")
    assert names("b.png", "in", "*.[jp][pn]g", "./b.png") == ["b.png", "in/c.JPG", "a.jpg"]
    assert names("in/d.txt") == ["in/d.txt"]


def test_a_glob_may_go_through_folders() -> None:
    touch("a/b/c.png", "a/d.png", "e.png")
    assert names("**/*.png") == ["a/b/c.png", "a/d.png", "e.png"]


def test_a_name_with_brackets_is_no_glob_if_it_exists() -> None:
    touch("a[1].png", "a1.png")
    assert names("a[1].png") == ["a[1].png"]


def test_folders_are_read_with_their_folders_if_recursive() -> None:
    touch("in/a.png", "in/x/b.png", "in/x/y/c.png", "in/w/d.png")
    assert names("in") == ["in/a.png"]
    assert names("in", recursive=True) == ["in/a.png", "in/w/d.png", "in/x/b.png", "in/x/y/c.png"]


def test_what_is_skipped_is_counted_and_named() -> None:
    touch("in/a.png", "in/b.txt", "in/c", "in/x/d.png")
    assert find(["in"], recursive=False).skipped_lines() == [
        "2 skipped, no suffix of a picture: in/b.txt, in/c",
        "1 skipped, a folder, which --recursive includes: in/x",
    ]


def test_links_to_folders_and_unreadable_folders_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.png", "in/closed/b.png")
    Path("in/again").symlink_to(".")
    scandir = os.scandir

    def refuse_one(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_one)
    inputs = find(["in"], recursive=True)
    assert [str(one) for one in inputs.items] == ["in/a.png"]
    assert inputs.skipped_lines() == [
        "1 skipped, a link to a folder, which can be given itself: in/again",
        "1 skipped, Permission denied: in/closed",
    ]


def test_ten_of_many_are_named() -> None:
    touch("a.png", *(f"{number:02}.txt" for number in range(12)))
    (line,) = find(["."], recursive=False).skipped_lines()
    assert line.startswith("12 skipped, no suffix of a picture: 00.txt, 01.txt")
    assert line.endswith("09.txt and 2 more")


def test_heatmaps_are_skipped_in_folders_and_by_name(heatmap: bytes, cat_png: bytes) -> None:
    Path("cat.png").write_bytes(cat_png)
    Path("why.png").write_bytes(heatmap)
    for paths in (["."], ["cat.png", "why.png"], ["*.png"]):
        inputs = find(paths, recursive=False)
        assert [str(one) for one in inputs.items] == ["cat.png"]
        assert inputs.skipped_lines() == ["1 skipped, a heatmap of lrpserve: why.png"]
    with pytest.raises(DataError, match=r"^no picture in why.png; 1 skipped, a heatmap of lrpserve: why.png"):
        find(["why.png"], recursive=False)


def with_text(cat: Image.Image, keyword: str) -> bytes:
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_itxt(keyword, "{}")
    cat.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_a_heatmap_is_recognised_by_its_chunk(cat: Image.Image, heatmap: bytes, cat_png: bytes) -> None:
    assert is_heatmap(io.BytesIO(heatmap))
    assert is_heatmap(io.BytesIO(with_text(cat, "lrp")))
    others = (
        b"",
        heatmap[:20],
        cat_png,
        encode(cat, "JPEG"),
        with_text(cat, "lrp2"),
        with_text(cat, "Title"),
    )
    assert not any(is_heatmap(io.BytesIO(data)) for data in others)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.png", "none.png: No such file or directory"),
        ("*.png", "*.png: no file matches"),
        ("empty", "no picture in empty"),
        ("outer", "no picture in outer; 1 skipped, a folder, which --recursive includes: outer/inner"),
    ],
)
def test_no_picture_is_an_error_that_says_why(path: str, message: str) -> None:
    Path("empty").mkdir()
    touch("outer/inner/a.png")
    with pytest.raises(DataError) as raised:
        find([path], recursive=False)
    assert raised.value.detail == message


def test_a_hyphen_is_standard_input() -> None:
    assert find(["-", "-"], recursive=False).items == (Input(None),)
    assert names("-") == ["-"]


def test_a_pipe_is_read_once() -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(b"picture"))
    writer.start()
    (picture,) = find(["pipe"], recursive=False).items
    assert picture.read() == b"picture"
    writer.join()
