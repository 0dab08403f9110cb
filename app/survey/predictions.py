"""Predictions of a survey against labels: confusion, the most confident mistakes, and calibration."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.survey.arrays import Rows, without_nan
from app.survey.counted import counted

Floats = npt.NDArray[np.float64]

BINS = 15
"""Of the calibration curve, of equal width, as in the calibration error of cards (Guo et al. 2017)."""


@dataclass(frozen=True)
class Bin:
    """Inputs whose confidence lies in one interval."""

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the network predicts for n inputs, and what is true."""

    logits: Floats
    """(n, classes)"""
    labels: npt.NDArray[np.int32]
    """Number of the true class; one that the network does not know is beyond its classes, (n,)."""

    @cached_property
    def probabilities(self) -> Floats:
        """Softmax of the logits, (n, classes)."""
        exponentials = np.exp(self.logits - self.logits.max(1, keepdims=True))
        found: Floats = exponentials / exponentials.sum(1, keepdims=True)
        return found

    @cached_property
    def classes(self) -> Rows:
        """The predicted class of each input, (n,)."""
        return np.asarray(self.logits.argmax(1))

    @cached_property
    def starts(self) -> Floats:
        """Magnitude of the predicted class's logit; see `app.survey.outcome.Outcome`."""
        largest: Floats = self.logits.max(1)
        return np.abs(largest)

    @cached_property
    def confidence(self) -> Floats:
        """The predicted class's probability, (n,)."""
        return np.asarray(self.probabilities.max(1))

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """Whether the network knows the label, (n,)."""
        return np.asarray(self.labels < self.logits.shape[1])

    @cached_property
    def correct(self) -> npt.NDArray[np.float32]:
        """1: the label is predicted, 0: another class is, NaN: the label is unknown, (n,)."""
        return np.where(self.known, self.classes == self.labels, np.nan).astype(np.float32)

    @property
    def accuracy(self) -> float | None:
        """Of inputs with known labels; ``None`` without any."""
        return float(self.correct[self.known].mean()) if self.known.any() else None

    def confusion(self) -> npt.NDArray[np.int64]:
        """Return how many inputs of each label, in rows, are predicted as each class, in columns."""
        count = self.logits.shape[1]
        pairs = self.labels[self.known].astype(np.intp) * count + self.classes[self.known]
        return np.bincount(pairs, minlength=count**2).reshape(count, count)

    def mistakes(self) -> Rows:
        """Return the inputs whose label is not predicted, the most confident first."""
        rows = np.flatnonzero(self.correct == 0)
        return rows[np.argsort(-self.confidence[rows], kind="stable")]

    def calibration(self) -> list[Bin]:
        """Return accuracy by confidence, for bins that are not empty."""
        correct, confidence = self.correct[self.known], self.confidence[self.known]
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        return [
            Bin(int(inside.sum()), float(confidence[inside].mean()), float(correct[inside].mean()))
            for inside in (bins == number for number in range(BINS))
            if inside.any()
        ]

    def calibration_error(self) -> float | None:
        """Return the mean difference of confidence and accuracy over inputs, by bins; ``None`` without labels."""
        bins = self.calibration()
        total = sum(one.count for one in bins)
        return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / total if total else None

    def columns(self, classes: Sequence[str]) -> dict[str, pa.Array]:
        """See `app.survey.outcome.Outcome`."""
        return {
            "prediction": pa.array([classes[number] for number in self.classes], pa.string()),
            "probability": pa.array(self.confidence, pa.float32()),
            "correct": pa.array(without_nan(self.correct, bool), pa.bool_()),
            "probabilities": pa.array(list(self.probabilities), pa.list_(pa.float32())),
        }

    def summary(self) -> dict[str, Any]:
        """See `app.survey.outcome.Outcome`."""
        return {
            "accuracy": self.accuracy,
            "calibration_error": self.calibration_error(),
            "confusion": self.confusion().tolist(),
        }

    def line(self) -> str:
        """See `app.survey.outcome.Outcome`."""
        accuracy = self.accuracy
        return "labels unknown" if accuracy is None else f"{accuracy:.2%} of {int(self.known.sum())} right"

    def notes(self, labels: Sequence[str | None], classes: Sequence[str]) -> list[str]:
        """See `app.survey.outcome.Outcome`: unknown labels, and classes with few items or none."""
        return [*_notes_of_labels(labels, classes), *self._notes_of_classes(labels, classes)]

    def _notes_of_classes(self, labels: Sequence[str | None], classes: Sequence[str]) -> list[str]:
        counts = Counter(labels)
        empty = [name for name in classes if not counts[name]]
        single = [name for name in classes if counts[name] == 1]
        never = [name for number, name in enumerate(classes) if not (self.classes == number).any()]
        notes = []
        if empty and len(empty) < len(classes):
            notes.append(f"No item has {_some(empty, 'label')}.")
        if single:
            notes.append(f"Only one item has {_some(single, 'label')}: its accuracy says little.")
        if never:
            notes.append(f"The model never predicts {_some(never, 'class')}: there are no maps of it.")
        return notes


def _notes_of_labels(labels: Sequence[str | None], classes: Sequence[str]) -> list[str]:
    counts = Counter(labels)
    unknown = sorted(one for one in counts if one is not None and one not in classes)
    notes = []
    if unknown:
        count = sum(counts[one] for one in unknown)
        notes.append(
            f"The model does not know {_some(unknown, 'label')}; counted neither as right nor as wrong: "
            f"{counted(count, 'item')} with {'it' if len(unknown) == 1 else 'them'}."
        )
    if count := counts[None]:
        notes.append(f"Counted neither as right nor as wrong: {counted(count, 'item')} without a label.")
    return notes


def _some(names: Sequence[str], noun: str, most: int = 10) -> str:
    plural = {"class": "classes"}.get(noun, f"{noun}s")
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"the {noun if len(names) == 1 else plural} {', '.join(names[:most])}{more}"
