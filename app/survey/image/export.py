"""A cluster's pictures as files, so that they can be looked at, mended or left out of the data.

The folder has the layout of data, a folder for each label, and a table that leads from each file to the picture
that it is a copy of. Names come from data that nobody has checked: what a file system does not take, or what
would lead out of the folder, is written as ``%`` and its number in hexadecimal.
"""

import csv
import re
import shutil
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from app.errors import DataError
from app.survey.image.findings import ImageFindings
from app.survey.image.strategies import Cluster
from app.survey.items import NO_LABEL, Item

FOLDER, TABLE = "clusters", "pictures.csv"
COLUMNS = ("file", "path", "label", "prediction", "probability")
"""Of the table; ``path`` is the picture's name in the data."""
NOT_IN_NAMES = re.compile(r'^\.|[%/\\:*?"<>|\x00-\x1f\x7f]|[. ]$')
"""What some file system does not take, and a dot at the beginning, which hides a file."""
MAX_STEM, MAX_SUFFIX = 50, 10
"""Lengths in characters, of up to four bytes each; file systems take 255 bytes."""


@dataclass(frozen=True)
class ClusterName:
    """The class of a cluster, and its number within the class."""

    target: str
    number: int

    @classmethod
    def parse(cls, text: str) -> "ClusterName":
        """Return the cluster that ``text``, ``CLASS:NUMBER``, names; raises `DataError`."""
        target, _, number = text.rpartition(":")
        if not target or not re.fullmatch("[1-9][0-9]{0,3}", number):
            raise DataError(f"--export-cluster: {text!r} names no cluster; write CLASS:NUMBER, as horse:1")
        return cls(target, int(number))

    def __str__(self) -> str:
        return f"{self.target}:{self.number}"

    def folder(self, survey: Path) -> Path:
        """Return where its pictures are written, in the folder of a survey."""
        return survey / FOLDER / f"{safe(self.target)}-{self.number}"

    def check(self, classes: Collection[str], survey: Path) -> None:
        """Raise `DataError` for what is known before a survey: there is no such class, or the folder exists.

        A folder is not replaced, because its pictures may have been mended.
        """
        if self.target not in classes:
            raise DataError(
                f"--export-cluster: the model has no class {self.target!r}; there are {', '.join(classes)}"
            )
        if (folder := self.folder(survey)).exists():
            raise DataError(
                f"--export-cluster: {folder} exists, and its pictures may have been changed; move or remove it"
            )

    def find(self, findings: ImageFindings) -> Cluster:
        """Return the cluster; raises `DataError`, which says which clusters there are."""
        of_class = [one for one in findings.clusters if findings.classes[one.target] == self.target]
        for one in of_class:
            if one.number == self.number:
                return one
        known = f"its clusters are 1 to {len(of_class)}" if of_class else "no item is predicted as it"
        raise DataError(f"--export-cluster: {self.target!r} has no cluster {self.number}; {known}")


def export(findings: ImageFindings, cluster: Cluster, folder: Path) -> None:
    """Write the pictures of ``cluster``, as they are in the data, into ``folder``, which does not exist yet.

    The table lists them in the cluster's order, the most typical first. Raises `DataError` if a picture cannot be
    read; there is no such folder then.
    """
    items = [findings.items[row] for row in cluster.rows]
    files = files_of(items)
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was interrupted
    for item, file in zip(items, files, strict=True):
        path = unfinished / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(item))
    _write_table(findings, cluster, files, unfinished / TABLE)
    unfinished.rename(folder)


def files_of(items: Sequence[Item]) -> list[str]:
    """Return the path of each item's file in a folder: its label, and the last part of its name."""
    labels = list(dict.fromkeys(one.label or NO_LABEL for one in items))
    folders = dict(zip(labels, _distinct([safe(label) for label in labels]), strict=True))
    return _distinct(
        [f"{folders[one.label or NO_LABEL]}/{safe(PurePosixPath(one.name).name)}" for one in items]
    )


def safe(name: str) -> str:
    """Return ``name`` as every file system takes it; what is too long is cut."""
    path = PurePosixPath(NOT_IN_NAMES.sub(_escaped, name))
    return path.stem[:MAX_STEM] + path.suffix[:MAX_SUFFIX]


def _escaped(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _distinct(names: Sequence[str]) -> list[str]:
    """Return ``names`` with numbers in those that have come before, also where only capitals differ."""
    taken: set[str] = set()
    found = []
    for name in names:
        path, number, free = PurePosixPath(name), 1, name
        while free.casefold() in taken:
            number += 1
            free = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        taken.add(free.casefold())
        found.append(free)
    return found


def _content(item: Item) -> bytes:
    try:
        content: bytes = item.read()
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"--export-cluster: {item.name}: {error}") from error
    return content


def _write_table(findings: ImageFindings, cluster: Cluster, files: Sequence[str], path: Path) -> None:
    predictions = findings.predictions
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for row, file in zip(cluster.rows, files, strict=True):
            item = findings.items[row]
            prediction = findings.classes[predictions.classes[row]]
            writer.writerow(
                [file, item.name, item.label or "", prediction, f"{predictions.confidence[row]:.4f}"]
            )
