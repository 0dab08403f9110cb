"""Predictions of a value against true ones: residuals, and how large they are on average."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.quality.value_errors import ValueErrors, value_errors
from app.survey.arrays import Rows, without_nan
from app.survey.counted import counted

Floats = npt.NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)
"""Of a true value: squares of larger ones are no numbers of float64."""


@dataclass(frozen=True, eq=False)
class Values:
    """What the network predicts for n inputs, and what is true."""

    values: Floats
    """(n,)"""
    targets: Floats
    """(n,); NaN: unknown."""

    @property
    def classes(self) -> Rows:
        """Which output is explained: there is one only, (n,)."""
        return np.zeros(len(self.values), np.intp)

    @property
    def starts(self) -> Floats:
        """Ones: maps of values have the value put in; see `app.survey.outcome.Outcome`."""
        return np.ones(len(self.values))

    @cached_property
    def residuals(self) -> Floats:
        """Value less target, (n,)."""
        return self.values - self.targets

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether there is a target, (n,)."""
        return ~np.isnan(self.targets)

    def mistakes(self) -> Rows:
        """Return the inputs with a target, the largest residual first."""
        rows = np.flatnonzero(self.known)
        return rows[np.argsort(-np.abs(self.residuals[rows]), kind="stable")]

    @cached_property
    def _errors(self) -> ValueErrors | None:
        known = self.known
        return value_errors(self.values[known], self.targets[known]) if known.any() else None

    @property
    def mean_absolute_error(self) -> float | None:
        """Of inputs with a target; ``None`` without any."""
        return None if self._errors is None else self._errors.mean_absolute

    @property
    def root_mean_squared_error(self) -> float | None:
        """Of inputs with a target; ``None`` without any."""
        return None if self._errors is None else self._errors.root_mean_squared

    @property
    def r2(self) -> float | None:
        """Share of the variance of the targets that is predicted; ``None`` where they have none."""
        return None if self._errors is None else self._errors.r2

    def columns(self, classes: Sequence[str]) -> dict[str, pa.Array]:  # noqa: ARG002 # a protocol's
        """See `app.survey.outcome.Outcome`."""
        return {
            "value": pa.array(self.values, pa.float64()),
            "residual": pa.array(without_nan(self.residuals, float), pa.float64()),
        }

    def summary(self) -> dict[str, Any]:
        """See `app.survey.outcome.Outcome`."""
        return {
            "accuracy": None,
            "mean_absolute_error": self.mean_absolute_error,
            "root_mean_squared_error": self.root_mean_squared_error,
            "r2": self.r2,
        }

    def line(self) -> str:
        """See `app.survey.outcome.Outcome`."""
        error = self.mean_absolute_error
        if error is None:
            return "true values unknown"
        r2 = "" if self.r2 is None else f", R² {self.r2:.3f}"
        return f"mean absolute error {error:.4g} of {int(self.known.sum())}{r2}"

    def notes(self, labels: Sequence[str | None], classes: Sequence[str]) -> list[str]:  # noqa: ARG002 # a protocol's
        """See `app.survey.outcome.Outcome`: labels that are missing, and those that are no numbers."""
        missing = sum(not one for one in labels)
        other = len(labels) - missing - int(self.known.sum())
        notes = [f"Errors leave out {counted(missing, 'item')} without a true value."] * bool(missing)
        return [
            *notes,
            *[f"Errors leave out {counted(other, 'item')} whose label is no number."] * bool(other),
        ]


def targets_of(labels: Sequence[str | None]) -> Floats:
    """Return the numbers that ``labels`` are, NaN where one is none, or none that float32 has, (n,)."""
    return np.array([_number(label) for label in labels], np.float64)


def _number(label: str | None) -> float:
    try:
        value = float(label or "nan")
    except ValueError:
        return math.nan
    return value if abs(value) <= LARGEST else math.nan
