"""A table to train on: read from CSV, split, and turned into columns of numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.errors import DataError, RequestError
from app.modalities.table.decoding import decode
from app.modalities.table.parsing import NUMBER, Cell, read_csv
from app.modalities.table.spec import Category, Feature, Number, TableSpec
from app.training.table.recipe import TableRecipe

FEWEST_ROWS = 40
FEWEST_OF_A_CLASS = 2
MAX_CATEGORIES = 100
"""Categories of one feature; a column with more is taken for names or dates, from which nothing is learned."""

TEST = -1
"""In place of a fold: the row is held out until the end."""

Numbers = npt.NDArray[np.float64]
Columns = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
"""Indices of rows."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a CSV file: features by name, and the target."""

    features: dict[str, list[Cell]]
    target: str
    targets: list[Cell]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Values of a target of text, sorted; ``None`` for a target of numbers."""
        if all(map(NUMBER.fullmatch, self.targets)):
            return None
        return tuple(sorted(set(self.targets)))

    def row(self, index: int) -> dict[str, Cell]:
        """Return the features of a row."""
        return {name: cells[index] for name, cells in self.features.items()}


def read_table(path: Path, target: str | None, *, imputes: bool) -> Table:
    """Return the rows of a CSV file with the column ``target``.

    Raises `DataError` for a file that cannot be read, another header, too few rows, and values that are missing:
    those of features only without ``imputes``.
    """
    try:
        header, rows = read_csv(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except RequestError as error:
        raise DataError(f"{path}: {error.detail}") from None
    if target not in header:
        given = "name the column to predict with --target" if target is None else f"no column {target!r}"
        raise DataError(f"{path}: {given}; there are {', '.join(header)}")
    if len(header) == 1:
        raise DataError(f"{path}: has no column beside {target!r} to predict it from")
    if len(rows) < FEWEST_ROWS:
        raise DataError(f"{path}: {len(rows)} rows; at least {FEWEST_ROWS} are needed")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(header)}
    for name, cells in columns.items():
        if name == target or not imputes:
            _refuse_missing(path, name, cells, is_target=name == target)
    targets = columns.pop(target)
    table = Table(columns, target, targets)
    _check_target(path, table)
    return table


def _refuse_missing(path: Path, name: str, cells: Sequence[Cell], *, is_target: bool) -> None:
    missing = [row for row, cell in enumerate(cells, 1) if not cell]
    if missing:
        advice = (
            "leave these rows out" if is_target else "fill them in, or let means replace them with --impute"
        )
        raise DataError(
            f"{path}: {name} is missing in {len(missing)} of {len(cells)} rows, first in row {missing[0]}: "
            f"{advice}"
        )


def _check_target(path: Path, table: Table) -> None:
    classes = table.classes
    if classes is None:
        if len(set(map(float, table.targets))) == 1:
            raise DataError(f"{path}: {table.target} has one value only, {table.targets[0]}")
        return
    if len(classes) == 1:
        raise DataError(f"{path}: {table.target} has one class only, {classes[0]!r}")
    _refuse_mixed(path, table.target, table.targets)
    label, count = Counter(table.targets).most_common()[-1]
    if count < FEWEST_OF_A_CLASS or len(classes) > MAX_CATEGORIES:
        raise DataError(
            f"{path}: {table.target} has {len(classes)} classes, of which {str(label)!r} has {count} rows; "
            f"at most {MAX_CATEGORIES} classes are told apart, of at least {FEWEST_OF_A_CLASS} rows each"
        )


def _refuse_mixed(path: Path, name: str, cells: Sequence[Cell]) -> None:
    """Refuse a column that is mostly of numbers, but not only."""
    given = [cell for cell in cells if cell]
    texts = [row for row, cell in enumerate(cells, 1) if cell and not NUMBER.fullmatch(cell)]
    if 0 < len(texts) < len(given) / 2:
        text = str(cells[texts[0] - 1])
        raise DataError(
            f"{path}: {name} has numbers but for {len(texts)} rows, first {text[:40]!r} in row {texts[0]}: write "
            "decimals with a point, and leave a missing value empty"
        )


def spec_of(path: Path, table: Table, rows: Rows, units: Mapping[str, str], *, imputes: bool) -> TableSpec:
    """Return the features of ``table`` with the statistics of ``rows``, those that are trained on.

    A column of numbers only is numerical, any other has categories: all that the table has, sorted. Raises
    `DataError` for a column from which nothing can be learned.
    """
    features: list[Feature] = []
    for name, cells in table.features.items():
        _refuse_mixed(path, name, cells)
        here = [cells[row] for row in rows if cells[row]]
        missing = imputes and not all(cells)
        if all(NUMBER.fullmatch(cell) for cell in cells if cell):
            features.append(_number(path, name, here, units.get(name), imputes=missing))
        else:
            features.append(_category(path, name, cells, here, imputes=missing))
    return TableSpec(tuple(features))


def _number(path: Path, name: str, cells: Sequence[Cell], unit: str | None, *, imputes: bool) -> Number:
    values = np.array(cells, np.float64)
    if not len(values) or values.min() == values.max() or not np.isfinite(values).all():
        raise DataError(f"{path}: {name} has one value only, or too large ones: leave the column out")
    mean, std = float(values.mean()), float(values.std())
    return Number(name, unit, mean, std, float(values.min()), float(values.max()), imputes)


def _category(
    path: Path, name: str, cells: Sequence[Cell], here: Sequence[Cell], *, imputes: bool
) -> Category:
    categories = sorted({str(cell) for cell in cells if cell})
    if not 2 <= len(categories) <= MAX_CATEGORIES:
        raise DataError(
            f"{path}: {name} has {len(categories)} categories; from 2 to {MAX_CATEGORIES} can be learned from: "
            "leave the column out"
        )
    counts = Counter(here)
    shares = tuple(counts[Cell(category)] / max(1, len(here)) for category in categories)
    return Category(name, tuple(categories), shares, imputes)


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows as numbers."""

    columns: Columns
    """(rows, columns of the network)"""
    targets: Numbers
    """Values, or numbers of classes, (rows,)."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table as numbers, split."""

    spec: TableSpec
    classes: tuple[str, ...] | None
    """``None``: targets are values."""
    train: Examples
    fold: Rows
    """Fold of each row to train on, (rows,)."""
    test: Examples
    """Rows that are held out until the end."""


