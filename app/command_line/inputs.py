"""Pictures that a command is given: files, globs, folders, lists of files and standard input."""

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.command_line.kind import STANDARD, Inputs, Skipped
from app.errors import DataError
from app.modalities.image.drawing.heatmap import is_heatmap
from app.modalities.image.signatures import SUFFIXES

HEATMAPS = "heatmaps"
"""Name of the folder, in a folder of pictures, that heatmaps are written to by default."""
NO_PICTURE = "no suffix of a picture"
HEATMAP = "a heatmap of lrpserve"
FOLDER = "a folder, which --recursive includes"
LINK = "a link to a folder, which can be given itself"


@dataclass(frozen=True)
class Input:
    """A picture that a command reads; an `Item`."""

    path: Path | None
    """``None``: standard input."""
    folder: Path | None = None
    """The folder that was given, if the file was found in it."""

    def __str__(self) -> str:
        return STANDARD if self.path is None else str(self.path)

    @property
    def is_named_itself(self) -> bool:
        """See `Item`."""
        return self.folder is None

    @property
    def names(self) -> dict[str, str | int]:
        """See `Item`."""
        return {"file": str(self)}

    def copy(self, output: str | None) -> Path | None:
        """See `Item`: below a folder that was given, the picture keeps its place."""
        if self.path is None:
            return None if output is None else Path(output, "stdin")
        if self.folder is None:
            return self.path if output is None else Path(output, self.path.name)
        return Path(output or self.folder / HEATMAPS, self.path.relative_to(self.folder))

    def read(self) -> bytes:
        """Return the file's bytes; raises `OSError`."""
        return sys.stdin.buffer.read() if self.path is None else self.path.read_bytes()


def find(paths: Sequence[str], *, recursive: bool, files_from: str | None = None) -> Inputs:
    """Return the pictures of `walk`, each once; raises `DataError` if there is none."""
    pictures: dict[Path | None, Input] = {}
    skipped: dict[Path, Skipped] = {}
    for one in walk(paths, recursive=recursive, files_from=files_from):
        if isinstance(one, Skipped):
            skipped.setdefault(one.path.absolute(), one)
        else:
            pictures.setdefault(one.path and one.path.absolute(), one)
    inputs = Inputs(tuple(pictures.values()), tuple(skipped.values()))
    if not inputs.items:
        raise no_picture(paths, files_from, inputs.skipped_lines())
    return inputs


def no_picture(paths: Sequence[str], files_from: str | None, skipped_lines: Sequence[str]) -> DataError:
    """Return the error for sources that have no picture."""
    named = ", ".join([*paths, *filter(None, [files_from])])
    return DataError("; ".join([f"no picture in {named}", *skipped_lines]))


def walk(
    paths: Sequence[str], *, recursive: bool, files_from: str | None = None
) -> Iterator[Input | Skipped]:
    """Yield the pictures of ``paths``, files, globs, folders and ``-``, and of the list ``files_from``.

    Of folders those are taken whose suffix is in `SUFFIXES`; a file that is named itself may have any. Heatmaps
    that have their metadata are skipped. A list has a path in each line. Raises `DataError` for one of ``paths``
    that does not exist.
    """
    for text in paths:
        yield from _found(text, recursive=recursive)
    if files_from is not None:
        yield from _listed(files_from)


def _found(text: str, *, recursive: bool) -> Iterator[Input | Skipped]:
    if text == STANDARD:
        yield Input(None)
        return
    for path in _expanded(text):
        if path.is_dir():
            yield from _in_folder(path, recursive=recursive)
        else:
            yield _unless_heatmap(Input(path), path)


def _listed(list_path: str) -> Iterator[Input | Skipped]:
    """Yield the pictures of a list; one that does not exist is reported when it is read."""
    for line in filter(None, (line.rstrip("\r\n") for line in _lines(list_path))):
        yield _unless_heatmap(Input(Path(line)), Path(line))


def _lines(list_path: str) -> Iterator[str]:
    if list_path == STANDARD:
        yield from sys.stdin
        return
    with Path(list_path).open(errors="surrogateescape") as file:  # names need not be text
        yield from file


def _expanded(text: str) -> list[Path]:
    """Return the path itself, or the paths that match it as a glob, for shells that do not expand globs."""
    if Path(text).exists():
        return [Path(text)]
    if not glob.has_magic(text):
        raise DataError(f"{text}: No such file or directory")
    if matches := sorted(glob.glob(text, recursive=True)):  # noqa: PTH207 # Path.glob takes no absolute pattern
        return [Path(match) for match in matches]
    raise DataError(f"{text}: no file matches")


def _in_folder(folder: Path, *, recursive: bool) -> Iterator[Input | Skipped]:
    """Yield the pictures of a folder by name; those of its folders after its own."""
    errors: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=errors.append):
        for path in (Path(parent, name) for name in sorted(files)):
            is_picture = path.suffix.lower() in SUFFIXES
            yield _unless_heatmap(Input(path, folder), path) if is_picture else Skipped(path, NO_PICTURE)
        folders.sort()
        yield from _skipped_folders([Path(parent, name) for name in folders], recursive=recursive)
        if not recursive:
            break
    yield from (Skipped(Path(error.filename), str(error.strerror)) for error in errors)


def _skipped_folders(folders: Sequence[Path], *, recursive: bool) -> Iterator[Skipped]:
    for path in folders:
        if not recursive:
            yield Skipped(path, FOLDER)
        elif path.is_symlink():  # which might lead in a circle
            yield Skipped(path, LINK)


def _unless_heatmap(picture: Input, path: Path) -> Input | Skipped:
    if not path.is_file():  # such as a pipe, which can be read once
        return picture
    try:
        with path.open("rb") as file:
            return Skipped(path, HEATMAP) if is_heatmap(file) else picture
    except OSError:  # reported when the picture is read
        return picture
