"""A folder of Parquet files with the explanations of one request.

A file is complete or absent: it is written beside its place and renamed. What a command that is ended leaves can
be read, and the next one goes on from there.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import DataError
from app.parquet.schema import REQUEST, SCHEMA, Row

SUFFIX = ".parquet"
ABSENT = "not given"
GO_ON = "name another folder, or give the same options to go on"
MAX_NAMED = 3
"""Differences between requests that a message names."""
COMPRESSION = {name: "none" if name == "png" else "zstd" for name in SCHEMA.names}
"""PNG is compressed already."""


def is_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder with such files."""
    return path.is_dir() and next(path.glob(f"part-*{SUFFIX}"), None) is not None


class Folder:
    """Explanations of the request that ``asked`` describes: JSON of the model and the options."""

    def __init__(
        self, path: Path, asked: Mapping[str, Any], option: str = "--output", advice: str = GO_ON
    ) -> None:
        """Create the folder, or open it; raises `DataError` if it has files of another request.

        ``option`` is where the folder is named, ``advice`` what to do if its request is another one.
        """
        self._option, self._advice = option, advice
        self._path = path.absolute()  # on other machines the command has another current directory
        self._asked = asked
        self._schema = SCHEMA.with_metadata({REQUEST: json.dumps(asked)})
        if path.exists() and not path.is_dir():
            raise DataError(f"{option}: {path} is a file; Parquet files of many pictures need a folder")
        path.mkdir(parents=True, exist_ok=True)
        for part in self._parts():
            self._check(part)

    @property
    def next_number(self) -> int:
        """The lowest number that is higher than those of all files."""
        numbers = [int(part.stem.split("-")[1]) for part in self._parts()]
        return max(numbers, default=-1) + 1

    def read(self, columns: Sequence[str], number: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield these ``columns`` of all rows, or of those in the files with this ``number``."""
        for batch in self.batches(columns, number):
            yield from batch.to_pylist()

    def batches(self, columns: Sequence[str], number: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the same as Arrow's batches; the maps of a batch are at most those of a file."""
        for part in self._parts(number):
            with _opened(part) as file:
                yield from file.iter_batches(columns=columns)

    def paths(self, number: int | None = None) -> Iterator[str]:
        """Yield the paths of the rows that `read` yields."""
        return (row["path"] for row in self.read(["path"], number))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands of this machine from writing to the folder; raises `DataError` where one does."""
        if sys.platform == "win32":
            yield
            return
        import fcntl

        handle = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise DataError(
                f"{self._option}: another command writes to {self._path}; wait until it ends"
            ) from None
        finally:
            os.close(handle)

    def write(self, rows: Sequence[Row], number: int) -> None:
        """Write ``rows`` as the next file with this ``number``; raises `OSError`."""
        index = len(list(self._parts(number)))
        place = self._path / f"part-{number:06}-{index:04}{SUFFIX}"
        unfinished = place.with_name(f".{place.name}.unfinished")  # which readers of folders leave out
        table = pa.Table.from_pylist([dict(row) for row in rows], self._schema)
        with unfinished.open("wb") as file:
            pq.write_table(table, file, compression=COMPRESSION)
            os.fsync(file.fileno())
        unfinished.replace(place)

    def _parts(self, number: int | None = None) -> Iterator[Path]:
        yield from sorted(self._path.glob(f"part-{'*' if number is None else f'{number:06}'}-*{SUFFIX}"))

    def _check(self, part: Path) -> None:
        with _opened(part) as file:
            found = (file.schema_arrow.metadata or {}).get(REQUEST)
        if found is None:
            raise DataError(f"{self._option}: {part} is no file of lrpserve explain; name another folder")
        if differences := _differences(json.loads(found), self._asked):
            raise DataError(
                f"{self._option}: {self._path} has explanations of another request, {differences}; {self._advice}"
            )


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(part) as file:
            yield file
    except pa.ArrowInvalid:
        raise DataError(f"{part}: is damaged; remove it, and its pictures are explained again") from None


def _differences(found: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return how two requests differ, in words; nothing if they do not."""
    names = [name for name in {**asked, **found} if found.get(name) != asked.get(name)]
    return ", ".join(
        f"{name} {_said(found.get(name))} instead of {_said(asked.get(name))}" for name in names[:MAX_NAMED]
    )


def _said(value: object) -> str:
    return ABSENT if value is None else str(value)
