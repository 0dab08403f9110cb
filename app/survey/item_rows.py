"""``items.parquet``: one row for each item of a survey."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.survey.findings import Findings

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("prediction", pa.string()),
        ("probability", pa.float32()),
        ("correct", pa.bool_()),
        ("probabilities", pa.list_(pa.float32())),
        ("leak", pa.float32()),
        ("cluster", pa.int32()),
        ("suspicion", pa.float32()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("neighbours", pa.list_(pa.string())),
        ("outside_mask", pa.float32()),
        ("relevance", pa.int64()),
        ("error", pa.string()),
    ]
)
"""``cluster`` is its number within the class that is predicted; ``relevance`` is the row in ``relevance.h5``."""


def write_table(findings: Findings, path: Path) -> None:
    """Write the items that were explained, then those that were not, with their errors."""
    failed = pa.table(
        {"path": [one.name for one in findings.failures], "error": [one.reason for one in findings.failures]},
        pa.schema([SCHEMA.field("path"), SCHEMA.field("error")]),
    )
    tables = [_explained(findings), failed]
    pq.write_table(pa.concat_tables(tables, promote_options="default").select(SCHEMA.names), path)


def _explained(findings: Findings) -> pa.Table:
    predictions, items = findings.predictions, findings.items
    numbers = findings.cluster_numbers()
    suspicion = {(one.target, one.number): one.suspicion for one in findings.clusters}
    points = {
        int(row): point
        for one in findings.strategies
        for row, point in zip(one.embedded, one.points.tolist(), strict=True)
    }
    columns = {
        "path": [one.name for one in items],
        "label": [one.label for one in items],
        "prediction": [findings.classes[number] for number in predictions.classes],
        "probability": predictions.confidence.astype(np.float32),
        "correct": _without_nan(predictions.correct, bool),
        "probabilities": list(predictions.probabilities.astype(np.float32)),
        "leak": _without_nan(findings.store.leak[findings.rows], float),
        "cluster": [int(number) or None for number in numbers],
        "suspicion": [
            suspicion.get((int(target), int(number)))
            for target, number in zip(predictions.classes, numbers, strict=True)
        ],
        "x": [points[row][0] if row in points else None for row in range(len(items))],
        "y": [points[row][1] if row in points else None for row in range(len(items))],
        "neighbours": [[items[other].name for other in others] for others in findings.neighbours],
        "outside_mask": _without_nan(findings.outside, float),
        "relevance": findings.rows,
    }
    return pa.table(columns, pa.schema([SCHEMA.field(name) for name in columns]))


def _without_nan(values: Sequence[float] | np.ndarray, kind: type) -> list[float | bool | None]:
    return [None if np.isnan(value) else kind(value) for value in values]
