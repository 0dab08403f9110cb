"""Labelled texts from a folder of tab-separated files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.errors import DataError
from app.modalities.text.columns import read_columns
from app.modalities.text.treebank import unescape

HELD_OUT_ONE_IN = 10
"""One in this many training texts is held out if there is no file of validation texts."""


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, and labels (N,) int64, which are indices into ``classes``."""

    texts: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Tensor) -> "LabelledTexts":
        """Return the texts and labels at ``indices`` (n,), in that order."""
        texts = tuple(self.texts[index] for index in indices.tolist())
        return LabelledTexts(texts, self.labels[indices], self.classes)


@dataclass(frozen=True)
class Splits:
    """Texts to train on, to choose and calibrate on, and to measure on once at the end."""

    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts


def load_splits(folder: Path, names: Sequence[str], seed: int) -> Splits:
    """Read ``train.tsv``, ``dev.tsv`` and ``test.tsv`` of a folder, with ``text<TAB>label`` in each line.

    Without ``dev.tsv``, a tenth of the training texts is held out.

    Args:
        folder: Folder of the files.
        names: Names of the classes whose labels are 0, 1, …; labels that are not numbers are names themselves.
        seed: Seed of the choice of held-out texts.

    Raises:
        DataError: A file is missing or has a line of another form, or has a class that no training text has; or
            there are too few texts.

    """
    rows = {split: _read(folder / f"{split}.tsv", names) for split in ("train", "test")}
    classes = tuple(_ordered({label for _, label in rows["train"]}, names))
    if len(classes) < 2:
        raise DataError(f"{folder / 'train.tsv'}: all texts have the same label; at least two are needed")
    train = _labelled(rows["train"], classes, folder / "train.tsv")
    if (folder / "dev.tsv").exists():
        path = folder / "dev.tsv"
        validation = _labelled(_read(path, names), classes, path)
    else:
        train, validation = _hold_out(train, folder, seed)
    return Splits(train, validation, _labelled(rows["test"], classes, folder / "test.tsv"))


def _read(path: Path, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return text and class of each line."""
    try:
        rows = read_columns(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); it must have text<TAB>label in each line"
        ) from None
    for number, row in enumerate(rows, start=1):
        if len(row) != 2 or not all(row):
            raise DataError(f"{path}, line {number}: must be text<TAB>label")
    if not rows:
        raise DataError(f"{path}: has no lines")
    return [(unescape(text), _name(label, names, path)) for text, label in rows]


def _name(label: str, names: Sequence[str], path: Path) -> str:
    if not label.isdecimal():
        return label
    if int(label) >= len(names):
        known = ", ".join(f"{index} {name}" for index, name in enumerate(names))
        raise DataError(f"{path}: label {label} has no name; labels are names or numbers: {known}")
    return names[int(label)]


def _ordered(found: set[str], names: Sequence[str]) -> list[str]:
    """Return classes in the order of ``names``, others by the alphabet."""
    return [name for name in names if name in found] + sorted(found - set(names))


def _labelled(rows: Sequence[tuple[str, str]], classes: tuple[str, ...], path: Path) -> LabelledTexts:
    unknown = sorted({label for _, label in rows} - set(classes))
    if unknown:
        raise DataError(f"{path}: no training text has its label {unknown[0]!r}")
    labels = torch.tensor([classes.index(label) for _, label in rows])
    return LabelledTexts(tuple(text for text, _ in rows), labels, classes)


def _hold_out(data: LabelledTexts, folder: Path, seed: int) -> tuple[LabelledTexts, LabelledTexts]:
    count = len(data) // HELD_OUT_ONE_IN
    if count == 0:
        raise DataError(f"{folder / 'train.tsv'}: {len(data)} texts; without dev.tsv at least 10 are needed")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return data.select(order[count:]), data.select(order[:count])
