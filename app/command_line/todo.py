"""The pictures that a command has still to explain, in a file: there may be millions."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from app.command_line.inputs import Input
from app.command_line.kind import Skipped, SkippedCounts
from app.errors import DataError
from app.parquet.seen import Seen
from app.serving.many import PictureFile


class ToDo:
    """Pictures that are found and not done yet, each once, in their order.

    It takes 16 to 30 bytes of memory for each picture that is found or done.
    """

    def __init__(self, file: IO[str], found: Iterable[Input | Skipped], done: Iterable[str]) -> None:
        """``file`` is empty; ``done``: paths of the rows that exist. Raises `DataError` for standard input."""
        self.skipped = SkippedCounts()
        self.done_before = 0
        self.count = 0
        self._file = file
        explained, given = Seen(), Seen()
        for path in done:
            explained.add(path)
        for one in found:
            if isinstance(one, Skipped):
                self.skipped.add(one)
            elif given.add(_path(one)):
                self._add(one, is_new=explained.add(_path(one)))

    def __iter__(self) -> Iterator[PictureFile]:
        """Iterate over the pictures."""
        self._file.seek(0)
        for path, place in map(json.loads, self._file):
            yield PictureFile(path, Path(place))

    def _add(self, one: Input, *, is_new: bool) -> None:
        if one.path is None or not is_new:
            self.done_before += 1
            return
        json.dump([_path(one), str(one.path.absolute())], self._file)
        self._file.write("\n")
        self.count += 1


def _path(one: Input) -> str:
    """Return the path as it was given; bytes that are no text are written as escapes."""
    if one.path is None:
        raise DataError("--output: Parquet is for files; standard input has none")
    return os.fsencode(one.path).decode(errors="backslashreplace")
