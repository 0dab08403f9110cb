"""Confidence intervals of means over pictures, by the bootstrap (Efron 1979)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
RESAMPLES = 2000
CHUNK = 100
"""Resamples that are in memory at the same time."""


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def mean(values: Floats, seed: int = 0) -> Interval:
    """Return the mean of ``values`` (n,) with its interval."""
    return bootstrap(values, lambda resamples: resamples.mean(-1), seed)


def ratio_of_means(values: Floats, seed: int = 0) -> Interval:
    """Return the mean of the first column over that of the second, with its interval: (n, 2).

    Rows are resampled, so that both are of the same pictures.
    """
    return bootstrap(values, lambda resamples: resamples[..., 0].mean(-1) / resamples[..., 1].mean(-1), seed)


def bootstrap(values: Floats, statistic: Callable[[Floats], Floats], seed: int) -> Interval:
    """Return ``statistic`` of ``values`` (n, …) with its percentile interval.

    ``statistic`` maps resamples (r, n, …) to (r,). The ends are the 2.5th and 97.5th percentile of the statistic
    of `RESAMPLES` samples of n rows drawn with replacement.
    """
    generator = np.random.default_rng(seed)
    found = [
        statistic(values[generator.integers(len(values), size=(CHUNK, len(values)))])
        for _ in range(RESAMPLES // CHUNK)
    ]
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return Interval(float(statistic(values[None])[0]), float(low), float(high))
