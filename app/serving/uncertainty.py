"""Uncertainty of a prediction from the logits of samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PredictiveUncertainty:
    """Predictive entropy and mutual information (Gal and Ghahramani 2016), in nats, and votes."""

    entropy: float
    """Entropy of the mean probabilities."""
    mutual_information: float
    """Predictive entropy minus the mean entropy of the samples."""
    votes: tuple[tuple[int, int], ...]
    """Index of each predicted class and how many samples predict it, the most frequent first."""


def uncertainty_of(logits: npt.NDArray[Any]) -> PredictiveUncertainty:
    """Return the uncertainty in the logits of samples, (samples, classes)."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)  # (samples, classes)
    total = _entropy(probabilities.mean(0))
    within = float(_entropies(probabilities).mean())
    counts = np.bincount(logits.argmax(1), minlength=logits.shape[1])  # (classes,)
    order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    return PredictiveUncertainty(
        total, max(0.0, total - within), tuple((index, int(counts[index])) for index in order)
    )


def _entropy(probabilities: npt.NDArray[np.float64]) -> float:
    return max(0.0, float(_entropies(probabilities)))


def _entropies(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(…, classes) -> (…)"""
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    entropies: npt.NDArray[np.float64] = -(probabilities * logarithms).sum(-1)
    return entropies
