"""``items.parquet``: one row for each item of a survey."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.survey.arrays import without_nan
from app.survey.findings import Findings


def write_rows(findings: Findings, of_kind: Mapping[str, pa.Array], path: Path) -> None:
    """Write the items that were explained, then those that were not, with their errors.

    ``of_kind`` are columns of the kind of input; ``relevance`` is the row in ``relevance.h5``.
    """
    items = findings.items
    explained = pa.table(
        {
            "path": pa.array([one.name for one in items], pa.string()),
            "label": pa.array([one.label for one in items], pa.string()),
            **findings.predictions.columns(findings.classes),
            "leak": pa.array(without_nan(findings.store.leak[findings.rows], float), pa.float32()),
            **of_kind,
            "relevance": pa.array(findings.rows, pa.int64()),
            "error": pa.nulls(len(items), pa.string()),
        }
    )
    failed = pa.table(
        {
            "path": pa.array([one.name for one in findings.failures], pa.string()),
            "error": pa.array([one.reason for one in findings.failures], pa.string()),
        }
    )
    with path.open("wb") as file:  # PyArrow takes no path whose bytes are no text
        pq.write_table(pa.concat_tables([explained, failed], promote_options="default"), file)
