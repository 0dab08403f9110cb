"""Arrays of a survey, and the parts of its rows that are in memory at the same time."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from app.survey.store import Store

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
"""Numbers of inputs."""

CHUNK_BYTES = 2**26
"""Of maps that are read from disk at once."""


def chunks(store: Store, count: int) -> Iterator[slice]:
    """Yield parts of ``count`` inputs whose maps may be in memory together."""
    size = max(1, CHUNK_BYTES // (4 * int(np.prod(store.data.shape[1:]))))
    for first in range(0, count, size):
        yield slice(first, first + size)


def unit(vectors: Floats) -> Floats:
    """Return vectors (n, …) as (n, d) with a Euclidean norm of one; those of zeros stay."""
    flat = vectors.reshape(len(vectors), -1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    scaled: Floats = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    return scaled


def without_nan(values: npt.NDArray[np.floating], kind: type) -> list[float | bool | None]:
    """Return plain values, ``None`` in place of NaN."""
    return [None if np.isnan(value) else kind(value) for value in values]
