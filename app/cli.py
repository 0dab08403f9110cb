"""The command ``lrpserve``. Heavy modules are imported inside the commands, so that ``--help`` is quick."""

import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from app.command_line.console import REFUSED, complain, for_each, heatmap_paths, measured_table, message
from app.errors import DataError, LRPServeError, RefusedToStartError
from app.settings import Settings, unknown_variables, variable
from app.telemetry.logs import configure

if TYPE_CHECKING:
    from app.serving.pipeline import Pipeline

log = logging.getLogger(__name__)

cli = typer.Typer(
    help="Class scores and relevance heatmaps for pictures. Every setting is also an LRP_* variable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TERMINATED = 128 + signal.SIGTERM
"""Exit code where the service is terminated before it listens: a shell's own for that signal."""

Source = Annotated[Path, typer.Argument(help="A picture, or a folder of them.", exists=True)]
Model = Annotated[Path | None, typer.Option(help="Card (JSON) of the model; default the shipped one.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def main() -> None:
    """Run the command line; errors are printed in one line, without a traceback."""
    try:
        cli()
    except (LRPServeError, OSError) as error:
        complain(message(error))
        sys.exit(REFUSED)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port (default 8000); 0 picks a free one.")] = None,
    device: Device = None,
    model: Model = None,
) -> None:
    """Start the service; Swagger UI is at /docs."""
    # The first process of a container ignores SIGTERM unless it has a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    settings = _settings(host=host, port=port, device=device, model=model)
    from app.runtime.model_process import ModelProcess

    configure(settings.log_format)
    _warn_of_unknown_variables()
    model_process = ModelProcess(settings.model, settings.device, settings.cores, settings.model_limit_s)
    from app.main import create_app  # while the model loads
    from app.server import run

    app = create_app(settings, model_process)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # uvicorn installs its own and restores this one
    run(app, settings)


@cli.command()
def predict(
    source: Source,
    top_k: Annotated[int, typer.Option(min=1, help="So many classes.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    device: Device = None,
    model: Model = None,
) -> None:
    """Class scores without a server: lrpserve predict cat.jpg."""
    from app.modalities.image.fitting import Fit
    from app.serving.timings import Timings

    def scored(path: Path) -> None:
        answer = asyncio.run(pipeline.predict(path.read_bytes(), Fit.CROP, top_k, Timings()))
        scores = ", ".join(f"{score.label} {score.probability:.1%}" for score in answer.scores)
        typer.echo(_line(path, answer.model_dump(mode="json")) if as_json else f"{path}: {scores}")

    with closing(_pipeline(_settings(device=device, model=model))) as pipeline:
        for_each(source, scored)


@cli.command()
def explain(
    source: Source,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG to write, or a folder for many pictures.")
    ] = None,
    rule: Annotated[str, typer.Option(help="A rule or composite, as in GET /rules.")] = "epsilon_plus_flat",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="A rule's parameter, as gamma=0.5.")
    ] = None,
    layers: Annotated[list[str] | None, typer.Option(help="Override, as features.0:w_square.")] = None,
    target: Annotated[str | None, typer.Option(help="Class to explain; default the predicted one.")] = None,
    versus: Annotated[str | None, typer.Option(help="Class to contrast it with.")] = None,
    view: Annotated[str, typer.Option(help="heatmap, overlay or side_by_side.")] = "side_by_side",
    size: Annotated[str, typer.Option(help="model, input, or a side in pixels.")] = "256",
    colormap: Annotated[str, typer.Option(help="As in GET /colormaps.")] = "RdBu_r",
    device: Device = None,
    model: Model = None,
) -> None:
    """Heatmaps without a server: lrpserve explain cat.jpg --rule gamma -o heatmap.png."""
    from app.lrp.overrides import assignments
    from app.modalities.image.drawing.style import Style, parse_size, parse_view
    from app.modalities.image.modality import ImageOptions
    from app.serving.rendering import identity
    from app.serving.requests import ExplainOptions
    from app.serving.timings import Timings

    style = Style(colormap=colormap, view=parse_view(view), size=parse_size(size))
    options = ExplainOptions(
        rule=rule,
        parameters=dict(assignments(",".join(parameter or []))),
        layers=tuple(layers or ()),
        target=target,
        versus=versus,
        image=ImageOptions(style=style),
    )
    heatmap_of = heatmap_paths(source, output)

    def explained(path: Path) -> None:
        explanation = asyncio.run(pipeline.explain(path.read_bytes(), options, Timings(), identity))
        heatmap_of(path).write_bytes(explanation.heatmap.png)
        report = explanation.report
        said = f"{report.prediction.label} {report.prediction.probability:.1%}"
        typer.echo(f"{path}: {said} -> {heatmap_of(path)}")
        for warning in report.warnings:
            typer.echo(f"  note: {warning}", err=True)

    with closing(_pipeline(_settings(device=device, model=model))) as pipeline:
        pipeline.check(options)  # errors that concern every picture are reported once
        for_each(source, explained)


@cli.command()
def train(
    recipe: Annotated[str, typer.Option(help="best, conserving or talk.")] = "best",
    data: Annotated[
        Path | None, typer.Option(help="Folder or zip of train/<class>/*.png; default: download CIFAR-10.")
    ] = None,
    test_data: Annotated[Path | None, typer.Option(help="The test pictures, if they are elsewhere.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for weights and card; default the run's.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder for checkpoints and plots.")] = Path("runs"),
    name: Annotated[str, typer.Option(help="Name of the model.")] = "minivgg-cifar10",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    start: Annotated[
        Path | None, typer.Option(help="Card of the network to start from, for the recipe conserving.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Train MiniVGG: lrpserve train --data train.zip --resume."""
    from app.models.local import pick_device
    from app.training.recipe import RECIPES
    from app.training.run import split_loader
    from app.training.run import train as run_training

    if recipe not in RECIPES:
        raise DataError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    card = run_training(
        RECIPES[recipe],
        split_loader(data, test_data, runs / "data"),
        runs / recipe,
        output or runs / recipe,
        name=name,
        data_name=data.name if data else "CIFAR-10 through torchvision",
        resume=resume,
        seed=seed,
        device=str(pick_device(device)),
        start=start,
    )
    typer.echo(f"wrote {card}")


@cli.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder or zip of test/<class>/*.png.", exists=True)],
    split: Annotated[str, typer.Option(help="train or test.")] = "test",
    model: Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Accuracy, per class, confusion, calibration: lrpserve evaluate test.zip."""
    from app.models.checkpoint import load
    from app.training.data import load_split
    from app.training.evaluation import evaluate as measure

    network, card = load(_settings(model=model).model)
    measured = measure(network, load_split(data, split), card.normalisation, card.classes)
    if as_json:
        typer.echo(measured.model_dump_json())
    else:
        Console().print(measured_table(measured, card.classes))


def _settings(**given: object) -> Settings:
    """Settings from the command line, else the environment; raises `RefusedToStartError` for an invalid one."""
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings.model_validate(chosen)
    except ValidationError as error:
        first = error.errors()[0]
        text = first["msg"].removeprefix("Value error, ")  # pydantic's own prefix
        name = ".".join(map(str, first["loc"]))
        place = (
            f"setting {name} ({variable(name)})" if name else "settings"
        )  # one, or a combination of several
        raise RefusedToStartError(f"{place}: {text}") from None


def _warn_of_unknown_variables() -> None:
    """Log a warning for each LRP_* variable that is no setting.

    They are no error: Docker Compose sets LRP_IMAGE, and Kubernetes such names for a Service called "lrp".
    """
    for name, meant in unknown_variables(os.environ).items():
        advice = f"; is {meant} meant?" if meant else ""
        log.warning("%s is no setting and is ignored%s", name, advice)


def _pipeline(settings: Settings) -> "Pipeline":
    from app.main import create_pipeline
    from app.models.local import LocalModel
    from app.runtime.threads import ThreadExecutor
    from app.telemetry.metrics import Metrics

    network = LocalModel.load(settings.model, settings.device, settings.cores)
    return create_pipeline(
        network, settings, Metrics(), lambda _: None, lambda renderer: ThreadExecutor(renderer, 1)
    )


def _line(path: Path, answer: dict[str, object]) -> str:
    return json.dumps({"file": str(path), **answer})


if __name__ == "__main__":
    main()
