"""Files that ``lrpserve explain`` writes: which input's explanation is written where, and in which form."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.command_line.kind import STANDARD, Item
from app.errors import DataError

Outputs = Mapping[Item, Path | None]
"""The file of each input's explanation; ``None``: standard output."""

DRAWING = "png"
"""Form of what is written, if nothing else is asked for."""
BINARY = ("png", "npy")
LINES = "json"
"""Form of which standard output takes several, one a line."""
SUFFIXES = ("json", "csv", "html", "npy", "png", "zip")
"""Suffixes of outputs that say their form."""
FOLDER_OF_ROWS = ".parquet"
"""Suffix of a folder of Parquet files."""


def form_of(output: str | None, forms: Sequence[str], items: str) -> str | None:
    """Return the form, of these ``forms``, that the suffix of ``output`` says, else `DRAWING`.

    It is ``None`` for no output and for standard output. Raises `DataError` for the suffix of a form that
    explanations of ``items`` do not have.
    """
    if output is None or output == STANDARD:
        return None
    suffix = Path(output).suffix.lower().removeprefix(".")
    if suffix in SUFFIXES and suffix not in forms:
        raise DataError(f"--output: {output}: explanations of {items} are written as {', '.join(forms)}")
    return suffix if suffix in forms else DRAWING


def is_folder_of_rows(output: str) -> bool:
    """Return whether an output is a folder of Parquet files, which `app.command_line.many` writes."""
    return Path(output).suffix.lower() == FOLDER_OF_ROWS


def outputs(items: Sequence[Item], output: str | None, form: str) -> Outputs:
    """Return where the explanation of each of ``items`` is written, and create the folders.

    ``output`` is a file for one input, a folder for several, or ``-`` for standard output. By default heatmaps
    are written beside their pictures, into a folder ``heatmaps`` for a folder of pictures, and to standard output
    for standard input, as explanations of all others are. Below a folder they have the places of their pictures.
    Pictures whose names differ only by suffix keep it: ``a.jpg.heatmap.png``.

    Raises `DataError`, before anything is computed, if two inputs have one output or if an output is an input.
    """
    if output is not None and _is_one(output, items):
        places: Outputs = {items[0]: None if output == STANDARD else Path(output)}
        _check(places)
    else:
        places = _in_folders(items, output, form)
        _check(places)
        _make_folders(places)
    standard = [one for one, place in places.items() if place is None]
    if form != LINES and len(standard) > 1:
        raise _too_many(standard)
    _refuse_terminal(standard, form)
    return places


def document(items: Sequence[Item], output: str | None, form: str) -> Path | None:
    """Return the file of the explanations of all ``items``; ``None``: standard output.

    Raises `DataError` if it is a folder or an input.
    """
    if output is None or output == STANDARD:
        return None
    if output.endswith(os.sep) or Path(output).is_dir():
        raise DataError(
            f"--output: {output} is a folder; {form} has all explanations in one file, so name it"
        )
    _check({items[0]: Path(output)})
    return Path(output)


def write(path: Path | None, body: bytes, form: str) -> None:
    """Write ``body`` to the file, or to standard output; raises `OSError`."""
    if path is not None:
        path.write_bytes(body)
        return
    sys.stdout.buffer.write(body + b"\n" if form == LINES else body)
    sys.stdout.buffer.flush()


def _is_one(output: str, items: Sequence[Item]) -> bool:
    """Whether ``output`` takes one explanation: standard output, or a file for an input that is named itself."""
    if output == STANDARD:
        if len(items) > 1:
            raise _too_many(items)
        return True
    named_itself = len(items) == 1 and items[0].is_named_itself
    return named_itself and not output.endswith(os.sep) and not Path(output).is_dir()


def _too_many(items: Sequence[Item]) -> DataError:
    return DataError(f"--output: - takes one explanation, and there are {len(items)}; give a folder")


def _in_folders(items: Sequence[Item], output: str | None, form: str) -> Outputs:
    copies = {one: one.copy(output) for one in items}
    sharing = Counter(path.with_suffix("") for path in copies.values() if path)
    return {
        one: path
        and path.with_name(f"{path.name if sharing[path.with_suffix('')] > 1 else path.stem}.heatmap.{form}")
        for one, path in copies.items()
    }


def _check(places: Outputs) -> None:
    """Raise `DataError` if an output would replace an input or another output."""
    read = {os.path.realpath(one.path) for one in places if one.path is not None}
    written: dict[str, Item] = {}
    for one, path in places.items():
        if path is None:
            continue
        place = os.path.realpath(path)
        if place in read:
            raise DataError(f"--output: {path} is an input and would be replaced; name another file")
        if (other := written.setdefault(place, one)) is not one:
            raise DataError(
                f"--output: {other} and {one} would both be written to {path}; explain them one after the "
                "other, or give their common folder with --recursive, below which each keeps its place"
            )


def _refuse_terminal(standard: Sequence[Item], form: str) -> None:
    if standard and form in BINARY and sys.stdout.isatty():
        raise DataError(f"--output: {form} is no text for a terminal; name a file, or redirect the output")


def _make_folders(places: Outputs) -> None:
    for path in places.values():
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
