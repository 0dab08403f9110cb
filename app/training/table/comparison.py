"""Methods of scikit-learn on the same rows, to set the network beside."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.errors import DataError
from app.models.records import Measured, MeasuredValues
from app.training.table.data import Dataset
from app.training.table.metrics import measured

TREES = {"max_iter": 500, "learning_rate": 0.05, "max_leaf_nodes": 15, "random_state": 0}
SMALLEST = np.finfo(np.float32).tiny
"""Probability in place of 0, of which there is no logarithm."""


def check_scikit_learn() -> None:
    """Raise `DataError` if scikit-learn is not installed."""
    if find_spec("sklearn") is None:
        raise DataError("the comparison with other methods needs scikit-learn: pip install scikit-learn")


def others(data: Dataset) -> Mapping[str, Measured | MeasuredValues]:
    """Return what linear models and gradient-boosted trees reach on the test rows, by the method's name."""
    return {
        name: measured(_outputs(method, data), data.test.targets, data.classes)
        for name, method in _methods(is_value=data.classes is None).items()
    }


def _methods(*, is_value: bool) -> dict[str, Any]:
    # scikit-learn takes a second to import, which only a training pays.
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression

    if is_value:
        return {
            "linear regression": LinearRegression(),
            "gradient-boosted trees": HistGradientBoostingRegressor(**TREES),
        }
    return {
        "logistic regression": LogisticRegression(max_iter=1000),
        "gradient-boosted trees": HistGradientBoostingClassifier(**TREES),
    }


def _outputs(method: Any, data: Dataset) -> Tensor:
    """Return values (rows, 1) or log-probabilities (rows, classes) of the test rows."""
    method.fit(data.train.columns, data.train.targets)
    if data.classes is None:
        return torch.from_numpy(np.asarray(method.predict(data.test.columns), np.float64))[:, None]
    found = np.full((len(data.test.columns), len(data.classes)), SMALLEST, np.float64)
    found[:, method.classes_.astype(np.intp)] = method.predict_proba(data.test.columns)
    return torch.from_numpy(np.log(found.clip(min=SMALLEST)))
