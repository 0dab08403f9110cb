"""Parameter randomisation: whether a map depends on what the network has learned (Adebayo et al. 2018).

The weights of the layers are replaced by random ones, one layer after another from the output down, and the maps
are compared with the original one by Spearman's rank correlation. A map that stays the same shows the picture
rather than the network.

Rules with non-negative weights, such as z⁺, hardly react: they multiply many non-negative matrices, whose product
converges to one of rank one, whatever the upper layers hold (Sixt et al. 2020). A high similarity under z⁺, and
under the composites that use it in convolutions, is a property of the rule.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


def similarity(relevance: Floats, other: Floats) -> float | None:
    """Return Spearman's rank correlation of two maps, with their signs; channels are summed.

    (C, H, W) each. 1: the same order of pixels, 0: unrelated, −1: the opposite. ``None`` if one map is constant.
    """
    return rank_correlation(*(one.sum(0, dtype=np.float64).ravel() for one in (relevance, other)))


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Return Spearman's rank correlation of two series (n,); ``None`` if one of them is constant."""
    x, y = (rank - rank.mean() for rank in map(ranks, (a, b)))
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norm if norm else None


def ranks(values: Floats) -> npt.NDArray[np.float64]:
    """Return the rank of each value from 0, (n,); equal values have the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1  # rank of the last of each group of equal values
    mean: npt.NDArray[np.float64] = (last - (counts - 1) / 2)[which]
    return mean
