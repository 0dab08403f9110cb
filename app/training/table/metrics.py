"""Errors of predictions."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.models.records import Measured, MeasuredValues
from app.training.evaluation import compute_metrics
from app.training.table.data import Numbers


def measured(outputs: Tensor, targets: Numbers, classes: tuple[str, ...] | None) -> Measured | MeasuredValues:
    """Return the errors of ``outputs``, values (rows, 1) or logits (rows, classes), for targets (rows,)."""
    if classes is None:
        return _of_values(outputs[:, 0].double().numpy(), targets)
    return compute_metrics(outputs, torch.from_numpy(targets).long(), classes)


def _of_values(predicted: Numbers, targets: Numbers) -> MeasuredValues:
    squares = (predicted - targets) ** 2
    spread = float(targets.var())
    return MeasuredValues(
        count=len(targets),
        mean_absolute_error=_rounded(np.abs(predicted - targets).mean()),
        root_mean_squared_error=_rounded(np.sqrt(squares.mean())),
        r2=_rounded(1 - squares.mean() / spread) if spread else 0.0,
    )


def _rounded(value: Any) -> float:
    return float(f"{float(value):.5g}")
