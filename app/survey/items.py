"""The inputs of a survey with their labels, and pictures in a folder, a zip or a list."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from app.errors import DataError
from app.modalities.image.signatures import SUFFIXES

PATH, LABEL = "path", "label"
"""Columns of a CSV file; the second one may be missing."""
CSV = ".csv"
NO_LABEL = "(no label)"
OF_ARCHIVERS = "__MACOSX"
"""Folder with metadata that macOS adds to a zip, in files with the suffixes of pictures."""


@dataclass(frozen=True)
class Item:
    """One input, and what it is known as."""

    name: str
    """Path within the folder or the zip, or as it is in the CSV file; bytes that are no text are escaped. Of
    texts and rows, the file and their number in it.
    """
    label: str | None
    """True class, or true value as it is written; ``None``: unknown."""
    stamp: str
    """Changes when the content does."""
    read: Callable[[], Any]
    """Returns the content as the modality decodes it; raises `DataError`, `OSError`, and `zipfile.BadZipFile` for
    a damaged member of a zip.
    """


def find_items(source: Path, split: str | None = None) -> list[Item]:
    """Return the pictures of ``source``, ordered by name; those of a CSV file in its order.

    The label of a picture in a folder or zip is the name of the folder that it lies in. If there is a folder
    ``split``, only the pictures below it are taken. Raises `DataError` if there is none.
    """
    if source.is_dir():
        items = _of_folder(source)
    elif source.suffix.lower() == CSV:
        return _of_csv(source)
    elif zipfile.is_zipfile(source):
        items = _of_zip(source)
    else:
        raise DataError(f"{source}: neither a folder, a zip nor a CSV file")
    items = of_split(items, split)
    if not items:
        raise DataError(
            f"{source}: no picture in it; files of these suffixes are taken: {', '.join(SUFFIXES)}"
        )
    return sorted(items, key=lambda one: one.name)


def item_of(path: str) -> Item:
    """Return the picture at ``path``, whose label is the name of its folder."""
    return Item(path, _label_of(path), _stamp(Path(path)), Path(path).read_bytes)


def of_split(items: Iterable[Item], split: str | None) -> list[Item]:
    """Return the items below a folder ``split``, or all if there is none."""
    found = list(items)
    return [one for one in found if split in PurePosixPath(one.name).parts[:-1]] or found


def digest(items: Iterable[Item]) -> str:
    """Return a SHA-256 over names, labels and stamps, which tells whether these are the same inputs."""
    lines = (f"{one.name}\0{one.label}\0{one.stamp}\n" for one in items)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _of_folder(folder: Path) -> list[Item]:
    paths = [path for path in folder.rglob("*") if _is_picture(path.relative_to(folder))]
    return [
        Item(name, _label_of(name), _stamp(path), path.read_bytes)
        for path in paths
        for name in [printable(path.relative_to(folder).as_posix())]
    ]


def _of_zip(path: Path) -> list[Item]:
    archive = zipfile.ZipFile(path)
    members = [one for one in archive.infolist() if _is_picture(PurePosixPath(one.filename))]
    return [
        Item(one.filename, _label_of(one.filename), f"{one.CRC:08x}", partial(archive.read, one))
        for one in members
    ]


def _of_csv(path: Path) -> list[Item]:
    """Return the rows of a CSV file; paths are relative to it. A file that is missing fails when it is read."""
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    if not rows:
        raise DataError(f"{path}: no row; write the columns {PATH} and {LABEL}, then a line for each picture")
    if PATH not in rows[0]:
        raise DataError(
            f"{path}: no column {PATH!r}; its first line must name the columns {PATH} and {LABEL}"
        )
    return [_of_row(path.parent, number, row) for number, row in enumerate(rows, 2)]


def _of_row(folder: Path, line: int, row: dict[str, str | None]) -> Item:
    name = (row[PATH] or "").strip()
    if not name:
        raise DataError(f"line {line}: the column {PATH} is empty")
    if "\0" in name:
        raise DataError(f"line {line}: the column {PATH} has a character NUL, which no path may have")
    path = folder / name
    return Item(name, (row.get(LABEL) or "").strip() or None, _stamp(path), path.read_bytes)


def _is_picture(path: PurePosixPath | Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not is_hidden and OF_ARCHIVERS not in path.parts


def printable(path: str) -> str:
    """Return ``path`` as text that can be written: file systems allow bytes that are none."""
    return path.encode("utf-8", "backslashreplace").decode()


def _label_of(name: str) -> str | None:
    return PurePosixPath(name).parent.name or None


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


def labels_of(items: Sequence[Item], classes: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the number of each item's label, and the names of all numbers.

    Labels have the numbers of the network's classes; those that it does not know, those that follow.
    """
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(classes)}
    found = [numbers.setdefault(one.label, len(numbers)) for one in items]
    return found, [NO_LABEL if name is None else name for name in numbers]
