"""The whole journey of ``lrpserve train``: data, training, evaluation, export."""

import dataclasses
import datetime
import platform
import re
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app.errors import DataError
from app.models.card import NAME, Measured, Normalisation, TrainingRecord
from app.models.checkpoint import save
from app.training.data import (
    LabelledImages,
    download_split,
    has_split,
    hold_out,
    load_split,
    normalisation_of,
)
from app.training.evaluation import evaluate
from app.training.loop import CHECKPOINT, Trained, Training
from app.training.plots import confusion_matrix, learning_curve
from app.training.recipe import Recipe

HELD_OUT = 5_000
SHARE_HELD_OUT = 10
"""One in so many, where that is less than `HELD_OUT`."""
LIBRARIES = ("lrpserve", "torch", "numpy")

Load = Callable[[str], LabelledImages]
"""The pictures of a split, ``train`` or ``test``."""


def source(data: Path | None, test_data: Path | None, cache: Path) -> Load:
    """Where splits come from: ``data``, or torchvision's download into ``cache``; ``test_data`` for the test.

    Without ``test_data`` the test pictures are looked for in ``data``, and beside ``train.zip`` in
    ``test.zip``. Raises `DataError` at once where there are none, not after hours of training.
    """
    for named in (data, test_data):
        if named is not None and not named.exists():
            raise DataError(f"{named}: there is no such folder or zip")
    tests = test_data or (data and _tests_of(data))

    def load(split: str) -> LabelledImages:
        where = tests if split == "test" else data
        return load_split(where, split) if where else download_split(cache, split)

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
) -> Path:
    """Train ``recipe`` and write weights, card and plots into ``output``; returns the card's path.

    Checkpoints go to ``run``; a finished one with ``resume`` is only exported again. A tenth of the training
    pictures, at most 5 000, is held out for choosing anything; the test pictures are looked at once, when all is
    done. Raises `DataError` for whatever would make a long training end in nothing.
    """
    _refuse_early(run, name, resume)
    pictures = load("train")
    if len(pictures) < SHARE_HELD_OUT:
        raise DataError(f"{len(pictures)} training pictures: at least {SHARE_HELD_OUT} are needed")
    training, validation = hold_out(pictures, min(HELD_OUT, len(pictures) // SHARE_HELD_OUT), seed)
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


def _tests_of(data: Path) -> Path:
    sibling = data.with_name(f"test{data.suffix}")
    if data.stem == "train" and sibling.exists():
        return sibling
    # A source without levels would pass as any split: the training pictures must not be the test as well.
    if has_split(data, "test"):
        return data
    raise DataError(f"{data} holds no test/<class>/*.png: name the test pictures with --test-data")


def _refuse_early(run: Path, name: str, resume: bool) -> None:
    if not re.match(NAME, name):
        raise DataError(f"name {name!r}: letters, digits, '.', '_' and '-' only, 64 at most")
    if find_spec("matplotlib") is None:
        raise DataError("the plots need matplotlib: pip install 'lrpserve[train]'")
    if not resume and (run / CHECKPOINT).exists():
        raise DataError(f"{run} holds a training already: go on with --resume, or name another --runs folder")


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
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    # The time left is told from the work left: an epoch costs what its pictures' area says.
    work = [recipe.side(epoch) ** 2 for epoch in range(recipe.epochs)]
    with Progress(*columns) as progress:
        bar = progress.add_task(recipe.name, total=sum(work), figures="")

        def on_batch(epoch: int, done: int, batches: int, loss: float, accuracy: float) -> None:
            progress.update(
                bar,
                description=f"epoch {epoch + 1}/{recipe.epochs}",
                completed=sum(work[:epoch]) + work[epoch] * done / batches,
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
