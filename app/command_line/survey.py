"""The command ``survey``: what explanations of many inputs say of a network."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from app.command_line.surveys.kind import Printed, SurveyOnCommandLine
from app.command_line.surveys.on_ray import OnCluster, work_of
from app.command_line.surveys.options import SurveyOptions
from app.command_line.surveys.request import Request, network_of
from app.serving.pipeline import Pipeline
from app.settings import Settings
from app.survey.counted import counted
from app.survey.findings import Findings
from app.survey.items import printable
from app.survey.output import write_all
from app.survey.survey import Options, Survey

MAX_FAILURES = 8
"""Failures that are printed."""


class Bars:
    """Progress bars of the stages, on standard error; an `app.survey.stages.Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, stage: str, total: int, done: int = 0) -> Callable[[int], None]:
        """See `app.survey.stages.Progress`."""
        return partial(self._advance, self._progress.add_task(stage, total=total, completed=done))

    def _advance(self, task: TaskID, steps: int) -> None:
        self._progress.advance(task, steps)


def survey(
    on_command_line: SurveyOnCommandLine, pipeline: Pipeline, options: SurveyOptions, settings: Settings
) -> Any:
    """Make a survey, write its folder and print what was found; return the findings. Raises `DataError`."""
    options.refuse(on_command_line.on_command_line.items, *on_command_line.refused)
    request = Request.of(on_command_line.on_command_line, options, pipeline, settings)
    network = network_of(pipeline, request.asked)
    with Progress(console=Console(stderr=True)) as progress:
        kind, data = on_command_line.kind(request), on_command_line.find(request)
        on_ray = options.on_ray
        elsewhere = None
        if on_ray is not None:
            elsewhere = OnCluster(on_ray.address, work_of(request, data.items), kind.layout)
        options.folder.mkdir(parents=True, exist_ok=True)
        of_survey = Options(
            options.data, options.folder, options.seed, data.kept, elsewhere, options.identity
        )
        findings = Survey(network, kind, of_survey, Bars(progress)).run(data.items)
        write_all(kind, findings, options.folder)
    console = Console()
    for printed in [*_head(findings), *on_command_line.tables(findings), *_notes(findings)]:
        console.print(printed)
    for text in [f"wrote {printable(str(options.folder))}/", *on_command_line.after(findings, options)]:
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    return findings


def _head(findings: Findings) -> list[Printed]:
    explained, failed = len(findings.items), len(findings.failures)
    return [f"{counted(explained, 'item')} explained, {findings.predictions.line()}, {failed} failed"]


def _notes(findings: Findings) -> list[Printed]:
    failures = (f"{one.name}: {one.reason}" for one in findings.failures[:MAX_FAILURES])
    return [escape(text) for text in (*findings.notes(), *failures)]
