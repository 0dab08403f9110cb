"""``lrpserve train`` from data to files: loads data, trains, evaluates, and writes the model and plots."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app.errors import DataError
from app.lrp.graph.rates import dropout_rates
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import as_graph
from app.models.checkpoint import load_module, save
from app.models.image_card import Normalisation
from app.models.records import Measured, TrainingRecord
from app.training.data import (
    HELD_OUT_ONE_IN,
    LabelledImages,
    compute_normalisation,
    download_split,
    has_split,
    held_out_count,
    hold_out,
    load_split,
)
from app.training.evaluation import evaluate
from app.training.loop import Trainer, TrainingResult
from app.training.options import TrainOptions
from app.training.plots import confusion_matrix, learning_curve
from app.training.recipe import Recipe
from app.training.run_folder import check_before_training
from app.training.stamp import today, versions

LIBRARIES = ("lrpserve", "torch", "numpy")
SHIPPED = "minivgg-cifar10"
"""Name of the shipped model, which a training has by default."""

SplitLoader = Callable[[str], LabelledImages]
"""Returns the images of a split, ``train`` or ``test``."""


def split_loader(data: Path | None, test_data: Path | None, cache: Path) -> SplitLoader:
    """Return a function that loads splits of a dataset.

    Args:
        data: Folder or zip with the training images; ``None`` for CIFAR-10, downloaded into ``cache``.
        test_data: Folder or zip with the test images; by default they are in ``data``, or in ``test.zip`` (or the
            folder ``test``) next to ``train.zip`` (or ``train``).
        cache: Folder for the download.

    Raises:
        DataError: There are no test images, or a path does not exist. Checked before training starts.

    """
    for path in (data, test_data):
        if path is not None and not path.exists():
            raise DataError(f"{path}: there is no such folder or zip")
    test_source = test_data or (data and _find_test_data(data))

    def load(split: str) -> LabelledImages:
        source = test_source if split == "test" else data
        return load_split(source, split) if source else download_split(cache, split)

    return load


def train_images(recipe: Recipe, options: TrainOptions) -> Path:
    """Train a network on pictures by ``options`` and return the path of its card. Raises as `train` does."""
    options.refuse(recipe.name, "target", "impute")
    run = options.runs / recipe.name
    return train(
        recipe,
        split_loader(options.data, options.test_data, options.runs / "data"),
        run,
        options.output or run,
        name=options.name or SHIPPED,
        data_name=options.data_name
        or (options.data.name if options.data else "CIFAR-10 through torchvision"),
        resume=options.resume,
        seed=options.seed,
        device=options.device,
        start=options.start,
    )


def train(
    recipe: Recipe,
    load: SplitLoader,
    run: Path,
    output: Path,
    *,
    name: str,
    data_name: str,
    resume: bool,
    seed: int,
    device: str,
    start: Path | None = None,
) -> Path:
    """Train a network and write the model's folder into ``output``, plots into ``run``. Return the card's path.

    A tenth of the training images, at most 5 000, is held out for validation. The test images are used once,
    after training.

    Args:
        recipe: Hyper-parameters.
        load: Returns the images of a split.
        run: Folder of the checkpoint and the plots.
        output: Folder in which the model's folder is written.
        name: Name of the model, and of its folder.
        data_name: Name of the dataset, for the card.
        resume: Continue from the checkpoint in ``run``; if it has all epochs, its network is exported again.
        seed: Seed of all random numbers.
        device: Device to train on.
        start: Card of the trained network to start from, for a recipe with `Recipe.conserving`. If it was trained
            with the same seed and data, the same images are held out.

    Raises:
        DataError: The name, the run's folder or the training images cannot be used, which is checked before
            training starts; or the test images cannot be read.

    """
    check_before_training(run, name, resume)
    images = load("train")
    if len(images) < HELD_OUT_ONE_IN:
        raise DataError(f"{len(images)} training pictures: at least {HELD_OUT_ONE_IN} are needed")
    training, validation = hold_out(images, held_out_count(len(images)), seed)
    normalisation = compute_normalisation(training.images)
    start_network, started_from = _load_start(start, recipe, images.classes)
    result = _train_with_progress(
        recipe, training, validation, normalisation, run, resume, seed, device, start_network
    )
    network = as_graph(result.model)
    on_validation = evaluate(network, validation, normalisation, images.classes)
    on_test = evaluate(network, load("test"), normalisation, images.classes)
    record = _training_record(recipe, seed, data_name, started_from, result, on_validation, on_test)
    card = save(
        result.model,
        output,
        name=name,
        classes=images.classes,
        normalisation=normalisation,
        dropout=recipe.dropout or dropout_rates(network.graph),
        training=record,
    )
    learning_curve(result.history, run / "learning-curve.png")
    confusion_matrix(on_test, images.classes, run / "confusion-matrix.png")
    return card


def _load_start(
    path: Path | None, recipe: Recipe, classes: tuple[str, ...]
) -> tuple[MiniVGG | None, str | None]:
    """Return the network to start from and its name for the record, ``name@version``; ``None`` without a path."""
    if path is None:
        return None, None
    if not recipe.conserving:
        raise DataError(f"recipe {recipe.name!r} starts from random weights: leave out --start")
    network, card = load_module(path)
    if card.classes != classes:
        raise DataError(f"{path} has other classes than the training pictures: {', '.join(card.classes)}")
    return network, f"{card.name}@{card.version}"


def _find_test_data(data: Path) -> Path:
    sibling = data.with_name(f"test{data.suffix}")
    if data.stem == "train" and sibling.exists():
        return sibling
    # A source without folders of splits can be read as any split. It must not be both training and test data.
    if has_split(data, "test"):
        return data
    raise DataError(f"{data} holds no test/<class>/*.png: name the test pictures with --test-data")


def _train_with_progress(
    recipe: Recipe,
    training: LabelledImages,
    validation: LabelledImages,
    normalisation: Normalisation,
    run: Path,
    resume: bool,
    seed: int,
    device: str,
    start: MiniVGG | None,
) -> TrainingResult:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    # Progress is measured in pixels: the time of an epoch is proportional to the area of its images.
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

        trainer = Trainer(
            recipe,
            training,
            validation,
            normalisation,
            run,
            start=start,
            seed=seed,
            device=device,
            on_batch=on_batch,
            on_epoch=lambda record: progress.console.print(
                f"epoch {record.epoch}: validation {record.validation_accuracy:.2%}, {record.seconds:.0f} s"
            ),
        )
        if resume:
            progress.console.print(f"resuming after {trainer.resume()} epochs")
        return trainer.train()


def _training_record(
    recipe: Recipe,
    seed: int,
    data_name: str,
    started_from: str | None,
    result: TrainingResult,
    validation: Measured,
    test: Measured,
) -> TrainingRecord:
    return TrainingRecord(
        recipe=dataclasses.asdict(recipe),
        seed=seed,
        data=data_name,
        started_from=started_from,
        history=result.history,
        validation=validation,
        test=test,
        versions=versions(LIBRARIES),
        date=today(),
    )
