"""Training on a table, from its CSV file to the model's folder."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table as PrintedTable

from app.errors import DataError
from app.lrp.graph.trace import trace
from app.models.card import valid_name
from app.models.checkpoint import save_traced
from app.models.records import Measured, MeasuredValues, TrainingRecord
from app.models.table_card import feature_input
from app.training.options import TrainOptions
from app.training.stamp import today, versions
from app.training.table.comparison import check_scikit_learn, others
from app.training.table.data import dataset_of, read_table
from app.training.table.loop import Examples, out_of_fold, train
from app.training.table.members import Members
from app.training.table.metrics import measured
from app.training.table.output import calibrated, fold, standardised
from app.training.table.recipe import TableRecipe

LIBRARIES = ("lrpserve", "torch", "numpy", "scikit-learn")
Results = Mapping[str, Measured | MeasuredValues]
"""What methods reach on the test rows, by name."""


def train_table(recipe: TableRecipe, options: TrainOptions) -> Path:
    """Train a network on a table by ``options`` and return the path of its card.

    A target of numbers is predicted as a value, one of text as classes. Rows that are held out are used once,
    after training; the errors on them are printed, beside those of other methods. Raises `DataError` for options
    that the recipe has no use for, and for a table that cannot be used.
    """
    options.refuse(recipe.name, "test_data", "resume", "start", *(("target",) if recipe.target else ()))
    check_scikit_learn()
    path = options.data or recipe.data
    if path is None:
        raise DataError(f"recipe {recipe.name!r} needs a table: name a CSV file with --data")
    name = _checked_name(options.name or (recipe.name if options.data is None else path.stem))
    recipe = dataclasses.replace(recipe, target=options.target or recipe.target)
    table = read_table(path, recipe.target, imputes=options.impute)
    data = dataset_of(path, table, recipe, options.seed, imputes=options.impute)
    torch.manual_seed(options.seed)
    examples, output = standardised(data)
    members = _train_with_progress(examples, recipe, options.device)
    outputs = out_of_fold(members, examples)
    output = calibrated(output, outputs, examples)
    network = fold(members.mean(), output)
    with torch.inference_mode():
        on_test = measured(network(torch.from_numpy(data.test.columns)), data.test.targets, data.classes)
    compared = others(data)
    record = TrainingRecord(
        recipe=recipe.as_json(),
        seed=options.seed,
        data=options.data_name or (recipe.attribution if options.data is None else None) or path.name,
        history=(),
        validation=measured(output.of(outputs), data.train.targets, data.classes),
        test=on_test,
        others=dict(compared),
        versions=versions(LIBRARIES),
        date=today(),
    )
    _print({"this network": on_test, **compared}, recipe.unit)
    is_value = data.classes is None
    return save_traced(
        trace(network, torch.from_numpy(data.train.columns[:2])),
        options.output or options.runs / recipe.name,
        name=name,
        kind="table",
        architecture=f"dense ReLU network, the mean of {recipe.members} with hidden layers of {recipe.widths}",
        output="value" if is_value else "classes",
        classes=data.classes or (table.target,),
        unit=recipe.unit if is_value else None,
        table={"features": [feature_input(feature) for feature in data.spec.features]},
        training=record,
    )


def _checked_name(name: str) -> str:
    try:
        return valid_name(name)
    except ValueError as error:
        raise DataError(f"name {name!r}: {error}; give one with --name") from None


def _train_with_progress(examples: Examples, recipe: TableRecipe, device: str) -> Members:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task(recipe.name, total=recipe.steps, loss="")

        def on_step(step: int, loss: float) -> None:
            progress.update(bar, completed=step, loss=f"{loss:.4f}")

        return train(examples, recipe, device, on_step)


def _print(results: Results, unit: str | None) -> None:
    """Print what each method reaches on the test rows."""
    console = Console()
    first = next(iter(results.values()))
    printed = PrintedTable(title=f"{first.count} held-out rows")
    in_unit = f", {unit}" if unit else ""
    headings = (
        ("mean absolute error" + in_unit, "RMSE" + in_unit, "R²")
        if isinstance(first, MeasuredValues)
        else ("accuracy", "calibration error", "negative log-likelihood")
    )
    for heading in ("", *headings):
        printed.add_column(heading)
    for name, result in results.items():
        printed.add_row(name, *(f"{value:.4g}" for value in _figures(result)))
    console.print(printed)


def _figures(result: Measured | MeasuredValues) -> tuple[float, float, float]:
    if isinstance(result, MeasuredValues):
        return result.mean_absolute_error, result.root_mean_squared_error, result.r2
    return result.accuracy, result.calibration_error, result.negative_log_likelihood
