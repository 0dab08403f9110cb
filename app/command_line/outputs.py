"""Files that ``lrpserve explain`` writes: which picture's heatmap is written where."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.command_line.inputs import STANDARD, Input
from app.errors import DataError
from app.serving.representations import Format

FOLDER = "heatmaps"
"""Name of the folder, in a folder of pictures, that heatmaps are written to by default."""

Outputs = Mapping[Input, Path | None]
"""The file of each picture's heatmap; ``None``: standard output."""


def outputs(pictures: Sequence[Input], output: str | None, form: Format) -> Outputs:
    """Return where the heatmap of each of ``pictures`` is written, and create the folders.

    ``output`` is a file for one picture, a folder for several, or ``-`` for standard output. By default heatmaps
    are written beside their pictures, into a folder `FOLDER` for a folder of pictures, and to standard output for
    standard input. Below a folder they have the places of their pictures. Pictures whose names differ only by
    suffix keep it: ``a.jpg.heatmap.png``.

    Raises `DataError`, before anything is computed, if two pictures have one output or if an output is an input.
    """
    if output is not None and _is_one(output, pictures):
        places: Outputs = {pictures[0]: None if output == STANDARD else Path(output)}
        _check(places)
    else:
        places = _in_folders(pictures, output, form)
        _check(places)
        _make_folders(places)
    _refuse_terminal(places, form)
    return places


def write(path: Path | None, body: bytes, form: Format) -> None:
    """Write ``body`` to the file, or to standard output; raises `OSError`."""
    if path is not None:
        path.write_bytes(body)
        return
    sys.stdout.buffer.write(body + b"\n" if form is Format.JSON else body)
    sys.stdout.buffer.flush()


def format_of(output: str | None) -> Format:
    """Return the format that the suffix of ``output`` says, else PNG."""
    suffix = Path(output or "").suffix.lower().removeprefix(".")
    return Format(suffix) if suffix in (Format.JSON, Format.NPY) else Format.PNG


def _is_one(output: str, pictures: Sequence[Input]) -> bool:
    """Whether ``output`` takes one heatmap: standard output, or a file for a picture that is named itself."""
    if output == STANDARD:
        if len(pictures) > 1:
            raise DataError(f"--output: - takes one heatmap, and there are {len(pictures)}; give a folder")
        return True
    named_itself = len(pictures) == 1 and pictures[0].folder is None
    return named_itself and not output.endswith(os.sep) and not Path(output).is_dir()


def _in_folders(pictures: Sequence[Input], output: str | None, form: Format) -> Outputs:
    copies = {one: _copy(one, output) for one in pictures}
    sharing = Counter(path.with_suffix("") for path in copies.values() if path)
    return {
        one: path
        and path.with_name(f"{path.name if sharing[path.with_suffix('')] > 1 else path.stem}.heatmap.{form}")
        for one, path in copies.items()
    }


def _copy(picture: Input, output: str | None) -> Path | None:
    """Return where a copy of ``picture`` would be, beside its heatmap."""
    if picture.path is None:
        return None if output is None else Path(output, "stdin")
    if picture.folder is None:
        return picture.path if output is None else Path(output, picture.path.name)
    return Path(output or picture.folder / FOLDER, picture.path.relative_to(picture.folder))


def _check(places: Outputs) -> None:
    """Raise `DataError` if an output would replace an input or another output."""
    read = {os.path.realpath(one.path) for one in places if one.path is not None}
    written: dict[str, Input] = {}
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


def _refuse_terminal(places: Outputs, form: Format) -> None:
    if form is not Format.JSON and None in places.values() and sys.stdout.isatty():
        raise DataError(f"--output: {form} is no text for a terminal; name a file, or redirect the output")


def _make_folders(places: Outputs) -> None:
    for path in places.values():
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
