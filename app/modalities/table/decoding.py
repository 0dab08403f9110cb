"""Rows → the columns of a network's input."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from app.errors import InvalidFeaturesError
from app.modalities.json_values import DOUBLED
from app.modalities.protocol import Floats
from app.modalities.table.parsing import NUMBER, Cell
from app.modalities.table.spec import Category, Feature, Number, TableSpec

FARTHEST = 1e6
"""Standard deviations between a value and the training mean, at most: float32 does not overflow in a network."""
MAX_CATEGORIES_LISTED = 20
MAX_SUGGESTED, MAX_COMPARED = 10, 200
"""Unknown names for which a missing one that is spelled almost alike is looked for, and missing names at most."""


@dataclass(frozen=True)
class FeatureValue:
    """A feature of a row, as it was sent."""

    name: str
    value: float | str | None
    """A number in ``unit``, or a category; ``None``: missing."""
    unit: str | None
    outside_training_range: bool


@dataclass(frozen=True, eq=False)
class DecodedRow:
    """A row as the network takes it."""

    columns: Floats
    """Standardised numbers and one-hot columns, (columns,)."""
    features: tuple[FeatureValue, ...]
    warnings: tuple[str, ...]


class _InvalidError(Exception):
    """The value of one feature cannot be used; says why."""


def decode(row: Mapping[str, Any], spec: TableSpec) -> DecodedRow:
    """Return the columns for values by the name of the feature.

    Values are numbers, text, `Cell` or `DOUBLED`. Raises `InvalidFeaturesError` for all features that are missing
    (unless the model imputes them), unknown, given twice, not numbers, not finite, or not a known category.
    """
    columns = np.zeros(spec.columns, np.float32)
    values: list[FeatureValue] = []
    warnings: list[str] = []
    problems: list[tuple[str, str]] = []
    for feature, place in zip(spec.features, spec.places, strict=True):
        try:
            value = _value(row.get(feature.name), feature)
        except _InvalidError as error:
            problems.append((feature.name, str(error)))
            continue
        columns[place] = _columns(value, feature)
        warning = _outside(value, feature)
        values.append(FeatureValue(feature.name, value, feature.unit, bool(warning)))
        if value is None:
            warning = f"{feature.name} is missing; {_replacement(feature)} of the training data replaces it"
        if warning:
            warnings.append(warning)
    problems += _unknown(row, spec)
    if problems:
        raise InvalidFeaturesError(problems)
    return DecodedRow(columns, tuple(values), tuple(warnings))


def row_of_columns(columns: Floats, spec: TableSpec) -> dict[str, Any]:
    """Return the row that has these columns: numbers in their units and one-hot columns, (columns,).

    Raises `InvalidFeaturesError` for another number of columns, and for one-hot columns that name no category.
    """
    if columns.shape != (spec.columns,):
        shape = "×".join(map(str, columns.shape))
        raise InvalidFeaturesError([("row", f"has {shape} columns; the network takes {spec.columns}")])
    row: dict[str, Any] = {}
    problems = []
    for feature, place in zip(spec.features, spec.places, strict=True):
        mine = columns[place]
        if isinstance(feature, Number):
            row[feature.name] = float(mine[0])
        elif np.count_nonzero(mine) == 1 and mine.max() == 1:
            row[feature.name] = feature.categories[int(mine.argmax())]
        else:
            problems.append(
                (feature.name, f"one of its {feature.columns} columns must be 1 and the others 0")
            )
    if problems:
        raise InvalidFeaturesError(problems)
    return row


def _value(given: object, feature: Feature) -> float | str | None:
    if given is DOUBLED:
        raise _InvalidError("is given twice; give it once")
    if given is None or given == "":
        if feature.imputes:
            return None
        raise _InvalidError(f"is missing; {_expected(feature)} is expected")
    return _number(given, feature) if isinstance(feature, Number) else _category(given, feature)


def _number(given: object, feature: Number) -> float:
    if isinstance(given, Cell):
        given = _number_of_text(given, feature)
    elif isinstance(given, str):
        raise _InvalidError(f"is text; {_expected(feature)} without quotation marks is expected")
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _InvalidError(f"is not a number; {_expected(feature)} is expected")
    try:
        value = float(given)
    except OverflowError:
        value = np.inf
    if not np.isfinite(value):
        raise _InvalidError(f"is not finite; {_expected(feature)} is expected")
    if abs(value - feature.mean) > FARTHEST * feature.std:
        raise _InvalidError(
            f"{value:g} is over {FARTHEST:,.0f} standard deviations from the training mean, {feature.mean:.6g}"
        )
    return value


def _number_of_text(text: str, feature: Number) -> float:
    if NUMBER.fullmatch(text):
        return float(text)
    shown = repr(str(text if len(text) <= 40 else text[:40] + "…"))
    if text.startswith("="):
        raise _InvalidError(f"{shown} is a formula; {_expected(feature)}, its result, is expected")
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise _InvalidError(
            f"{shown} is not finite; {_expected(feature)} is expected"
            + (", or nothing if it is missing" if feature.imputes else "")
        )
    advice = " with a point before its decimals and nothing between thousands" if "," in text else ""
    raise _InvalidError(f"{shown} is not a number; {_expected(feature)}{advice} is expected")


def _category(given: object, feature: Category) -> str:
    if isinstance(given, str) and given in feature.categories:
        return str(given)
    if not isinstance(given, str):
        raise _InvalidError(f"is not text; {_expected(feature)} is expected")
    shown = repr(str(given if len(given) <= 40 else given[:40] + "…"))
    raise _InvalidError(f"{shown} is not a category of it; {_expected(feature)} is expected")


def _expected(feature: Feature) -> str:
    if isinstance(feature, Number):
        return f"a number in {feature.unit}" if feature.unit else "a number"
    listed = ", ".join(repr(name) for name in feature.categories[:MAX_CATEGORIES_LISTED])
    more = len(feature.categories) - MAX_CATEGORIES_LISTED
    return f"one of {listed}" + (f" and {more} more" if more > 0 else "")


def _unknown(row: Mapping[str, Any], spec: TableSpec) -> list[tuple[str, str]]:
    """Return a problem for each name that no feature has, with the name that may have been meant."""
    unknown = [name for name in row if name not in spec.by_name]
    missing = [feature.name for feature in spec.features if feature.name not in row]
    return [
        (name, f"no such feature; {_closest(name, missing) if place < MAX_SUGGESTED else ''}leave it out")
        for place, name in enumerate(unknown)
    ]


def _closest(name: str, missing: list[str]) -> str:
    by_lower = {known.lower(): known for known in missing[:MAX_COMPARED]}
    near = get_close_matches(name[:100].strip().lower(), by_lower, n=1, cutoff=0.8)
    return f"name it {by_lower[near[0]]!r}, or " if near else ""


def _columns(value: float | str | None, feature: Feature) -> Any:
    if isinstance(feature, Number):
        return 0.0 if value is None else (float(value) - feature.mean) / feature.std
    return feature.shares if value is None else [float(name == value) for name in feature.categories]


def _replacement(feature: Feature) -> str:
    return "the mean" if isinstance(feature, Number) else "the share of each category"


def _outside(value: float | str | None, feature: Feature) -> str:
    """Return the warning for a number outside the range of the training data, else nothing."""
    if not isinstance(feature, Number) or not isinstance(value, float):
        return ""
    if feature.minimum <= value <= feature.maximum:
        return ""
    unit = f" {feature.unit}" if feature.unit else ""
    training_range = f"{feature.minimum:.6g} to {feature.maximum:.6g}{unit}"
    return f"{feature.name}, {value:.6g}{unit}, is outside the range of the training data, {training_range}"
