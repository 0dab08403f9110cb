"""The whole journey of ``lrpserve train``: data, training, evaluation, export."""

import dataclasses
import datetime
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import DataError
from app.models.checkpoint import Measured, Normalisation, TrainingRecord, save
from app.training.data import LabelledImages, download_split, hold_out, load_split, normalisation_of
from app.training.evaluation import evaluate
from app.training.loop import Trained, Training
from app.training.plots import confusion_matrix, learning_curve
from app.training.recipe import Recipe

HELD_OUT = 5_000
LIBRARIES = ("lrpserve", "torch", "numpy")

Load = Callable[[str], LabelledImages]
"""The pictures of a split, ``train`` or ``test``."""


def source(data: Path | None, test_data: Path | None, cache: Path) -> Load:
    """Where splits come from: ``data``, or torchvision's download into ``cache``; ``test_data`` for the test.

    Without ``test_data`` the test pictures are looked for in ``data``, and beside ``train.zip`` in
    ``test.zip``.
    """

    def load(split: str) -> LabelledImages:
        if split == "test" and test_data is not None:
            return load_split(test_data, split)
        if data is None:
            return download_split(cache, split)
        sibling = data.with_name(f"{split}{data.suffix}")
        return load_split(sibling if data.stem == "train" and sibling.exists() else data, split)

    return load


def train(
    recipe: Recipe,
    load: Load,
    run: Path,
    output: Path,
    *,
    name: str,
    data_name: str,
    resume: bool,
    seed: int,
    device: str,
    held_out: int = HELD_OUT,
) -> Path:
    """Train ``recipe`` and write weights, card and plots into ``output``; returns the card's path.

    Checkpoints go to ``run``. ``held_out`` training pictures are kept for choosing anything; the test pictures
    are looked at once, when all is done.
    """
    pictures = load("train")
    if len(pictures) <= held_out:
        raise DataError(
            f"{len(pictures)} training pictures; {held_out} of them are held out: more are needed"
        )
    training, validation = hold_out(pictures, held_out, seed)
    normalisation = normalisation_of(training.images)
    trained = _with_progress(recipe, training, validation, normalisation, run, resume, seed, device)
    on_validation = evaluate(trained.model, validation, normalisation, pictures.classes)
    on_test = evaluate(trained.model, load("test"), normalisation, pictures.classes)
    record = _record(recipe, seed, data_name, trained, on_validation, on_test)
    card = save(
        trained.model,
        output,
        name=name,
        classes=pictures.classes,
        normalisation=normalisation,
        training=record,
    )
    learning_curve(trained.history, run / "learning-curve.png")
    confusion_matrix(on_test, pictures.classes, run / "confusion-matrix.png")
    return card


def _with_progress(
    recipe: Recipe,
    training: LabelledImages,
    validation: LabelledImages,
    normalisation: Normalisation,
    run: Path,
    resume: bool,
    seed: int,
    device: str,
) -> Trained:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task(recipe.name, total=None, figures="")

        def on_batch(epoch: int, done: int, batches: int, loss: float, accuracy: float) -> None:
            progress.update(
                bar,
                description=f"epoch {epoch + 1}/{recipe.epochs}",
                completed=epoch * batches + done,
                total=recipe.epochs * batches,
                figures=f"loss {loss:.3f}, accuracy {accuracy:.1%}",
            )

        job = Training(
            recipe,
            training,
            validation,
            normalisation,
            run,
            seed=seed,
            device=device,
            on_batch=on_batch,
            on_epoch=lambda record: progress.console.print(
                f"epoch {record.epoch}: validation {record.validation_accuracy:.2%}, {record.seconds:.0f} s"
            ),
        )
        if resume:
            progress.console.print(f"resuming after {job.resume()} epochs")
        return job.train()


def _record(
    recipe: Recipe, seed: int, data_name: str, trained: Trained, validation: Measured, test: Measured
) -> TrainingRecord:
    return TrainingRecord(
        recipe=dataclasses.asdict(recipe),
        seed=seed,
        data=data_name,
        history=trained.history,
        validation=validation,
        test=test,
        versions={"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )
