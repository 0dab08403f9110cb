"""The feature on which the relevance of another one depends most, besides its own value.

As `shap.approximate_interactions` does (Lundberg and Lee 2017): rows are sorted by the value of the feature and
cut into groups of similar ones; within each, relevance that differs cannot come from the feature's own value. The
feature whose values correlate most with it, over all groups, is the one that a dependence plot is coloured by.
"""

import numpy as np

from app.survey.table.features import Features, Floats

MOST_IN_GROUP = 50


def interaction(found: Features, feature: int) -> int | None:
    """Return the other feature with the largest `strengths`; ``None`` if there is none."""
    strength = strengths(found, feature)
    strength[feature] = 0
    best = int(strength.argmax())
    return best if strength[best] > 0 else None


def strengths(found: Features, feature: int) -> Floats:
    """Return the sum over groups of the magnitude of the correlation of each feature with the relevance, (f,)."""
    order = np.argsort(found.values[:, feature], kind="stable")
    size = max(2, min(MOST_IN_GROUP, len(order) // 10))
    total = np.zeros(len(found.features))
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        total += np.abs(_correlations(found.values[rows], found.relevance[rows, feature]))
    return total


def _correlations(values: Floats, relevance: Floats) -> Floats:
    """Return Pearson's correlation of each column of ``values`` (n, f) with ``relevance`` (n,); 0: undefined.

    Missing values are replaced by the mean of the others.
    """
    known = ~np.isnan(values)
    means = np.where(known, values, 0).sum(0) / np.maximum(1, known.sum(0))
    x, y = np.where(known, values - means, 0), relevance - relevance.mean()
    size = np.sqrt((x**2).sum(0) * (y**2).sum())
    found: Floats = np.divide(y @ x, size, out=np.zeros(values.shape[1]), where=size > 1e-12)
    return found