def dataset_of(path: Path, table: Table, recipe: TableRecipe, seed: int, *, imputes: bool) -> Dataset:
    """Return ``table`` as numbers, split at random by whole groups: the test rows, and folds of the others.

    Raises `DataError` for columns from which nothing can be learned, and for too few rows that differ.
    """
    fold = folds(groups(table, recipe.alike), recipe.members, recipe.test_share, seed)
    train, test = np.flatnonzero(fold != TEST), np.flatnonzero(fold == TEST)
    spec = spec_of(path, table, train, recipe.units, imputes=imputes)
    classes = table.classes
    columns, targets = _columns(table, spec), _targets(table, classes)
    return Dataset(
        spec,
        classes,
        Examples(columns[train], targets[train]),
        fold[train],
        Examples(columns[test], targets[test]),
    )


def groups(table: Table, alike: Sequence[str]) -> Rows:
    """Return the group of each row, (rows,): rows are in one if all their features but ``alike`` are equal."""
    names = [name for name in table.features if name not in alike]
    numbers: dict[tuple[float | str, ...], int] = {}
    return np.array(
        [
            numbers.setdefault(tuple(_value(table.features[name][row]) for name in names), len(numbers))
            for row in range(len(table))
        ]
    )


def folds(group: Rows, count: int, test_share: float, seed: int) -> Rows:
    """Return the fold of each row, or `TEST`, (rows,), for the group of each row: groups are in one fold.

    Raises `DataError` for too few groups.
    """
    order = np.random.default_rng(seed).permutation(int(group.max()) + 1)
    rows_so_far = np.bincount(group)[order].cumsum()
    held_out = 1 + int(np.searchsorted(rows_so_far, test_share * len(group)))
    if len(order) - held_out < count:
        raise DataError(f"only {len(order)} rows differ in their features: too few to hold some out")
    fold_of_group = np.empty(len(order), np.intp)
    fold_of_group[order[:held_out]] = TEST
    fold_of_group[order[held_out:]] = np.arange(len(order) - held_out) % count
    return fold_of_group[group]


def _columns(table: Table, spec: TableSpec) -> Columns:
    return np.stack([decode(table.row(index), spec).columns for index in range(len(table))])


def _targets(table: Table, classes: tuple[str, ...] | None) -> Numbers:
    if classes is None:
        return np.array(table.targets, np.float64)
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[cell] for cell in table.targets], np.float64)


def _value(cell: Cell) -> float | str:
    return float(cell) if NUMBER.fullmatch(cell) else str(cell)
