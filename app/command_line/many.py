"""The command ``explain`` with a folder of Parquet files as its output, for many pictures."""

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.api.parameters import SingleParameters
from app.cluster.work import Work, with_absolute_paths
from app.command_line.console import complain
from app.command_line.for_each import FAILED
from app.command_line.inputs import no_picture, walk
from app.command_line.kind import KindOnCommandLine, Sources
from app.command_line.todo import ToDo
from app.errors import DataError
from app.models.card import ModelCard
from app.parquet.folder import Folder
from app.parquet.schema import Row
from app.serving.local import local_pipeline
from app.serving.many import Counts, ManyPictures
from app.serving.pipeline import Pipeline
from app.serving.rows import MapForm
from app.settings import Precision, Settings
from app.system import available_cores

DRAWING = {"colormap", "interpolation", "normalize", "sign", "size", "view", "vmax"}
"""Options on which the values of a map do not depend."""
OF_THE_ANSWER = {"format", "top_k", "values"}
"""Options on which no row depends."""


@dataclass(frozen=True)
class OnRay:
    """That a command runs on Ray, and where."""

    address: str | None
    """``None``: on this machine."""


def explain_many(
    kind: KindOnCommandLine,
    sources: Sources,
    asked: SingleParameters,
    output: str,
    settings: Settings,
    on_ray: OnRay | None = None,
) -> None:
    """Explain the pictures that are not in the folder ``output`` yet; then print how many were done.

    Raises `DataError` for options that do not fit, before anything is computed.
    """
    form, options = _form(kind, asked), asked.options()
    with closing(_pipeline(settings, kind, on_ray)) as pipeline:
        pipeline.check(options)
        folder = Folder(Path(output), described(pipeline.card, settings.precision, asked, form))
        found = walk(sources.paths, recursive=sources.recursive, files_from=sources.files_from)
        with folder.locked(), TemporaryFile("w+") as file:
            todo = ToDo(file, found, folder.paths())
            if not todo.count and not todo.done_before:
                raise no_picture(sources.paths, sources.files_from, todo.skipped.lines())
            with _Progress(todo.count) as progress:
                if on_ray is None:
                    many = ManyPictures(pipeline, options, form)
                    asyncio.run(many.write(todo, folder, folder.next_number, progress.row))
                else:
                    work = Work(with_absolute_paths(settings), options, form, folder)
                    _explain_on_ray(todo, work, on_ray, progress)
    _summarise(progress.counts, todo, output)


def _explain_on_ray(todo: ToDo, work: Work, on_ray: OnRay, progress: "_Progress") -> None:
    from app.cluster.many import explain_on_cluster
    from app.cluster.start import cluster

    with cluster(on_ray.address):
        for counts in explain_on_cluster(todo, todo.count, work):
            progress.chunk(counts)


def _pipeline(settings: Settings, kind: KindOnCommandLine, on_ray: OnRay | None) -> Pipeline:
    """Return what explains the pictures; on Ray, what checks the options here."""
    if on_ray is None:
        return local_pipeline(settings, kind.kind, settings.cores or available_cores())
    return local_pipeline(settings.model_copy(update={"device": "cpu", "precision": "float32"}), kind.kind)


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

    def chunk(self, counts: Counts) -> None:
        """Count and show a chunk of rows."""
        self.counts.add(counts)
        self._bar.advance(self._task, counts.done + counts.failed)


def _form(kind: KindOnCommandLine, asked: SingleParameters) -> MapForm:
    if kind.kind != "image":
        raise DataError(f"--output: explanations of {kind.items} are written as {', '.join(kind.forms)}")
    if asked.form == "json":
        raise DataError("--format: rows in Parquet have maps as png or npy; leave it out for png")
    return "npy" if asked.form == "npy" else "png"


def described(
    card: ModelCard, precision: Precision, asked: SingleParameters, form: MapForm
) -> Mapping[str, Any]:
    """Return the model and the options on which rows depend."""
    unused = OF_THE_ANSWER | (DRAWING if form == "npy" else set())
    options = asked.model_dump(mode="json", exclude_none=True, exclude=unused)
    model = f"{card.name}@{card.version}"
    return {"model": model, "format": form, "precision": precision, **options}


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
