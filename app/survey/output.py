"""The folder that a survey writes."""

import json
import os
import shutil
from pathlib import Path

from app.survey.files import ITEMS, REPORT, SUMMARY
from app.survey.item_rows import write_rows
from app.survey.kind import FindingsT, SurveyKind
from app.survey.report import write_report
from app.survey.summary import summary

UNFINISHED = ".unfinished"
"""Folder in which files are written before they are moved to their places."""


def write_all(kind: SurveyKind[FindingsT], findings: FindingsT, folder: Path) -> None:
    """Write the report, the table of items, the summary and what else the kind has beside ``relevance.h5``.

    All files are written beside their places first. Then the report of an earlier survey is removed, the other
    files are replaced, and the new report comes last: a folder with a report has all files of one survey,
    complete, whenever this is interrupted.
    """
    unfinished = folder / UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # of a survey that was interrupted
    unfinished.mkdir()
    write_rows(findings, kind.columns(findings), unfinished / ITEMS)
    text = json.dumps(summary(findings, kind.summary(findings)), indent=1, allow_nan=False)
    (unfinished / SUMMARY).write_text(text + "\n", encoding="utf-8")
    kind.write(findings, unfinished)
    write_report(findings, kind.page(findings), unfinished / REPORT)
    _publish(unfinished, folder)


def _publish(unfinished: Path, folder: Path) -> None:
    (folder / REPORT).unlink(missing_ok=True)
    for path in sorted(unfinished.iterdir(), key=lambda one: one.name == REPORT):
        place = folder / path.name
        if place.is_dir():
            shutil.rmtree(place)
        _flush(path)
        path.replace(place)
    unfinished.rmdir()


def _flush(path: Path) -> None:
    """Write a file, or the files of a folder, to disk: the name must not be there before the content."""
    for one in filter(Path.is_file, [path, *path.rglob("*")] if path.is_dir() else [path]):
        with one.open("rb") as file:
            os.fsync(file.fileno())
