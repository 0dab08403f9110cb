"""The command ``explain`` with a folder of Parquet files as its output, for many pictures."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.api.parameters import SingleParameters
from app.command_line.console import complain
from app.command_line.for_each import FAILED
from app.command_line.inputs import no_picture, walk
from app.command_line.kind import MAX_NAMED, KindOnCommandLine, Sources
from app.command_line.todo import ToDo
from app.errors import DataError
from app.models.card import ModelCard
from app.parquet.folder import Folder
from app.parquet.schema import Row
from app.serving.local import local_pipeline
from app.serving.many import ManyPictures
from app.serving.rows import MapForm
from app.settings import Settings
from app.system import available_cores

DRAWING = {"colormap", "interpolation", "normalize", "sign", "size", "view", "vmax"}
"""Options on which the values of a map do not depend."""
OF_THE_ANSWER = {"format", "top_k", "values"}
"""Options on which no row depends."""


def explain_many(
    kind: KindOnCommandLine, sources: Sources, asked: SingleParameters, output: str, settings: Settings
) -> None:
    """Explain the pictures that are not in the folder ``output`` yet; then print how many were done.

    Raises `DataError` for options that do not fit, before anything is computed.
    """
    form = _form(kind, asked)
    options = asked.options()
    with closing(local_pipeline(settings, kind.kind, settings.cores or available_cores())) as pipeline:
        pipeline.check(options)
        folder = Folder(Path(output), _described(pipeline.card, asked, form))
        found = walk(sources.paths, recursive=sources.recursive, files_from=sources.files_from)
        with folder.locked(), TemporaryFile("w+") as file:
            todo = ToDo(file, found, folder.paths())
            if not todo.count and not todo.done_before:
                raise no_picture(sources.paths, sources.files_from, todo.skipped.lines())
            many = ManyPictures(pipeline, options, form)
            with _Progress(todo.count) as progress:
                asyncio.run(many.write(todo, folder, folder.next_number, progress.row))
    _summarise(progress.counts, todo, output)


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
        if error is not None and len(self.errors) < MAX_NAMED:
            self.errors.append(f"{row['path']}: {error}")


class _Progress:
    """A progress bar on a terminal, and the counts that it shows."""

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.counts = Counts()
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("pictures", total=total)

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def row(self, row: Row) -> None:
        """Count and show a row."""
        self.counts.row(row)
        self._bar.advance(self._task)


def _form(kind: KindOnCommandLine, asked: SingleParameters) -> MapForm:
    if kind.kind != "image":
        raise DataError(f"--output: explanations of {kind.items} are written as {', '.join(kind.forms)}")
    if asked.form == "json":
        raise DataError("--format: rows in Parquet have maps as png or npy; leave it out for png")
    return "npy" if asked.form == "npy" else "png"


def _described(card: ModelCard, asked: SingleParameters, form: MapForm) -> Mapping[str, Any]:
    """Return the model and the options on which rows depend."""
    unused = OF_THE_ANSWER | (DRAWING if form == "npy" else set())
    options = asked.model_dump(mode="json", exclude_none=True, exclude=unused)
    return {"model": f"{card.name}@{card.version}", "format": form, **options}


def _summarise(counts: Counts, todo: ToDo, output: str) -> None:
    for error in counts.errors:
        complain(error)
    if counts.failed > len(counts.errors):
        complain(f"and {counts.failed - len(counts.errors)} more, which have an error in their rows")
    before = f", {todo.done_before} were there before" if todo.done_before else ""
    typer.echo(
        f"{counts.done} of {todo.count} pictures done, {counts.failed} failed{before} -> {output}", err=True
    )
    for line in todo.skipped.lines():
        typer.echo(line, err=True)
    if counts.failed:
        raise typer.Exit(FAILED)
