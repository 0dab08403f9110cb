"""Surveys of texts, of the model of `fake_text_model`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fake_text_model import FakeTextModel
from surveyed import survey_of

from app.command_line.surveys.options import options_of
from app.survey.text.findings import TextFindings

TEXTS = (
    ("a good film", "1"),
    ("not good", "1"),
    ("A film", "0"),
    ("bad film", "0"),
    ("good bad", "1"),
    ("a bad bad film", "0"),
    ("good good not bad", "0"),
    ("film of wonder", "1"),
)
"""With labels; all but "of" and "wonder" are in the vocabulary."""


def write(path: Path, rows: Sequence[tuple[str, str]] = TEXTS) -> Path:
    path.write_text("".join(f"{text}\t{label}\n" for text, label in rows))
    return path


def surveyed(data: Path, out: Path, model: FakeTextModel | None = None, **given: Any) -> TextFindings:
    found = survey_of("text", model or FakeTextModel(), options_of(data, out, {"rule": "zero", **given}))
    assert isinstance(found, TextFindings)
    return found
