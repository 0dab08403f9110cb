"""Sparseness: whether few pixels carry most of the relevance (Chalasani et al. 2020)."""

from typing import Any

import numpy as np
import numpy.typing as npt


def gini(relevance: npt.NDArray[np.floating[Any]]) -> float:
    """Return the Gini index of the magnitudes of a map, channels summed: (C, H, W) -> 0…1.

    0: all pixels carry the same, also where that is nothing; near 1: a single pixel carries all.
    """
    sizes = np.sort(np.abs(relevance.sum(0, dtype=np.float64)).ravel())  # (H·W,)
    total, n = sizes.sum(), len(sizes)
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ sizes / (n * total))
