"""Max-sensitivity: how much a map changes where the input hardly does (Yeh et al. 2019, definition 3).

    max ‖R(x′) − R(x)‖ / ‖R(x)‖  over  |x′ − x| ≤ radius

The maximum is taken over random inputs x′ for which the network predicts the same class: where the class changes,
so should the map. It is a lower bound of the maximum over all x′; `docs/deception.md` searches for worse ones.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

RADIUS = 0.02
"""Largest change of an element, as a share of the range of the input: five of 255 levels of a pixel."""
COUNT = 10
"""Random inputs of one evaluation."""


def inputs_nearby(x: Floats, low: Floats, high: Floats, radius: float, count: int, seed: int) -> Floats:
    """Return random inputs near ``x``: (…) -> (count, …).

    Each element differs by at most ``radius`` of its range, uniformly distributed, and stays within it. ``low``
    and ``high``, the ends of the range, are broadcastable to ``x``.
    """
    noise = np.random.default_rng(seed).uniform(-radius, radius, (count, *x.shape))  # (count, …)
    return np.clip(x + noise * (high - low), low, high).astype(x.dtype)


def relative_change(relevance: Floats, other: Floats) -> float | None:
    """Return ‖other − relevance‖ / ‖relevance‖ in the Euclidean norm; ``None`` for a map of zeros."""
    before, after = (one.astype(np.float64).ravel() for one in (relevance, other))
    norm = float(np.linalg.norm(before))
    return float(np.linalg.norm(after - before)) / norm if norm else None


def max_sensitivity(relevance: Floats, others: Iterable[Floats]) -> float | None:
    """Return the largest relative change of a map; ``others`` are those of inputs nearby that keep the class.

    ``None`` if there are none, or if ``relevance`` is zero everywhere.
    """
    changes = [relative_change(relevance, other) for other in others]
    return max((change for change in changes if change is not None), default=None)
