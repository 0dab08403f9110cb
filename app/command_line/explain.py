"""The commands ``predict`` and ``explain``: what ``/predict`` and ``/explain`` do for each kind of input."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated

import typer

from app.command_line.console import option_name
from app.command_line.extras import require
from app.command_line.for_each import for_each
from app.command_line.kind import Item, Sources
from app.command_line.kinds import KINDS, kind_of
from app.command_line.options import Values
from app.command_line.outputs import form_of, is_folder_of_rows
from app.command_line.settings import Address, Device, OneModel, Ray, settings_of_one
from app.command_line.writers import said, writer_of
from app.errors import DataError
from app.lrp.composites import rule_parameters
from app.serving.local import local_pipeline
from app.serving.rendering import identity
from app.serving.timings import Timings

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH", help="Pictures, folders of them, globs; - is standard input.", show_default=False
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Folders with all folders in them.")]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        "--files-from", metavar="FILE", help="List of pictures, a path in each line; - is standard input."
    ),
]
Texts = Annotated[list[str] | None, typer.Option("--text", help="A text, repeatable; - is standard input.")]
TableFile = Annotated[
    str | None,
    typer.Option(
        "--table", metavar="FILE", help="CSV with the names of features in its first line, - as above."
    ),
]

Parameter = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", help="A rule's parameter, as gamma=0.5; the same as --gamma 0.5."),
]


def predict(
    given: Values,
    paths: Paths = None,
    text: Texts = None,
    table: TableFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    recursive: Recursive = False,
    files_from: FilesFrom = None,
    device: Device = None,
    model: OneModel = None,
) -> None:
    """Class scores, or values, without a server: lrpserve predict cat.jpg, or --text "a gorgeous film"."""
    sources = Sources(tuple(paths or ()), recursive, files_from, tuple(text or ()), table)
    kind = kind_of(sources)
    parameters = kind.predict.read(given)
    inputs = kind.find(sources)

    def predicted(item: Item) -> None:
        work = pipeline.predict(item.read(), parameters.input_options(), parameters.top_k, Timings())
        answer = asyncio.run(work)
        line = json.dumps({**item.names, **answer.model_dump(mode="json")})
        typer.echo(line if as_json else f"{item}: {said(*(answer.scores or [answer.prediction]))}")

    with closing(local_pipeline(settings_of_one(model, device=device), kind.kind)) as pipeline:
        for_each(inputs, kind.items, predicted)


def explain(
    given: Values,
    paths: Paths = None,
    text: Texts = None,
    table: TableFile = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File for one input, folder for several, - standard output. JSON and CSV of rows are one file. "
            "NAME.parquet is a folder of Parquet files, for any number of pictures.",
        ),
    ] = None,
    recursive: Recursive = False,
    files_from: FilesFrom = None,
    parameter: Parameter = None,
    ray: Ray = False,
    address: Address = None,
    device: Device = None,
    model: OneModel = None,
) -> None:
    """Relevance without a server: lrpserve explain cat.jpg -o map.png, or --text "a witty film"."""
    sources = Sources(tuple(paths or ()), recursive, files_from, tuple(text or ()), table)
    kind = kind_of(sources)
    asked = kind.explain.read(with_assignments(given, parameter or ()))
    settings = settings_of_one(model, device=device)
    if address is not None and not ray:
        raise DataError("--address: is for --ray; add that")
    if output is not None and is_folder_of_rows(output):
        require("parquet", f"--output {output}", "pyarrow")
        if ray:
            require("ray", "--ray", "ray")
        from app.command_line.many import OnRay, explain_many

        on_ray = OnRay(address) if ray else None
        explain_many(kind, sources, asked, output, settings, on_ray)
        return
    if ray:
        raise DataError("--ray: is for --output NAME.parquet")
    options = asked.options()
    form = asked.form or form_of(output, kind.forms, kind.items)
    inputs = kind.find(sources)
    writer = writer_of(kind, inputs.items, output, form, values=asked.values)

    def explained(item: Item) -> None:
        work = pipeline.explain(item.read(), options, Timings(), identity)
        writer.take(item, asyncio.run(work))

    with closing(local_pipeline(settings, kind.kind)) as pipeline:
        pipeline.check(options)  # errors that concern every input are reported once
        for_each(inputs, kind.items, explained, writer.finish)


def with_assignments(given: Values, assignments: Sequence[str]) -> Values:
    """Return ``given`` with the parameters of rules in ``assignments``, as ``gamma=0.5``; raises `DataError`."""
    names = [one.name for one in rule_parameters()]
    values = dict(given)
    for assignment in filter(None, (part.strip() for text in assignments for part in text.split(","))):
        name, equals, value = (part.strip() for part in assignment.partition("="))
        place = f"--parameter: {assignment!r}"
        if not equals:
            raise DataError(f"{place}: write NAME=VALUE, as gamma=0.5")
        if name not in names:
            is_option = any(name in kind.explain.parameters.model_fields for kind in KINDS)
            advice = f"use {option_name(name)}" if is_option else f"there are {', '.join(names)}"
            raise DataError(f"{place}: {name} is no parameter of a rule; {advice}")
        if name in values:
            raise DataError(f"{place}: {name} is given twice; give it once")
        values[name] = value
    return values
