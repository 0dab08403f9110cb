"""Samples: explanations of one input under dropout or noise, their random numbers and their statistics.

Dropout that stays on at inference samples from an approximate posterior of the weights (Gal and Ghahramani 2016),
and so do the maps that explain it (Bykov et al. 2020). Noise on the input shows how much a map depends on details
of the input (Smilkov et al. 2017).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

MIN_SAMPLES, MAX_SAMPLES = 2, 64
DEFAULT_NOISE = 0.1
MAX_SEED = 2**32 - 1
AGREEING_PERCENT = 95
"""Percent of the samples that must share a sign for `SampleStatistics.sign_agreement`."""


class Sampling(StrEnum):
    """What differs between samples."""

    DROPOUT = "dropout"
    NOISE = "noise"


class Statistic(StrEnum):
    """Statistic of the samples' maps, value by value."""

    MEAN = "mean"
    STD = "std"
    P5 = "p5"
    P95 = "p95"


@dataclass(frozen=True)
class Samples:
    """A request for samples instead of one map.

    Random numbers depend on ``seed`` and on the number of the sample alone: the first samples of two requests
    with the same seed are the same, whatever their ``count``.
    """

    count: int
    sampling: Sampling = Sampling.DROPOUT
    noise: float = DEFAULT_NOISE
    """Standard deviation of the noise as a share of the input's range; not used by dropout."""
    seed: int = 0
    statistic: Statistic = Statistic.MEAN
    """The map that is returned."""

    def masks(
        self, numbers: Sequence[int], layers: Sequence[tuple[Sequence[int], float]]
    ) -> list[npt.NDArray[np.bool_]]:
        """Return the masks of dropout layers, true where a unit is kept: one array (numbers, …) for each layer.

        ``numbers`` are those of the samples. ``layers`` are the shape of the mask of one sample, and the
        probability of dropping a unit, for each layer in their order.
        """
        generators = [self._generator(number) for number in numbers]
        return [
            np.stack([generator.random(shape, np.float32) >= np.float32(rate) for generator in generators])
            for shape, rate in layers
        ]

    def deviations(self, numbers: Sequence[int], shape: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return standard normal random numbers (numbers, …) for inputs of ``shape``."""
        return np.stack([self._generator(number).standard_normal(shape, np.float32) for number in numbers])

    def _generator(self, number: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, number))


@dataclass(frozen=True)
class SampleStatistics:
    """How much the maps of an explanation's samples differ. Both are ``None`` for maps of zeros."""

    spread: float | None
    """Mean standard deviation, divided by the mean magnitude of the mean map."""
    sign_agreement: float | None
    """Share of the mean map's magnitude that lies where `AGREEING_PERCENT` of the samples have the same sign."""

    @property
    def known(self) -> tuple[float, ...]:
        """Those that are not ``None``."""
        return tuple(one for one in (self.spread, self.sign_agreement) if one is not None)


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Return ``items`` in parts of at most ``size``."""
    return (items[first : first + size] for first in range(0, len(items), size))
