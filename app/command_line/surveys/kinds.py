"""The kinds of input that are surveyed, and which of them data are."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.command_line.surveys.image import IMAGE_SURVEY
from app.command_line.surveys.kind import SurveyOnCommandLine
from app.command_line.surveys.table import TABLE_SURVEY
from app.command_line.surveys.text import TEXT_SURVEY
from app.models.card import Kind
from app.models.repository import find_models
from app.settings import Settings
from app.survey.items import CSV, PATH
from app.survey.text.items import SUFFIX

SURVEYS: Mapping[Kind, SurveyOnCommandLine] = {
    "image": IMAGE_SURVEY,
    "text": TEXT_SURVEY,
    "table": TABLE_SURVEY,
}


def kind_of(settings: Settings, data: Path) -> Kind:
    """Return the kind of input of the model of ``settings``; of several models, that which ``data`` look like."""
    kinds = {one.card.kind for one in find_models(settings.models, settings.model)}
    return kinds.pop() if len(kinds) == 1 else kind_of_data(data)


def kind_of_data(data: Path) -> Kind:
    """Return the kind of a folder or file, by the suffix of its files; a CSV file with paths is of pictures."""
    if data.suffix.lower() == SUFFIX or (data.is_dir() and any(data.glob(f"*{SUFFIX}"))):
        return "text"
    if data.suffix.lower() == CSV and not data.is_dir():
        return "image" if PATH in _header(data) else "table"
    return "image"


def _header(path: Path) -> Sequence[str]:
    """Return the columns of a CSV file; none if it cannot be read, which who reads its rows says."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            return next(csv.reader(file), [])
        except csv.Error:
            return []
