"""What a report says of errors, and of each prediction: for classes, and for values."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from app.survey.findings import Findings
from app.survey.kind import Section
from app.survey.numerals import number, percent
from app.survey.outcome import Outcome
from app.survey.predictions import Predictions
from app.survey.values import Values

MAX_MISTAKES = 40
MAX_IN_CELL = 24
"""Mistakes of one cell of the confusion matrix that can be opened."""
MAX_MATRIX = 25
"""Classes up to which the confusion is a matrix; of more, the most frequent pairs are listed."""
MAX_PAIRS = 60
MAX_POINTS = 2_000
"""Of the plot of values; of more inputs, so many are drawn at random."""


class ErrorsPage(Protocol):
    """What a report says of predictions of one form."""

    @property
    def figures(self) -> list[tuple[str, str]]:
        """Names and numbers at the head of the report."""

    @property
    def data(self) -> dict[str, Any]:
        """JSON for the script."""

    @property
    def items(self) -> list[int]:
        """Inputs that the section shows, the most important first."""

    def said(self, row: int) -> tuple[str, str]:
        """Return the prediction of an input, and how sure and right it is."""

    def section(self, mistakes_hint: str) -> Section:
        """Return the section; ``mistakes_hint`` says what is shown of each mistake."""


def errors_page(findings: Findings) -> ErrorsPage:
    """Return what is said of the predictions of ``findings``."""
    page: ErrorsPage = PAGES[type(findings.predictions)](findings, findings.predictions)
    return page


class ClassErrors:
    """Confusion, calibration and the most confident mistakes; an `ErrorsPage`."""

    def __init__(self, findings: Findings, predictions: Predictions) -> None:
        self._findings, self._predictions = findings, predictions
        self._worst = predictions.mistakes().tolist()
        self._cells = self._rows_of_cells()

    @property
    def figures(self) -> list[tuple[str, str]]:
        """See `ErrorsPage`."""
        predictions = self._predictions
        return [
            ("right", percent(predictions.accuracy, 2)),
            ("mistakes", "–" if predictions.accuracy is None else str(len(self._worst))),
            ("calibration error", percent(predictions.calibration_error(), 1)),
        ]

    @property
    def data(self) -> dict[str, Any]:
        """See `ErrorsPage`: the items of each cell of the confusion, by ``label,prediction``."""
        return {"classes": list(self._findings.classes), "cells": self._cells}

    @property
    def items(self) -> list[int]:
        """See `ErrorsPage`: mistakes, then those of the confusion."""
        return [*self._worst[:MAX_MISTAKES], *(row for rows in self._cells.values() for row in rows)]

    def said(self, row: int) -> tuple[str, str]:
        """See `ErrorsPage`."""
        predictions, label = self._predictions, self._findings.items[row].label
        prediction = self._findings.classes[predictions.classes[row]]
        right = "right" if label == prediction else "no label" if label is None else f"label {label}"
        return prediction, f"{percent(predictions.confidence[row], 1)}, {right}"

    def section(self, mistakes_hint: str) -> Section:
        """See `ErrorsPage`."""
        predictions, classes = self._predictions, self._findings.classes
        content = {
            "mistakes_hint": mistakes_hint,
            "classes": classes,
            "calibration_error": predictions.calibration_error(),
            "calibration": predictions.calibration(),
            "confusion": self._confusion(),
            "mistakes": [
                (
                    row,
                    f"{classes[predictions.labels[row]]} taken for {classes[predictions.classes[row]]}, "
                    f"{percent(predictions.confidence[row], 1)}",
                )
                for row in self._worst[:MAX_MISTAKES]
            ],
        }
        return Section("errors", "Errors", "errors.html", content)

    def _confusion(self) -> dict[str, Any]:
        """Return the matrix of the classes that occur, or the most frequent confusions where these are many."""
        matrix = self._predictions.confusion()
        used = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
        pairs = [
            {"label": int(label), "prediction": int(prediction), "count": int(matrix[label, prediction])}
            for label, prediction in np.argwhere(matrix)
            if label != prediction
        ]
        pairs.sort(key=lambda one: -one["count"])
        rows = [
            {
                "label": int(label),
                "cells": [
                    {
                        "prediction": int(prediction),
                        "count": int(matrix[label, prediction]),
                        "share": float(matrix[label, prediction] / max(1, matrix[label].sum())),
                    }
                    for prediction in used
                ],
            }
            for label in used
        ]
        is_matrix = 0 < len(used) <= MAX_MATRIX
        return {
            "used": used.tolist(),
            "rows": rows if is_matrix else [],
            "pairs": [] if is_matrix else pairs[:MAX_PAIRS],
            "is_empty": not len(used),
        }

    def _rows_of_cells(self) -> dict[str, list[int]]:
        """Return mistakes by cell, each by confidence."""
        predictions = self._predictions
        cells: dict[str, list[int]] = {}
        for row in self._worst:
            cells.setdefault(f"{predictions.labels[row]},{predictions.classes[row]}", []).append(row)
        return {name: rows[:MAX_IN_CELL] for name, rows in cells.items()}


class ValueErrors:
    """Predicted against true values, and the largest residuals; an `ErrorsPage`."""

    def __init__(self, findings: Findings, values: Values) -> None:
        self._findings, self._values = findings, values
        self._unit = findings.description.card.unit
        self._worst = values.mistakes().tolist()

    @property
    def figures(self) -> list[tuple[str, str]]:
        """See `ErrorsPage`."""
        values = self._values
        return [
            ("mean absolute error", self._in_unit(values.mean_absolute_error)),
            ("root mean squared error", self._in_unit(values.root_mean_squared_error)),
            ("R²", "–" if values.r2 is None else f"{values.r2:.3f}"),
        ]

    @property
    def data(self) -> dict[str, Any]:
        """See `ErrorsPage`."""
        return {"classes": list(self._findings.classes), "cells": {}}

    @property
    def items(self) -> list[int]:
        """See `ErrorsPage`: those with the largest residuals."""
        return list(self._worst[:MAX_MISTAKES])

    def said(self, row: int) -> tuple[str, str]:
        """See `ErrorsPage`."""
        values, predicted = self._values, self._in_unit(self._values.values[row])
        if not values.known[row]:
            return predicted, "true value unknown"
        return (
            predicted,
            f"instead of {number(values.targets[row])}, {number(values.residuals[row], signed=True)}",
        )

    def section(self, mistakes_hint: str) -> Section:
        """See `ErrorsPage`."""
        values, name = self._values, self._findings.classes[0]
        rows = np.random.default_rng(self._findings.setup.seed).permutation(np.flatnonzero(values.known))
        ends = np.concatenate([values.values[values.known], values.targets[values.known]])
        low, high = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 1.0)
        span = high - low or 1.0
        content = {
            "mistakes_hint": mistakes_hint,
            "name": name,
            "is_empty": not len(rows),
            "low": self._in_unit(low),
            "high": self._in_unit(high),
            "points": [
                ((values.targets[row] - low) / span, (values.values[row] - low) / span)
                for row in rows[:MAX_POINTS]
            ],
            "is_sample": len(rows) > MAX_POINTS,
            "mistakes": [(row, ", ".join(self.said(row))) for row in self._worst[:MAX_MISTAKES]],
        }
        return Section("errors", "Errors", "value_errors.html", content)

    def _in_unit(self, value: float | None) -> str:
        return "–" if value is None else f"{number(value)} {self._unit or ''}".rstrip()


PAGES: Mapping[type[Outcome], Any] = {Predictions: ClassErrors, Values: ValueErrors}
