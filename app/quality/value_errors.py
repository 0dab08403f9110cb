"""Errors of predicted values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ValueErrors:
    """How far predicted values are from true ones, on average."""

    mean_absolute: float
    root_mean_squared: float
    r2: float | None
    """Share of the variance of the true values that is predicted; ``None`` where they have none."""


def value_errors(predicted: Floats, targets: Floats) -> ValueErrors:
    """Return the errors of predictions (n,) for true values (n,), n at least 1."""
    errors = predicted - targets
    mean_square, variance = float((errors**2).mean()), float(targets.var())
    return ValueErrors(
        mean_absolute=float(np.abs(errors).mean()),
        root_mean_squared=mean_square**0.5,
        r2=1 - mean_square / variance if variance else None,
    )
