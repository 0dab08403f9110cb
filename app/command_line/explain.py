"""The commands ``predict`` and ``explain``: what ``POST /predict`` and ``POST /explain`` do, without a server."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from app.api.parameters import ExplainParameters, PredictParameters
from app.api.rule_parameters import with_rule_parameters
from app.command_line.console import option_name
from app.command_line.for_each import for_each
from app.command_line.inputs import Input, find
from app.command_line.options import Difference, Values, read, with_options
from app.command_line.outputs import format_of, outputs, write
from app.command_line.pipeline import local_pipeline
from app.command_line.settings import Device, OneModel, settings_of_one
from app.errors import DataError
from app.lrp.composites import rule_parameters
from app.modalities.image.drawing.style import View
from app.serving import representations
from app.serving.answers import AnyExplanation, RenderedExplanation
from app.serving.representations import Format, Representation
from app.serving.timings import Timings

OF_PREDICT = {"top_k": Difference(default="3", description="So many classes, the most probable first.")}
OF_EXPLAIN = {
    "view": Difference(default=View.SIDE_BY_SIDE),
    "format": Difference(
        description="The heatmap, its values as a NumPy array, or the whole answer in JSON; default the suffix "
        "of `--output`, else `png`."
    ),
}
"""Differences between the options and the parameters of the endpoint."""

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH", help="Pictures, folders of them, globs; - is standard input.", show_default=False
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Folders with all folders in them.")]


def commands() -> dict[str, TyperCommand]:
    """Return the commands by name."""
    pictures = typer.Typer(rich_markup_mode="markdown")
    pictures.command()(with_options(predict, PredictParameters, OF_PREDICT))
    pictures.command()(with_options(explain, with_rule_parameters(ExplainParameters), OF_EXPLAIN))
    group = get_command(pictures)
    assert isinstance(group, TyperGroup)
    return {name: command for name, command in group.commands.items() if isinstance(command, TyperCommand)}


def predict(
    given: Values,
    paths: Paths,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    recursive: Recursive = False,
    device: Device = None,
    model: OneModel = None,
) -> None:
    """Class scores without a server: lrpserve predict cat.jpg."""
    parameters = read(PredictParameters, given, OF_PREDICT)
    inputs = find(paths, recursive=recursive)

    def predicted(picture: Input) -> None:
        work = pipeline.predict(picture.read(), parameters.input_options(), parameters.top_k, Timings())
        answer = asyncio.run(work)
        scores = ", ".join(f"{score.label} {score.probability:.1%}" for score in answer.scores)
        line = json.dumps({"file": str(picture), **answer.model_dump(mode="json")})
        typer.echo(line if as_json else f"{picture}: {scores}")

    with closing(local_pipeline(settings_of_one(model, device=device))) as pipeline:
        for_each(inputs, predicted)


def explain(
    given: Values,
    paths: Paths,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="File for one picture, folder for several, - standard output."),
    ] = None,
    recursive: Recursive = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="A rule's parameter, as gamma=0.5; the same as --gamma 0.5."),
    ] = None,
    device: Device = None,
    model: OneModel = None,
) -> None:
    """Heatmaps without a server: lrpserve explain cat.jpg --rule gamma -o heatmap.png."""
    given = with_assignments(given, parameter or ())
    asked = read(with_rule_parameters(ExplainParameters), given, OF_EXPLAIN)
    options = asked.options()
    form = Format(asked.format) if asked.format else format_of(output)
    inputs = find(paths, recursive=recursive)
    places = outputs(inputs.pictures, output, form)
    representation = partial(_represented, form=form, values=asked.values)

    def explained(picture: Input) -> None:
        work = pipeline.explain(picture.read(), options, Timings(), representation)
        report, content = asyncio.run(work)
        write(places[picture], content.body, form)
        _report(picture, report, places[picture])

    with closing(local_pipeline(settings_of_one(model, device=device))) as pipeline:
        pipeline.check(options)  # errors that concern every picture are reported once
        for_each(inputs, explained)


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
            is_option = name in ExplainParameters.model_fields
            advice = f"use {option_name(name)}" if is_option else f"there are {', '.join(names)}"
            raise DataError(f"{place}: {name} is no parameter of a rule; {advice}")
        if name in values:
            raise DataError(f"{place}: {name} is given twice; give it once")
        values[name] = value
    return values


def _represented(
    explained: RenderedExplanation, form: Format, *, values: bool
) -> tuple[AnyExplanation, Representation]:
    """Return what the command prints, and what it writes."""
    return explained.report, representations.explanation(explained, form, values=values)


def _report(picture: Input, report: AnyExplanation, place: Path | None) -> None:
    """Print the prediction and the output, on standard error where standard output is the heatmap."""
    said = f"{report.prediction.label} {report.prediction.probability:.1%}"
    typer.echo(f"{picture}: {said} -> {'standard output' if place is None else place}", err=place is None)
    for warning in report.warnings:
        typer.echo(f"  note: {warning}", err=True)
