"""The command ``lrpserve``. Heavy modules are imported inside the commands, so that ``--help`` is quick.

Most of this file are options: a function for each command declares them, and calls what does the work.
"""

import logging
import os
import signal
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from app.command_line.address import check_address
from app.command_line.console import REFUSED, complain, measured_table, message, tuned_lines
from app.command_line.settings import Address, Device, Model, OneModel, Ray, settings_of, settings_of_one
from app.errors import DataError, LRPServeError
from app.settings import unknown_variables
from app.telemetry.logs import configure

log = logging.getLogger(__name__)

OF_INPUTS = ("predict", "explain", "survey")
"""Commands of `app.command_line.commands`."""


class Commands(TyperGroup):
    """The commands, of which those that take inputs are imported where they are used.

    Their options are made from the parameters of HTTP. To import these takes as long as everything else that
    ``serve`` does before it starts the model's process.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, in the order of ``--help``."""
        serve, *others = super().list_commands(ctx)
        return [serve, *OF_INPUTS, *(name for name in others if name not in OF_INPUTS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by name."""
        if cmd_name in OF_INPUTS and cmd_name not in self.commands:
            from app.command_line.commands import commands

            self.commands.update(commands())
        return super().get_command(ctx, cmd_name)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lrpserve {version('lrpserve')}")
        raise typer.Exit


cli = typer.Typer(
    cls=Commands,
    help="Predictions and relevance for pictures, texts and tables. Every setting is also an LRP_* variable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
)

TERMINATED = 128 + signal.SIGTERM
"""Exit code where the service is terminated before it listens: a shell's own for that signal."""


def main() -> None:
    """Run the command line; errors are printed in one line, without a traceback."""
    try:
        cli()
    except (LRPServeError, OSError) as error:
        complain(message(error))
        sys.exit(REFUSED)


@cli.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read the options before a command."""


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port (default 8000); 0 picks a free one.")] = None,
    root_path: Annotated[
        str | None, typer.Option(help="Path below which a proxy publishes it, as /xai (default: none).")
    ] = None,
    device: Device = None,
    model: Model = None,
    reports: Annotated[
        Path | None,
        typer.Option(help="Folder with folders of lrpserve survey, for /reports (default: none)."),
    ] = None,
    ray: Ray = False,
    address: Address = None,
    replicas: Annotated[
        str | None,
        typer.Option(
            help="With --ray: of the application and of each model (default 1); 1-8: by their load."
        ),
    ] = None,
) -> None:
    """Start the service; Swagger UI is at /docs."""
    # The first process of a container ignores SIGTERM unless it has a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    settings = settings_of(
        host=host, port=port, root_path=root_path, device=device, model=model, reports=reports
    )
    configure(settings.log_format)
    _warn_of_unknown_variables()
    from app.command_line.on_ray import check_without_ray, serve_on_ray

    if ray:
        serve_on_ray(settings, address, replicas)
        return
    check_without_ray(address, replicas)
    check_address(settings)
    from app.runtime.model_process import start_models

    process = start_models(settings)
    from app.main import create_app  # while the model loads
    from app.server import run

    app = create_app(settings, process.models)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # uvicorn installs its own and restores this one
    run(app, settings)


@cli.command()
def train(
    recipe: Annotated[
        str,
        typer.Option(
            help="Pictures: best, conserving, masked, talk. Text: words-lstm, words-transformer. "
            "Tables: concrete, table."
        ),
    ] = "best",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Pictures: folder or zip of train/<class>/*.png, default CIFAR-10, downloaded. Text: folder of "
            "train.tsv and test.tsv. Tables: CSV file."
        ),
    ] = None,
    test_data: Annotated[Path | None, typer.Option(help="The test pictures, if they are elsewhere.")] = None,
    target: Annotated[str | None, typer.Option(help="Of a table: the column to predict.")] = None,
    impute: Annotated[
        bool, typer.Option("--impute", help="Of a table: replace missing values by means.")
    ] = False,
    data_name: Annotated[
        str | None, typer.Option(help="What the data are, for the model's card; default their file's name.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the model's folder; default the run's.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder for checkpoints and plots.")] = Path("runs"),
    name: Annotated[
        str | None, typer.Option(help="Name of the model; default that of the shipped one.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    start: Annotated[
        Path | None,
        typer.Option(help="Model to start from, its folder or card, for the recipes conserving and masked."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Train a network: lrpserve train --data train.zip --resume."""
    from app.models.device import pick_device
    from app.training.options import TrainOptions
    from app.training.trainings import train as run_training

    options = TrainOptions(
        data=data,
        test_data=test_data,
        data_name=data_name,
        output=output,
        runs=runs,
        name=name,
        resume=resume,
        start=start,
        seed=seed,
        device=str(pick_device(device)),
        target=target,
        impute=impute,
    )
    typer.echo(f"wrote {run_training(recipe, options)}")


@cli.command()
def evaluate(
    source: Annotated[Path | None, typer.Argument(help="The same as --data.", exists=True)] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder or zip of test/<class>/*.png.", exists=True)
    ] = None,
    split: Annotated[str, typer.Option(help="train or test.")] = "test",
    model: OneModel = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    explanations: Annotated[
        bool, typer.Option("--explanations", help="How far maps can be trusted, instead of the scores.")
    ] = False,
    rule: Annotated[
        list[str] | None, typer.Option(help="With --explanations: rule, repeatable; default all composites.")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="With --explanations: so many pictures, evenly spaced; default all."),
    ] = None,
    patch: Annotated[
        int | None, typer.Option(min=1, help="With --explanations: side of a patch; default an eighth.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="With --explanations: JSON to write; beside it, the plot.")
    ] = Path("explanations.json"),
) -> None:
    """Accuracy, per class, confusion, calibration: lrpserve evaluate test.zip; or how far maps can be trusted."""
    if (source is None) is (data is None):
        raise DataError("name the pictures once: lrpserve evaluate test.zip, or --data test.zip")
    pictures = source or data
    assert pictures is not None
    settings = settings_of_one(model)
    if explanations:
        from app.command_line.evaluation import evaluate_explanations, pictures_of
        from app.modalities.image.modality import ImageOptions
        from app.serving.local import local_pipeline
        from app.serving.requests import EvaluateOptions

        chosen = pictures_of(pictures, split, count)
        options = EvaluateOptions(rules=tuple(rule or ()), patch=patch, input=ImageOptions())
        with closing(local_pipeline(settings, "image")) as pipeline:
            evaluate_explanations(pipeline, chosen, options, output, as_json=as_json)
        return
    from app.models.checkpoint import load_image
    from app.models.repository import served_model
    from app.training.data import load_split
    from app.training.evaluation import evaluate as measure

    network, card = load_image(served_model(settings).card_path)
    measured = measure(network, load_split(pictures, split), card.normalisation, card.classes)
    if as_json:
        typer.echo(measured.model_dump_json())
    else:
        Console().print(measured_table(measured, card.classes))


@cli.command()
def tune(
    data: Annotated[Path, typer.Option(help="Folder or zip of pictures, as for train.", exists=True)],
    model: OneModel = None,
    minutes: Annotated[float, typer.Option(help="Duration of the search.", min=0.0)] = 15,
    pictures: Annotated[int, typer.Option(help="Held-out pictures to search on.", min=1)] = 200,
    reported: Annotated[int, typer.Option(help="Other held-out pictures, to measure on.", min=1)] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the pictures and of the search.")] = 0,
) -> None:
    """Search for the composite with the best maps: lrpserve tune --data train.zip."""
    from app.models.repository import served_model
    from app.training.tune import tune as run_search

    path = served_model(settings_of_one(model)).card_path
    found = run_search(path, data, minutes=minutes, pictures=pictures, reported=reported, seed=seed)
    typer.echo("\n".join(tuned_lines(found)))
    typer.echo(f"wrote {path}")


@cli.command()
def models(
    folder: Annotated[
        Path | None, typer.Option("--models", help="Folder of models; default as LRP_MODEL, LRP_MODELS.")
    ] = None,
) -> None:
    """List the models that would be served, and which is the default: lrpserve models."""
    from app.command_line.models import model_lines
    from app.models.repository import default_names, find_models

    settings = settings_of(models=folder)
    stored = find_models(settings.models, settings.model if folder is None else None)
    try:
        cards = [one.card for one in stored]
        defaults, unclear = list(default_names(cards, settings.default_model).values()), None
    except LRPServeError as error:
        defaults, unclear = [], error
    typer.echo("\n".join(model_lines(stored, defaults)))
    if unclear is not None:
        complain(message(unclear))


@cli.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    folder: Annotated[
        Path | None, typer.Option("--models", help="Folder of models; default as LRP_MODELS.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model's folder: lrpserve remove my-model."""
    from app.command_line.models import remove_model

    def ask(question: str) -> None:
        if not yes:
            typer.confirm(question, abort=True)

    removed = remove_model(settings_of(models=folder).models, name, ask)
    typer.echo(f"removed {removed}; a service that runs keeps the model until it is restarted")


@cli.command()
def add(
    source: Annotated[
        str,
        typer.Argument(
            help="minivgg, torchvision:NAME, timm:NAME, huggingface:FOLDER, exported:FILE.pt2, "
            "efficientnet_lite0."
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the model, as in requests.")],
    weights: Annotated[
        str | None,
        typer.Option(help="File of weights, safetensors or a state_dict; none: random weights, for a try."),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="File of the classes' names, one on each line.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Of pixels in 0…1, for each channel: 0.485,0.456,0.406.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation, as --mean.")] = None,
    size: Annotated[str | None, typer.Option(help="Side of the network's input, or HEIGHTxWIDTH.")] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            help="Shorter side of a picture before its centre is cropped, or HEIGHTxWIDTH to stretch it."
        ),
    ] = None,
    interpolation: Annotated[
        str | None, typer.Option(help="Of that: nearest, bilinear, bicubic or lanczos.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder of models; default LRP_MODELS.")] = None,
) -> None:
    """Add a network to the models: lrpserve add torchvision:resnet18 --weights resnet18.pth --name resnet."""
    from app.command_line.add import add_model, lines

    added = add_model(
        source,
        name,
        to or settings_of().models,
        weights=weights,
        classes=classes,
        mean=mean,
        std=std,
        size=size,
        resize=resize,
        interpolation=interpolation,
    )
    typer.echo("\n".join(lines(added)))


def _warn_of_unknown_variables() -> None:
    """Log a warning for each LRP_* variable that is no setting.

    They are no error: Docker Compose sets LRP_IMAGE, and Kubernetes such names for a Service called "lrp".
    """
    for name, meant in unknown_variables(os.environ).items():
        advice = f"; is {meant} meant?" if meant else ""
        log.warning("%s is no setting and is ignored%s", name, advice)


if __name__ == "__main__":
    main()
