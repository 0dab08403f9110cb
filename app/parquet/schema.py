"""The columns of explanations in Parquet: a row for each picture."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # as it was given
        ("error", pa.string()),  # why the picture has no explanation; then all columns below are null
        ("model", pa.string()),  # name@version
        ("prediction", pa.string()),
        ("prediction_index", pa.int32()),
        ("probability", pa.float64()),  # null for a network that predicts a value
        ("logit", pa.float64()),  # of the prediction, or the value
        ("target", pa.string()),  # the class that is explained
        ("target_index", pa.int32()),
        ("target_logit", pa.float64()),
        ("versus", pa.string()),
        ("rule", pa.string()),
        ("layer", pa.string()),
        ("start", pa.float64()),  # relevance put in at the output
        ("sum", pa.float64()),  # of the map
        ("leak", pa.float64()),
        ("bias", pa.float64()),
        ("precision", pa.string()),  # of the products of the relevance pass
        ("difference", pa.float64()),  # to the reference, with --verify
        ("warnings", pa.list_(pa.string())),
        ("png", pa.binary()),  # the drawing
        ("relevance", pa.list_(pa.float16())),  # the map, divided by `scale`
        ("scale", pa.float64()),
        ("shape", pa.list_(pa.int32())),  # of the map: channels, height, width
    ]
)
"""Meaning of the columns as in the answers of ``/explain``, where they have the same names."""

REQUEST = b"lrpserve"
"""Key of the metadata of a file: JSON of the model and the options that its rows were computed with."""

Row = Mapping[str, Any]
"""One row, by the names of columns; missing ones are null."""


def relevance_columns(relevance: npt.NDArray[Any]) -> dict[str, Any]:
    """Return the columns of a map, of any shape.

    Its largest magnitude becomes 1, because most values of a large picture are too small for 16 bits. The error
    of a value is then at most 2⁻¹¹ of itself, or 3·10⁻⁸ of the largest one.
    """
    scale = float(np.abs(relevance).max(initial=0.0)) or 1.0
    scaled = (relevance.astype(np.float64) / scale).astype(np.float16)
    return {"relevance": scaled.ravel(), "scale": scale, "shape": list(relevance.shape)}


def relevance_of(row: Row) -> npt.NDArray[np.float32]:
    """Return the map of a row as it was computed, up to the error that `relevance_columns` states."""
    scaled: npt.NDArray[np.float64] = np.asarray(row["relevance"], np.float64)
    values: npt.NDArray[np.float32] = (scaled * float(row["scale"])).astype(np.float32)
    return values.reshape(tuple(row["shape"]))
