"""Texts with labels, in the files that texts are trained on: ``text<TAB>label`` in each line."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from app.errors import DataError
from app.modalities.text.columns import read_columns
from app.modalities.text.treebank import unescape
from app.survey.items import Item, printable

SUFFIX = ".tsv"
FORM = "text<TAB>label"


def find_texts(source: Path, classes: Sequence[str], split: str | None = None) -> list[Item]:
    """Return the texts of a file, or of all ``*.tsv`` of a folder, in their order.

    As where texts are trained on: labels that are numbers are those of ``classes``. A line of another form fails
    when it is read; one without a tab has no label.

    Args:
        source: File, or folder of files.
        classes: Names of the classes that the network knows.
        split: Of a folder, only the file of this name, as ``test`` for ``test.tsv``.

    Raises:
        DataError: There is no such file, or it is not UTF-8.

    """
    items = [item for file in _files(source, split) for item in _of_file(file, classes)]
    if not items:
        raise DataError(f"{source}: no text in {split or '*'}{SUFFIX}; each line must be {FORM}")
    return items


def _files(source: Path, split: str | None) -> Sequence[Path]:
    if not source.is_dir():
        return [source]
    if split is None:
        return sorted(source.glob(f"*{SUFFIX}"))
    return [path for path in (source / f"{split}{SUFFIX}",) if path.is_file()]


def _of_file(path: Path, classes: Sequence[str]) -> Iterator[Item]:
    try:
        lines = read_columns(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}); it must have {FORM} in each line") from None
    for number, line in enumerate(lines, 1):
        name, stamp = (
            f"{printable(path.name)}:{number}",
            hashlib.blake2b("\t".join(line).encode(), digest_size=8).hexdigest(),
        )
        text, label = [*line, "", ""][:2]
        if len(line) > 2 or not text.strip():
            yield Item(name, None, stamp, partial(_refuse, len(line)))
        else:
            yield Item(name, _named(label.strip(), classes), stamp, partial(unescape, text))


def _refuse(columns: int) -> str:
    """Raise `DataError` for a line of another form, when it is read."""
    found = "is empty" if columns < 2 else "has no text" if columns == 2 else f"has {columns} columns"
    raise DataError(f"the line {found}; it must be {FORM}")


def _named(label: str, classes: Sequence[str]) -> str | None:
    is_number = label.isdecimal() and label not in classes and int(label) < len(classes)
    return classes[int(label)] if is_number else label or None
