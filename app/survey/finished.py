"""Finished surveys in a directory: what is said of each, and which folders are damaged.

Needs none of the packages that a survey is computed with.
"""

import os
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, Field, FiniteFloat, NonNegativeInt, ValidationError

from app.errors import RefusedToStartError
from app.survey.files import ITEMS, RELEVANCE, REPORT, SUMMARY

NEEDED = (REPORT, SUMMARY, ITEMS)
"""Files of a finished survey; the report is written last."""
MAX_CACHED = 1024
OUTSIDE = "it is a link out of the folder of reports, and is not followed"
NOT_UTF8 = "its name is not UTF-8; rename it"


class Report(BaseModel):
    """A finished survey."""

    name: str = Field(
        description="Name of its folder; the report is at `/reports/NAME`.", examples=["holdout"]
    )
    title: str = Field(examples=["Survey of {{name}} on holdout.zip"])
    date: str = Field(description="Day on which it was made, in UTC.", examples=["2026-11-28"])
    model: str = Field(description="Name of the model.", examples=["{{name}}"])
    version: str = Field(description="Version of the model.", examples=["{{version}}"])
    items: NonNegativeInt = Field(
        description="Number of inputs, those that failed included.", examples=[10000]
    )
    accuracy: FiniteFloat | None = Field(
        description="Share of inputs with a known label that are predicted right; null without labels.",
        examples=[0.93],
    )
    suspicion: FiniteFloat | None = Field(
        description="Highest suspicion of a cluster of maps, from 0 to 1; null if none was measured.",
        examples=[0.42],
    )


class DamagedReport(BaseModel):
    """A folder of a survey that is not finished or cannot be read."""

    name: str = Field(description="Name of the folder.", examples=["interrupted"])
    error: str = Field(
        description="What is wrong with it.",
        examples=["it has no report.html, which a survey writes when it is finished"],
    )


class Reports(BaseModel):
    """Finished surveys, the newest first, and folders that are left out."""

    reports: list[Report]
    damaged: list[DamagedReport]


class _Model(BaseModel):
    name: str
    version: str


class _Cluster(BaseModel):
    suspicion: FiniteFloat | None


class _Summary(BaseModel):
    """What is read of ``summary.json``; see `app.survey.summary`."""

    data: str
    date: str
    model: _Model
    items: NonNegativeInt
    accuracy: FiniteFloat | None
    clusters: list[_Cluster] = []
    """Of pictures only."""


class ReportFolder:
    """A directory with a folder for each survey. Links that lead out of it are not followed."""

    def __init__(self, path: Path) -> None:
        """Raises `RefusedToStartError` if there is no such directory."""
        if not path.is_dir():
            raise RefusedToStartError(f"LRP_REPORTS: {path} is not a folder")
        self.path = path.resolve()

    def all(self) -> Reports:
        """Return what is in the directory now; folders without files of a survey are left out silently."""
        found = [self._read(name) for name in self._names()]
        reports = [one for one in found if isinstance(one, Report)]
        reports.sort(key=lambda one: one.date, reverse=True)
        return Reports(reports=reports, damaged=[one for one in found if isinstance(one, DamagedReport)])

    def find(self, name: str, file: str) -> Path | None:
        """Return the path of a ``file``, one of `NEEDED`, of the report ``name``; ``None``: no such report."""
        if name not in self._names() or not isinstance(self._read(name), Report):
            return None
        return self.path / name / file

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())

    def _read(self, name: str) -> Report | DamagedReport | None:
        """Return what is known of a name in the directory, ``None`` if it is of no survey."""
        folder = self.path / name
        if not folder.is_dir():
            return None
        if not self._is_inside(folder):
            return DamagedReport(name=_text(name), error=OUTSIDE)
        if not any((folder / file).exists() for file in (*NEEDED, RELEVANCE)):
            return None
        if name != _text(name):
            return DamagedReport(name=_text(name), error=NOT_UTF8)
        if missing := [file for file in NEEDED if not self._is_file(folder / file)]:
            error = f"it has no {' and no '.join(missing)}, which a survey writes when it is finished"
            return DamagedReport(name=name, error=error)
        return _report_of(name, folder / SUMMARY)

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.path)

    def _is_file(self, path: Path) -> bool:
        return path.is_file() and self._is_inside(path)


def _report_of(name: str, path: Path) -> Report | DamagedReport:
    try:
        status = path.stat()
        summary = _summary(path, (status.st_mtime_ns, status.st_size))
    except OSError as error:
        return DamagedReport(name=name, error=f"{SUMMARY}: {error.strerror}")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return DamagedReport(name=name, error=f"{SUMMARY}: {place}{': ' if place else ''}{first['msg']}")
    known = [one.suspicion for one in summary.clusters if one.suspicion is not None]
    return Report(
        name=name,
        title=f"Survey of {summary.model.name} on {summary.data}",
        date=summary.date,
        model=summary.model.name,
        version=summary.model.version,
        items=summary.items,
        accuracy=summary.accuracy,
        suspicion=max(known, default=None),
    )


@lru_cache(MAX_CACHED)
def _summary(path: Path, version: tuple[int, int]) -> _Summary:  # noqa: ARG001 # the key of the cache
    """Return what a file says in its ``version``; raises `OSError` and `pydantic.ValidationError`."""
    return _Summary.model_validate_json(path.read_bytes())


def _text(name: str) -> str:
    """Return a file's name as text that can be written: file systems allow bytes that are none."""
    return os.fsencode(name).decode(errors="backslashreplace")
