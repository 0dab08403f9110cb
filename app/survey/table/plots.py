"""Points of beeswarm and dependence plots, as paths of SVG: one for each colour.

Points are lines of no length with round ends, which take a tenth of the characters that circles do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.modalities.table.spec import Category, Feature
from app.survey.numerals import number
from app.survey.table.features import Floats

LEVELS = 9
"""Colours from low to high values."""
NO_LEVEL = -1
"""Of values without an order: categories, and missing ones."""
LOW, HIGH = 5, 95
"""Percentiles of the values that have the end colours, as in SHAP's plots."""
BINS = 100
"""Of a beeswarm: points of one of them are spread over each other."""
Levels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Dots:
    """Points of one colour."""

    level: int
    path: str


@dataclass(frozen=True)
class Axis:
    """An axis from the smallest to the largest value, in units of the drawing."""

    low: float
    high: float
    length: float

    def place(self, values: Floats) -> Floats:
        """Return where values are."""
        places: Floats = (values - self.low) / ((self.high - self.low) or 1.0) * self.length
        return places

    @property
    def zero(self) -> float | None:
        """Where zero is, if it is on the axis."""
        return float(self.place(np.zeros(1))[0]) if self.low <= 0 <= self.high else None


def axis_of(values: Floats, length: float) -> Axis:
    """Return the axis that has all ``values``."""
    return Axis(float(values.min()), float(values.max()), length)


def levels_of(values: Floats, feature: Feature) -> Levels:
    """Return the colour of each value of a feature: `LEVELS` from its low to its high values, or `NO_LEVEL`."""
    if isinstance(feature, Category) or np.isnan(values).all():
        return np.full(len(values), NO_LEVEL, np.int8)
    low, high = np.nanpercentile(values, [LOW, HIGH])
    if low == high:
        low, high = np.nanmin(values), np.nanmax(values)
    scaled = np.clip((values - low) / ((high - low) or 1.0), 0, 1) * (LEVELS - 1)
    return np.where(np.isnan(scaled), NO_LEVEL, np.nan_to_num(scaled).round()).astype(np.int8)


def dots(x: Floats, y: Floats, levels: Levels) -> list[Dots]:
    """Return the points (x, y), (n,), as a path for each colour, those without one first."""
    return [
        Dots(
            int(level),
            "".join(
                f"M{_short(right)} {_short(down)}h0"
                for right, down in zip(x[levels == level], y[levels == level], strict=True)
            ),
        )
        for level in np.unique(levels)
    ]


def spread(values: Floats, axis: Axis, height: float) -> Floats:
    """Return how far each point of a beeswarm lies from its line, (n,), at most half of ``height``.

    Points whose values fall into one bin alternate above and below the line, as in SHAP's plots.
    """
    bins = np.floor(axis.place(values) / axis.length * BINS).astype(int)
    order = np.argsort(bins, kind="stable")
    starts = np.searchsorted(bins[order], bins[order])
    places = np.empty(len(values), int)
    places[order] = np.arange(len(values)) - starts  # within its bin
    steps = (places + 1) // 2 * np.where(places % 2, 1, -1)
    most = max(1, np.abs(steps).max(initial=0))
    return np.asarray(steps * min(3.0, height / 2 / most))


def ends(values: Floats, feature: Feature) -> Sequence[str]:
    """Return what is written at the ends of an axis of a feature's values."""
    if isinstance(feature, Category):
        return ()
    unit = f" {feature.unit}" if feature.unit else ""
    return number(float(np.nanmin(values))), f"{number(float(np.nanmax(values)))}{unit}"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
