"""Errors of predictions."""

import torch
from torch import Tensor

from app.models.records import Measured, MeasuredValues
from app.quality.value_errors import value_errors
from app.training.evaluation import compute_metrics
from app.training.table.data import Numbers


def measured(outputs: Tensor, targets: Numbers, classes: tuple[str, ...] | None) -> Measured | MeasuredValues:
    """Return the errors of ``outputs``, values (rows, 1) or logits (rows, classes), for targets (rows,)."""
    if classes is None:
        return _of_values(outputs[:, 0].double().numpy(), targets)
    return compute_metrics(outputs, torch.from_numpy(targets).long(), classes)


def _of_values(predicted: Numbers, targets: Numbers) -> MeasuredValues:
    errors = value_errors(predicted, targets)
    return MeasuredValues(
        count=len(targets),
        mean_absolute_error=_rounded(errors.mean_absolute),
        root_mean_squared_error=_rounded(errors.root_mean_squared),
        r2=_rounded(errors.r2 or 0.0),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
