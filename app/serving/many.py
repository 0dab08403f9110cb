"""Explains many pictures: as many at a time as keep the model busy, and one part of their rows in memory."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from app.errors import InternalError, RequestError
from app.modalities.image.drawing.style import Style
from app.parquet.folder import Folder
from app.parquet.schema import Row
from app.serving.pipeline import Pipeline
from app.serving.requests import ExplainOptions
from app.serving.rows import MapForm, row_of, row_of_error
from app.serving.timings import Timings

AT_A_TIME = 64
"""Pictures in work: two batches, one of which is decoded or drawn while the model runs the other."""
MAX_BYTES = 2**26
MAX_ROWS = 8192
"""Largest file, in bytes of its maps before compression and in rows."""

MAX_KEPT = 10
"""Errors that are kept to be named."""


@dataclass(frozen=True)
class PictureFile:
    """A picture: the ``path`` that its row has, and the ``place`` of its file."""

    path: str
    place: Path


@dataclass
class Counts:
    """What became of pictures."""

    done: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)
    """The first ones."""

    def row(self, row: Row) -> None:
        """Count a row."""
        error = row.get("error")
        self.done += error is None
        self.failed += error is not None
        if error is not None and len(self.errors) < MAX_KEPT:
            self.errors.append(f"{row['path']}: {error}")

    def add(self, other: "Counts") -> None:
        """Add the counts of other pictures."""
        self.done += other.done
        self.failed += other.failed
        self.errors += other.errors[: MAX_KEPT - len(self.errors)]


class _Part:
    """Rows that are not written yet."""

    def __init__(self, folder: Folder, number: int) -> None:
        self._folder, self._number = folder, number
        self._rows: list[Row] = []
        self._bytes = 0

    def add(self, row: Row) -> None:
        """Add a row; write all of them if they are a file."""
        self._rows.append(row)
        self._bytes += _size(row)
        if len(self._rows) >= MAX_ROWS or self._bytes >= MAX_BYTES:
            self.write()

    def write(self) -> None:
        """Write the rows, if there are any, as a file."""
        if self._rows:
            self._folder.write(self._rows, self._number)
            self._rows, self._bytes = [], 0


class ManyPictures:
    """Explains picture files with the same options, and writes the rows to a folder."""

    def __init__(self, pipeline: Pipeline, options: ExplainOptions, form: MapForm) -> None:
        self._pipeline = pipeline
        self._options = _for_rows(options, form, len(pipeline.card.classes))
        self._form = form

    async def write(
        self, pictures: Iterable[PictureFile], folder: Folder, number: int, tell: Callable[[Row], None]
    ) -> None:
        """Write the rows of ``pictures`` to files with this ``number``; call ``tell`` with each.

        What is explained is written also where this is cancelled. Raises `OSError` if it cannot be written, and
        `UnavailableError` if the model cannot run any more.
        """
        part = _Part(folder, number)
        try:
            async with aclosing(self._rows(pictures)) as rows:
                async for row in rows:
                    part.add(row)
                    tell(row)
        finally:
            part.write()

    async def _rows(self, pictures: Iterable[PictureFile]) -> AsyncGenerator[Row]:
        """Yield the rows of ``pictures`` in their order."""
        running: deque[asyncio.Task[Row]] = deque()
        try:
            for picture in pictures:
                running.append(asyncio.create_task(self._row(picture)))
                if len(running) == AT_A_TIME:
                    yield await running.popleft()
            while running:
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()

    async def _row(self, picture: PictureFile) -> Row:
        write = partial(row_of, picture.path, self._form)
        try:
            data = await asyncio.to_thread(picture.place.read_bytes)
            return await self._pipeline.explain(data, self._options, Timings(), write)
        except (RequestError, InternalError) as error:  # of this picture; others concern all
            return row_of_error(picture.path, error.detail)
        except OSError as error:
            return row_of_error(picture.path, error.strerror or str(error))


def _for_rows(options: ExplainOptions, form: MapForm, classes: int) -> ExplainOptions:
    """Return the options with the logit of the target in the report, and little drawn that is not kept."""
    if form == "npy":
        options = replace(options, input=replace(options.input, style=Style(size="model")))
    return options if options.target is None else replace(options, top_k=classes)


def _size(row: Row) -> int:
    return len(row.get("png") or ()) + 2 * len(row.get("relevance", ()))
