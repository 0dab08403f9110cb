"""A model that takes rows of a table, without torch: two numbers and a category, one value in °C.

It is linear, so that tests can compute what is to be answered: the relevance of a column is its weight times the
column, or times its difference from the baseline's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from fake_model import OnCallingThread, explanation_of

from app.lrp.explanation import Explanation
from app.models.protocol import Description, Job, JobResult, LayerDescription
from app.models.table_card import CategoryInput, NumberInput, TableCard, TableInput

Floats = npt.NDArray[np.float64]

WEIGHTS = np.array([3.0, -2.0, 1.0, -1.0])
"""Of the columns: height and distance, standardised; coast and inland."""
BIAS = 12.0
CARD = TableCard(
    name="climate",
    kind="table",
    architecture="Linear",
    output="value",
    classes=("temperature",),
    unit="°C",
    table=TableInput(
        features=(
            NumberInput(name="Height", unit="m", mean=400, std=200, min=0, max=1200),
            NumberInput(name="Distance", unit="km", mean=50, std=25, min=0, max=300, imputes=True),
            CategoryInput(name="Place", categories=("coast", "inland"), shares=(0.25, 0.75)),
        )
    ),
    files={"weights.safetensors": "89abcdef01234567" * 4},
)
DESCRIPTION = Description(
    CARD,
    "cpu",
    "climate",
    "climate again",
    (("sum", "dense"),),
    (LayerDescription("sum", "Linear", "Linear(4, 1)"),),
)


class FakeTableModel(OnCallingThread):
    """An `app.models.protocol.Model` on the calling thread."""

    description = DESCRIPTION

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        return [_result(job) for job in jobs]


def value_of(columns: npt.NDArray[Any]) -> float:
    """(4,) -> the temperature."""
    return float(WEIGHTS @ columns + BIAS)


def _result(job: Job) -> JobResult:
    explanations = tuple(_explanation(job.input, job.baseline) for _ in job.requests)
    return JobResult(
        [value_of(job.input)],
        explanations,
        explanations if job.verify else None,
        baseline_logits=None if job.baseline is None else [value_of(job.baseline)],
    )


def _explanation(columns: npt.NDArray[Any], baseline: npt.NDArray[Any] | None) -> Explanation:
    relevance: Floats = WEIGHTS * (columns - (0 if baseline is None else baseline))
    return explanation_of(np.array([value_of(columns)]), {"sum": relevance})
