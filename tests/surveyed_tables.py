"""Surveys of tables, of the linear model of `fake_table_model`, and of one that tells two classes apart."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fake_table_model import CARD, DESCRIPTION, WEIGHTS, FakeTableModel, value_of
from surveyed import survey_of

from app.command_line.surveys.options import options_of
from app.lrp.explanation import Explanation
from app.models.protocol import Job, JobResult
from app.survey.table.findings import TableFindings

NAMES = ("Height", "Distance", "Place")
MEANS = np.array([0.0, 0.0, 0.25, 0.75])
"""Of the columns, in the training data."""


class Classes(FakeTableModel):
    """Tells cold from warm: the logits are the value above 12 °C and its negative."""

    description = replace(
        DESCRIPTION,
        card=CARD.model_copy(update={"output": "classes", "classes": ("cold", "warm"), "unit": None}),
    )

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        return [self._result(job) for job in jobs]

    def _result(self, job: Job) -> JobResult:
        value = value_of(job.input) - 12
        logits = [-value, value]
        assert job.baseline is not None
        difference = WEIGHTS * (job.input - job.baseline)
        explanations = []
        for request in job.requests:
            target = int(np.argmax(logits)) if request.target.index is None else request.target.index
            sign = (1 if target else -1) / (1 if request.target.versus is not None else abs(value) or 1)
            relevance = sign * difference
            total = float(relevance.sum())
            explanations.append(
                Explanation(
                    [0.0, 0.0], relevance, relevance.min(), relevance.max(), (("sum", total),), total, 0.0
                )
            )
        return JobResult(logits, tuple(explanations), None)


def rows(count: int = 40) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    return [
        {
            "Height": round(random.uniform(0, 1200), 1),
            "Distance": "" if number == 3 else round(random.uniform(0, 300), 1),
            "Place": ("coast", "inland")[random.integers(2)],
        }
        for number in range(count)
    ]


def columns_of(row: dict[str, Any]) -> npt.NDArray[np.float64]:
    distance = 0.0 if row["Distance"] == "" else (row["Distance"] - 50) / 25
    return np.array(
        [(row["Height"] - 400) / 200, distance, row["Place"] == "coast", row["Place"] == "inland"]
    )


def write(
    path: Path, listed: Sequence[dict[str, Any]], labels: Sequence[Any] | None, target: str = "temperature"
) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, *([] if labels is None else [target])])
        for number, row in enumerate(listed):
            writer.writerow([*row.values(), *([] if labels is None else [labels[number]])])
    return path


def surveyed(data: Path, out: Path, model: FakeTableModel | None = None, **given: Any) -> TableFindings:
    found = survey_of("table", model or FakeTableModel(), options_of(data, out, {"rule": "zero", **given}))
    assert isinstance(found, TableFindings)
    return found
