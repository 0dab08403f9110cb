"""Rows of tables from the JSON or CSV of a request."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.errors import InvalidFeaturesError, TooLargeError, UnreadableTableError
from app.modalities.json_values import advice_on, decoded, kind_of_value, values_of_json

MAX_ROWS = 1000
"""Rows of one request."""
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
EXAMPLE = 'send {"features": {"NAME": VALUE, …}}, or {"rows": [{"NAME": VALUE, …}, …]} for several rows'
FORMS = {"features": "an object of features", "rows": "a list of objects of features"}
"""Names in the JSON of a request, and what their values are."""
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
"""Characters that separate columns in files that are not comma-separated."""


class Cell(str):
    """Text of a cell of a CSV file: a number where the feature is one, else a category; empty if missing."""

    __slots__ = ()


class Rows(NamedTuple):
    """Rows of one request, each with values by the name of the feature."""

    rows: tuple[Mapping[str, Any], ...]
    several: bool
    """Whether the request has the form for several rows, however many it has."""


def rows_of_json(data: bytes) -> Rows:
    """Return the row of ``{"features": {…}}``, or the rows of ``{"rows": [{…}, …]}``.

    A name that an object has twice has the value `DOUBLED`, and literals such as NaN are floats: who decodes the
    row refuses them with what else is wrong. Raises `UnreadableTableError` for JSON of another form and
    `TooLargeError` for more than `MAX_ROWS` rows.
    """
    body = values_of_json(data, UnreadableTableError, EXAMPLE)
    match body:
        case {"features": dict(row), **others} if not others:
            return Rows((row,), several=False)
        case {"rows": list(rows), **others} if not others:
            return Rows(_checked(rows), several=True)
    raise UnreadableTableError(advice_on(body, FORMS, EXAMPLE))


def rows_of_csv(data: bytes) -> Rows:
    """Return the rows of a CSV file: UTF-8, names of features in the first row, separated by commas.

    Raises `UnreadableTableError` for another form, and `TooLargeError` for more than `MAX_ROWS` rows.
    """
    header, rows = read_csv(data, MAX_ROWS)
    return Rows(tuple(dict(zip(header, row, strict=True)) for row in rows), several=True)


def read_csv(data: bytes, max_rows: int | None = None) -> tuple[list[str], list[list[Cell]]]:
    """Return header and rows of a CSV file, without spaces around cells and without empty lines.

    Raises as `rows_of_csv` does.
    """
    text = decoded(data, UnreadableTableError)
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    header: list[str] = []
    rows: list[list[Cell]] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if not header:
                header = _header(cells, text)
                continue
            rows.append(_row(cells, header, f"row {len(rows) + 1} (line {reader.line_num})"))
            if max_rows is not None and len(rows) > max_rows:
                raise TooLargeError(f"the CSV has over {max_rows} rows; send them in several requests")
    except csv.Error as error:
        raise UnreadableTableError(f"line {reader.line_num} of the CSV cannot be read: {error}") from None
    if not header:
        raise UnreadableTableError("the CSV is empty; the first row must have the names of the features")
    if not rows:
        raise UnreadableTableError("the CSV has a header, but no rows below it")
    return header, rows


def _checked(rows: Sequence[object]) -> tuple[Mapping[str, Any], ...]:
    if not rows:
        raise UnreadableTableError("rows: is empty; give at least one row")
    if len(rows) > MAX_ROWS:
        raise TooLargeError(f"rows: {len(rows)} rows are over {MAX_ROWS}; send them in several requests")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UnreadableTableError(
                f"rows[{number}]: is {kind_of_value(row)}; an object of features is expected"
            )
    return tuple(row for row in rows if isinstance(row, dict))


def _header(cells: list[str], text: str) -> list[str]:
    """Return the names in the first row; raises `UnreadableTableError`."""
    names = [cell.strip() for cell in cells]
    for separator, name in SEPARATORS.items():
        first = next(csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=separator))
        if len(first) > len(cells):
            raise UnreadableTableError(
                f"the header, {_shortened(','.join(cells))!r}, has {name} between its names: separate columns by "
                "commas and write decimals with a point"
            )
    if all(NUMBER.fullmatch(name) for name in names):
        raise UnreadableTableError(
            f"the first row, {_shortened(','.join(cells))!r}, has numbers only: it must be a header, the "
            "names of the features"
        )
    if "" in names:
        raise UnreadableTableError(
            f"column {names.index('') + 1} has no name in the header; name it, or leave the column out"
        )
    if doubled := [name for name, times in Counter(names).items() if times > 1]:
        raise InvalidFeaturesError([(name, "is given twice in the header") for name in doubled])
    return names


def _row(cells: list[str], header: list[str], place: str) -> list[Cell]:
    if len(cells) == len(header):
        return [Cell(cell.strip()) for cell in cells]
    cause = "; write decimals with a point, and text with commas between quotation marks"
    raise UnreadableTableError(
        f"{place} has {len(cells)} cells, but the header has {len(header)} columns"
        + (cause if len(cells) > len(header) else "; leave a missing cell empty, between its commas")
    )


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"
