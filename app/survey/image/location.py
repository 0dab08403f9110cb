"""Where relevance lies: in the picture, outside masks, by colour channel and by spatial frequency."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.survey.arrays import Floats, Rows

BANDS = ((0, 1 / 16), (1 / 16, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1))
"""Ends of bands of spatial frequency, in cycles per pixel; the third ends at details of four pixels."""
EQUAL = 1e-3
"""Largest difference of the channels' shares that is rounding, where a rule divides relevance equally."""


@dataclass(frozen=True, eq=False)
class Location:
    """Shares of the magnitude of relevance of n inputs, NaN for maps of zeros."""

    channels: Floats
    """(n, channels)"""
    bands: Floats
    """Share of the energy of the map without its mean, in each of `BANDS`, (n, bands)."""

    @cached_property
    def has_equal_channels(self) -> bool:
        """Whether the rule gives all channels the same, as the flat rule at the first layer does."""
        shares = self.channels[~np.isnan(self.channels).any(1)]
        return bool(len(shares)) and float(np.ptp(shares, axis=1).max()) < EQUAL


@dataclass(frozen=True, eq=False)
class Mean:
    """Where relevance lies on average for inputs of one predicted class."""

    target: int
    count: int
    cells: Floats
    """Mean pooled map, each input's divided by its magnitude, (rows, columns)."""
    channels: list[float]
    bands: list[float]
    outside: float | None
    """Mean share outside masks; ``None`` without masks."""


def location_of(maps: npt.NDArray[np.float32]) -> Location:
    """Return where the relevance of ``maps`` (n, C, H, W) lies."""
    sizes = np.abs(maps).sum((2, 3))  # (n, C)
    return Location(_divided(sizes), _divided(_energies(maps.sum(1))))


def joined(parts: Sequence[Location]) -> Location:
    """Return the locations of all inputs of ``parts``."""
    return Location(
        np.concatenate([one.channels for one in parts]), np.concatenate([one.bands for one in parts])
    )


def share_outside(relevance: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> float:
    """Return the share of the magnitude of relevance, (C, H, W), outside ``mask`` (H, W); NaN for zeros."""
    sizes = np.abs(relevance).sum(0)
    total = float(sizes.sum())
    return float(sizes[~mask].sum()) / total if total else float("nan")


def mean_of(target: int, rows: Rows, maps: Floats, location: Location, outside: Floats) -> Mean:
    """Return the means over ``rows``; ``maps`` are pooled, ``outside`` (n,) is NaN without a mask."""
    sizes = np.abs(maps[rows]).sum((1, 2), keepdims=True)
    scaled = np.divide(maps[rows], sizes, out=np.zeros_like(maps[rows]), where=sizes > 0)
    known = outside[rows][~np.isnan(outside[rows])]
    return Mean(
        target,
        len(rows),
        scaled.mean(0),
        _mean(location.channels[rows]),
        _mean(location.bands[rows]),
        float(known.mean()) if len(known) else None,
    )


def _energies(summed: npt.NDArray[np.float32]) -> Floats:
    """Return the energy of maps (n, H, W) in each band of frequency but their mean, (n, bands)."""
    height, width = summed.shape[1:]
    spectrum = np.abs(np.fft.fft2(summed)) ** 2  # (n, H, W)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))  # (H, W)
    inside = [(low <= frequency) & (frequency < high) & (frequency > 0) for low, high in BANDS]
    return np.stack([spectrum[:, one].sum(1) for one in inside], 1).astype(np.float32)


def _divided(sizes: npt.NDArray[np.floating]) -> Floats:
    total = sizes.sum(1, keepdims=True)
    divided: Floats = np.divide(sizes, total, out=np.full_like(sizes, np.nan), where=total > 0)
    return divided.astype(np.float32)


def _mean(values: Floats) -> list[float]:
    known = values[~np.isnan(values).any(1)]
    return [float(one) for one in known.mean(0)] if len(known) else []
