"""Rows of a CSV file, with the column that is predicted as their labels."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from app.errors import DataError, RequestError
from app.modalities.table.parsing import Cell, read_csv
from app.models.table_card import TableCard
from app.survey.items import Item, printable


def find_rows(path: Path, card: TableCard) -> list[Item]:
    """Return the rows of a CSV file, in their order; values that cannot be used fail when they are decoded.

    The label is the column that the network was trained to predict, or the only one that is no feature. Without
    such a column there are no labels. Raises `DataError` for a file that cannot be read, and for other columns.
    """
    try:
        header, rows = read_csv(path.read_bytes())
    except RequestError as error:
        raise DataError(f"{path}: {error.detail}") from None
    target = _target(path, header, card)
    return [
        _item(f"{printable(path.name)}:{number}", header, row, target) for number, row in enumerate(rows, 1)
    ]


def _target(path: Path, header: Sequence[str], card: TableCard) -> str | None:
    others = [name for name in header if name not in card.spec.by_name]
    trained = card.classes[0] if card.output == "value" else _trained_target(card)
    target = trained if trained in others else others[0] if len(others) == 1 else None
    others = [name for name in others if name != target]
    if others:
        unknown = ", ".join(others)
        raise DataError(
            f"{path}: {unknown}: neither features of {card.name} nor what it predicts; leave out these columns"
        )
    return target


def _trained_target(card: TableCard) -> object:
    return None if card.training is None else card.training.recipe.get("target")


def _item(name: str, header: Sequence[str], row: Sequence[Cell], target: str | None) -> Item:
    cells = dict(zip(header, row, strict=True))
    label = None if target is None else str(cells.pop(target)) or None
    stamp = hashlib.blake2b("\0".join((*header, *row)).encode(), digest_size=8).hexdigest()
    return Item(name, label, stamp, partial(dict, cells))
