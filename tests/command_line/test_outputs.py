"""Where heatmaps are written."""

from pathlib import Path

import pytest

from app.command_line.inputs import find
from app.command_line.outputs import document, form_of, outputs
from app.errors import DataError
from app.serving.representations import Format


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current directory, with pictures and a folder of them."""
    monkeypatch.chdir(tmp_path)
    for path in ("a.jpg", "a.png", "b.png", "in/a.jpg", "in/x/a.jpg", "in/x/c.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    Path("out").mkdir()
    return tmp_path


def places(
    *paths: str, output: str | None = None, form: Format = Format.PNG, recursive: bool = False
) -> list[str | None]:
    pictures = find(paths, recursive=recursive).items
    return [None if path is None else str(path) for path in outputs(pictures, output, form).values()]


def test_a_heatmap_is_beside_its_picture_or_where_it_is_put() -> None:
    assert places("in/a.jpg") == ["in/a.heatmap.png"]
    assert places("in/a.jpg", form=Format.NPY) == ["in/a.heatmap.npy"]
    assert places("in/a.jpg", output="why.png") == ["why.png"]
    assert places("in/a.jpg", output="out") == ["out/a.heatmap.png"]
    assert places("in/a.jpg", output="new/") == ["new/a.heatmap.png"]
    assert places("in/a.jpg", "b.png") == ["in/a.heatmap.png", "b.heatmap.png"]
    assert places("in/a.jpg", "b.png", output="new") == ["new/a.heatmap.png", "new/b.heatmap.png"]


def test_heatmaps_of_a_folder_have_the_places_of_their_pictures() -> None:
    assert places("in") == ["in/heatmaps/a.heatmap.png"]
    below = ["a.heatmap.png", "x/a.heatmap.png", "x/c.heatmap.png"]
    assert places("in", recursive=True) == [f"in/heatmaps/{path}" for path in below]
    assert places("in", recursive=True, output="new") == [f"new/{path}" for path in below]
    assert Path("new/x").is_dir()


def test_pictures_of_one_name_keep_their_suffixes() -> None:
    assert places("a.jpg", "a.png", "b.png") == ["a.jpg.heatmap.png", "a.png.heatmap.png", "b.heatmap.png"]


def test_two_pictures_never_have_one_output() -> None:
    with pytest.raises(
        DataError, match=r"^--output: a.jpg and in/a.jpg would both be written to new/a.jpg.h"
    ):
        places("a.jpg", "in/a.jpg", output="new")
    assert not Path("new").exists()
    Path("link").symlink_to("in")
    with pytest.raises(DataError, match=r"^--output: in/a.jpg and link/a.jpg would both be written to "):
        places("in/a.jpg", "link/a.jpg")


def test_an_output_never_replaces_an_input() -> None:
    with pytest.raises(DataError, match=r"^--output: ./a.jpg is an input|^--output: a.jpg is an input"):
        places("a.jpg", output="./a.jpg")
    Path("b.heatmap.png").touch()  # a picture by name and content
    with pytest.raises(DataError, match=r"^--output: b.heatmap.png is an input and would be replaced"):
        places("b.png", "b.heatmap.png")


def test_a_hyphen_is_standard_output() -> None:
    assert places("a.jpg", output="-") == [None]
    assert places("-") == [None]
    assert places("-", output="why.png") == ["why.png"]
    assert places("-", "a.jpg", output="out") == ["out/stdin.heatmap.png", "out/a.heatmap.png"]
    with pytest.raises(
        DataError, match=r"^--output: - takes one explanation, and there are 2; give a folder"
    ):
        places("a.jpg", "b.png", output="-")


def test_a_terminal_gets_json_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert places("-", form=Format.JSON) == [None]
    with pytest.raises(DataError, match=r"^--output: png is no text for a terminal"):
        places("-")


def test_the_suffix_of_the_output_is_the_default_format() -> None:
    forms = ("json", "png", "npy")
    given = ("out", "a.png", "a.jpg", "a.npy", "a.JSON", "-", None)
    expected = ["png", "png", "png", "npy", "json", None, None]
    assert [form_of(one, forms, "pictures") for one in given] == expected


def test_a_suffix_of_a_form_that_there_is_not_is_refused() -> None:
    with pytest.raises(DataError, match=r"a.html: explanations of rows are written as json, csv"):
        form_of("a.html", ("json", "csv"), "rows")


def test_a_document_is_one_file_that_is_no_input() -> None:
    items = find(["a.jpg", "b.png"], recursive=False).items
    assert (document(items, None, "csv"), document(items, "-", "csv")) == (None, None)
    assert document(items, "out.csv", "csv") == Path("out.csv")
    with pytest.raises(DataError, match=r"^--output: ./?a.jpg is an input|^--output: a.jpg is an input"):
        document(items, "./a.jpg", "csv")
    with pytest.raises(DataError, match=r"^--output: out is a folder; csv has all explanations in one file"):
        document(items, "out", "csv")
