"""Real linear networks of three numbers and a category with two values: three classes or labels, or one value."""

import numpy as np
import torch
from torch import nn
from tracing import traced

from app.models.card import Output
from app.models.local import LocalModel
from app.models.table_card import TableCard

MEANS, STDS = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 2.0])
SHARES = np.array([0.25, 0.75])
CATEGORIES = ("coarse", "fine")
CLASSES = ("first", "second", "third")
WEIGHTS = np.array(
    [[1.0, -0.5, 0.25, 0.5, -0.5], [-1.0, 0.75, 0.5, 0.0, 1.0], [0.5, 0.25, -1.0, -0.25, 0.5]],
)
"""Of each class for each column, (3, 5)."""
BIASES = np.array([0.5, 0.25, -0.25])
ROW: dict[str, float | str] = {"a": 2.0, "b": 1.0, "c": 5.0, "kind": "coarse"}


def columns_of(row: dict[str, float | str]) -> np.ndarray:
    """Return what the network takes of a row, (5,)."""
    numbers = (np.array([float(row[name]) for name in "abc"]) - MEANS) / STDS
    return np.concatenate([numbers, [row["kind"] == one for one in CATEGORIES]])


def table_model(output: Output = "classes", name: str = "rows") -> LocalModel:
    """Return the network; with the output ``value``, that of the first class."""
    classes = CLASSES if output != "value" else ("strength",)
    network = nn.Linear(WEIGHTS.shape[1], len(classes))
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(WEIGHTS[: len(classes)]))
        network.bias.copy_(torch.from_numpy(BIASES[: len(classes)]))
    features = [
        *(
            {"name": name, "mean": mean, "std": std, "min": mean - 2 * std, "max": mean + 2 * std}
            for name, mean, std in zip("abc", MEANS, STDS, strict=True)
        ),
        {"name": "kind", "categories": CATEGORIES, "shares": tuple(SHARES)},
    ]
    card = TableCard.model_validate(
        {
            "kind": "table",
            "name": name,
            "architecture": "linear",
            "output": output,
            "classes": classes,
            "unit": "MPa" if output == "value" else None,
            "table": {"features": features},
            "files": {f"{name}.safetensors": "0" * 64},
        }
    )
    return LocalModel(traced(network.eval(), WEIGHTS.shape[1]), card, torch.device("cpu"))
