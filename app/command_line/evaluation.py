"""The command ``evaluate --explanations``: how good the maps of many pictures are, with confidence intervals."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from app.command_line.console import complain, message
from app.errors import DataError, LRPServeError
from app.quality.intervals import Interval, mean, ratio_of_means
from app.serving.answers import AnyEvaluation
from app.serving.chart import Panel, draw_chart
from app.serving.evaluation_schemas import CurvesReport, EvaluateAnswer, OrderReport, RuleEvaluationReport
from app.serving.pipeline import Pipeline
from app.serving.requests import EvaluateOptions
from app.serving.timings import Timings
from app.survey.items import Item, find_items

MEASURES = ("gap", "flips_after", "sensitivity", "sparseness", "leak")
"""Members of a rule's report that are averaged."""


def pictures_of(source: Path, split: str, count: int | None) -> list[Item]:
    """Return ``count`` pictures of a folder, a zip or a CSV file, evenly spaced in their order; default all.

    With one folder a class, each class has its share of them. Otherwise as `app.survey.items.find_items`.
    """
    items = find_items(source, split)
    chosen = np.linspace(0, len(items) - 1, min(count or len(items), len(items))).round().astype(int)
    return [items[index] for index in chosen]


def evaluate_explanations(
    pipeline: Pipeline,
    pictures: Sequence[Item],
    options: EvaluateOptions,
    output: Path,
    *,
    as_json: bool,
) -> None:
    """Evaluate ``pictures``; write the summary to ``output`` and its plot beside it, and print it."""
    pipeline.check_evaluation(options)  # errors that concern every picture are reported once
    found = summary(evaluate_all(pipeline, pictures, options))
    chart = write(found, output)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        Console().print(table(found))
        typer.echo(f"wrote {output} and {chart}", err=True)


def evaluate_all(
    pipeline: Pipeline, pictures: Sequence[Item], options: EvaluateOptions
) -> dict[str, EvaluateAnswer]:
    """Return the evaluation of each picture by its name; those that fail are named on standard error."""
    answers = {}
    for picture in track(pictures, description="evaluations", console=Console(stderr=True)):
        try:
            work = pipeline.evaluate(picture.read(), options, Timings(), _itself)
            answers[picture.name] = asyncio.run(work)
        except LRPServeError as error:
            complain(f"{picture.name}: {message(error)}")
    if not answers:
        raise DataError("no picture could be evaluated")
    return answers


def summary(answers: Mapping[str, EvaluateAnswer]) -> dict[str, Any]:
    """Return means with their 95 % intervals over pictures, mean curves, and the gaps of each picture."""
    every = list(answers.values())
    first = every[0]
    return {
        "model": first.model.model_dump(),
        "pictures": len(every),
        "patch": first.patch,
        "replacement": first.replacement,
        "probability": _interval([answer.target.probability for answer in every]),
        "rules": {
            one.rule.name: _of_rule([answer.evaluations[i] for answer in every], every)
            for i, one in enumerate(first.evaluations)
        },
        "random": _of_order([answer.random for answer in every]),
        "occlusion": _of_order([answer.occlusion for answer in every]),
        "gaps": [
            {
                "file": name,
                **{one.rule.name: one.gap for one in answer.evaluations},
                "random": answer.random.gap,
                "occlusion": answer.occlusion.gap,
            }
            for name, answer in answers.items()
        ],
    }


def write(found: Mapping[str, Any], json_path: Path) -> Path:
    """Write a summary as JSON, and its mean curves as a chart beside it, whose path is returned."""
    json_path.write_text(json.dumps(found, indent=1) + "\n")
    chart_path = json_path.with_suffix(".png")
    panels = [
        Panel(name, f"gap {_said(one['gap'])}", CurvesReport(**one["curves"]))
        for name, one in (
            ("occlusion", found["occlusion"]),
            *found["rules"].items(),
            ("random order", found["random"]),
        )
    ]
    caption = f"mean probability of the predicted class over {found['pictures']} pictures"
    chart_path.write_bytes(draw_chart(panels, found["probability"]["mean"], caption))
    return chart_path


def table(found: Mapping[str, Any]) -> Table:
    """Return the means as a table, with intervals of the gap."""
    shown = Table(
        title=f"{found['pictures']} pictures, means and 95 % intervals",
        caption="share: of occlusion's gap; flips: that change the class; sens.: max-sensitivity;\n"
        "Gini: sparseness; rand.: similarity after the output layer is randomised",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # the longest names fit into 80 columns
    )
    for column in ("", "gap", "share", "flips", "sens.", "Gini", "leak", "rand."):
        shown.add_column(column, justify="right" if column else "left", no_wrap=True)
    shown.add_row("occlusion", _said(found["occlusion"]["gap"]))
    for name, one in found["rules"].items():
        top = one["randomization"][0]["similarity"]
        others = (one["share_of_occlusion"], *(one[measure] for measure in MEASURES[1:]), top)
        shown.add_row(name, _said(one["gap"]), *("–" if x is None else f"{x['mean']:.2f}" for x in others))
    shown.add_row("random order", _said(found["random"]["gap"]))
    return shown


def _of_rule(reports: Sequence[RuleEvaluationReport], answers: Sequence[EvaluateAnswer]) -> dict[str, Any]:
    layers = [one.layer for one in reports[0].randomization]
    similarities = zip(*([one.similarity for one in report.randomization] for report in reports), strict=True)
    gaps = np.array(
        [[report.gap, answer.occlusion.gap] for report, answer in zip(reports, answers, strict=True)]
    )
    return {
        **{measure: _interval([getattr(report, measure) for report in reports]) for measure in MEASURES},
        "share_of_occlusion": _named(ratio_of_means(gaps)),
        "class_changes": float(np.mean([report.flips_after is not None for report in reports])),
        "randomization": [
            {"layer": layer, "similarity": _interval(values)}
            for layer, values in zip(layers, similarities, strict=True)
        ],
        "curves": _mean_curves(reports),
    }


def _of_order(reports: Sequence[OrderReport]) -> dict[str, Any]:
    return {"gap": _interval([report.gap for report in reports]), "curves": _mean_curves(reports)}


def _mean_curves(reports: Sequence[OrderReport]) -> dict[str, list[float]]:
    return {
        name: np.mean([getattr(report.curves, name) for report in reports], 0).tolist()
        for name in CurvesReport.model_fields
    }


def _interval(values: Iterable[float | None]) -> dict[str, float] | None:
    """Return the mean of the values that are known, with its interval; ``None`` if none is."""
    known = np.array([value for value in values if value is not None], np.float64)
    return _named(mean(known)) if len(known) else None


def _named(interval: Interval) -> dict[str, float]:
    return {"mean": interval.value, "low": interval.low, "high": interval.high}


def _said(interval: Mapping[str, float]) -> str:
    return f"{interval['mean']:.2f} ({interval['low']:.2f}…{interval['high']:.2f})"


def _itself(answer: AnyEvaluation) -> EvaluateAnswer:
    assert isinstance(answer, EvaluateAnswer)
    return answer
