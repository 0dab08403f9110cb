"""Inputs whose maps are nearest to each other."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from app.survey.arrays import Floats, Rows

COUNT = 6
"""Neighbours of each input."""


def nearest(vectors: Floats, count: int = COUNT) -> Rows:
    """Return the nearest others of each of ``vectors`` (n, d), nearest first: (n, ≤ count)."""
    count = min(count, len(vectors) - 1)
    if count == 0:
        return np.empty((len(vectors), 0), np.intp)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(vectors)
    return np.asarray(search.kneighbors(return_distance=False), np.intp)  # without the vectors themselves
