"""Perturbation curves: the probability of a class while parts of the input are replaced, one after another.

Samek et al. 2017. An input is divided into groups of elements: patches of a picture here, but tokens of a text or
columns of a table are groups as well. Groups are *flipped*, replaced by values without information, in the order
of a map's relevance. Where the map is right, the probability falls early if the most relevant groups are flipped
first, and late if the least relevant are. The *gap* between the two curves is the map's score (symmetric
relevance gain, Blücher et al. 2024): unlike each curve alone, it hardly depends on how the network responds to
inputs unlike those of its training.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Groups = npt.NDArray[np.intp]
"""Index of the group of each element, from 0 up; broadcastable to the input. See `patch_groups`."""
Order = npt.NDArray[np.intp]
"""(groups,), indices of groups in the order in which they are flipped."""
Probability = Callable[[Floats], Floats]
"""Inputs (n, …) -> probability of the class that is explained, (n,)."""


class Replacement(StrEnum):
    """What a flipped group is replaced by."""

    MEAN = "mean"
    BLUR = "blur"


@dataclass(frozen=True, eq=False)
class Curves:
    """Probability of one class after each flip, in both orders of one map.

    The curves may end early, but not before `half`, if only the gap is needed.
    """

    most_relevant_first: Floats
    """(flips,)"""
    least_relevant_first: Floats
    """(flips,)"""
    groups: int
    """Number of groups of the input, which is the number of flips of a complete curve."""

    @property
    def gap(self) -> float:
        """Mean of least relevant first minus most relevant first over the first half of the flips.

        0 for a random order on average, and exactly 0 for a map whose groups are all equally relevant.
        """
        first = half(self.groups)
        return float(np.mean(self.least_relevant_first[:first] - self.most_relevant_first[:first]))


def half(groups: int) -> int:
    """Return the number of flips that the gap is measured over; at least one."""
    return max(1, groups // 2)


def patch_sides(height: int, width: int) -> list[int]:
    """Return the sides of square patches that an input can be divided into, from the smallest to the largest."""
    common = math.gcd(height, width)
    return [side for side in range(1, common + 1) if common % side == 0]


def default_patch(height: int, width: int) -> int:
    """Return an eighth of the shorter side or, where that divides no input, the next smaller side that does."""
    return max(side for side in patch_sides(height, width) if side <= max(1, min(height, width) // 8))


def patch_groups(height: int, width: int, side: int) -> Groups:
    """Return the patch of each pixel, (height, width): squares of ``side`` pixels, row by row.

    ``side`` must divide both.
    """
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return rows[:, None] * (width // side) + columns  # (height, 1) + (width,) -> (height, width)


def group_sums(relevance: npt.NDArray[Any], groups: Groups) -> Floats:
    """Return the relevance of each group, float64: (…) -> (groups,)."""
    index = np.broadcast_to(groups, relevance.shape)
    return np.bincount(index.ravel(), weights=relevance.ravel()).astype(np.float64)


def most_relevant_first(scores: Floats) -> Order:
    """Return the groups by falling score, (groups,); equal ones by their index, in both orders."""
    return np.argsort(-scores, kind="stable")


def least_relevant_first(scores: Floats) -> Order:
    """Return the groups by rising score, (groups,); equal ones by their index, in both orders."""
    return np.argsort(scores, kind="stable")


def random_scores(groups: int, seed: int) -> Floats:
    """Return uniformly random scores, (groups,): the control."""
    return np.random.default_rng(seed).random(groups)


def replacement_values(x: Floats, replacement: Replacement, side: int) -> Floats:
    """Return what flipped pixels of a normalised picture ``x`` (C, H, W) are replaced by, in its shape.

    The mean colour of the training pictures is 0 after normalisation. `Replacement.BLUR` is the picture itself,
    blurred by a Gaussian whose standard deviation is ``side``, that of a patch.
    """
    return np.zeros_like(x) if replacement is Replacement.MEAN else blurred(x, side)


def blurred(x: Floats, deviation: float) -> Floats:
    """Blur ``x`` (C, H, W) by a Gaussian; weights beyond the border are left out, and the others sum to 1."""
    vertical, horizontal = (_gaussian(length, deviation) for length in x.shape[1:])
    blur: Floats = vertical @ x @ horizontal.T  # (H, H) @ (C, H, W) @ (W, W) -> (C, H, W)
    return blur.astype(x.dtype)


def flipped(x: Floats, values: Floats, groups: Groups, order: Order, flips: Iterable[int]) -> Floats:
    """Return ``x`` (…) with the first groups of ``order`` replaced by ``values``: (n, …).

    ``flips`` says how many are, for each of the n inputs.
    """
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))  # position of each group in the order
    counts = np.fromiter(flips, np.intp).reshape(-1, *[1] * x.ndim)  # (n, 1, …)
    return np.where(rank[groups] < counts, values, x)


def occluded(x: Floats, values: Floats, groups: Groups, flips: Iterable[int]) -> Floats:
    """Return ``x`` (…) with a single group replaced by ``values``: (n, …). ``flips`` says which one."""
    which = np.fromiter(flips, np.intp).reshape(-1, *[1] * x.ndim)  # (n, 1, …)
    return np.where(groups == which, values, x)


def perturbation_curves(
    probability: Probability,
    x: Floats,
    values: Floats,
    groups: Groups,
    scores: Floats,
    flips: int | None = None,
) -> Curves:
    """Return the curves of a map.

    Args:
        probability: of the class that is explained.
        x: input (…).
        values: what flipped elements are replaced by, (…).
        groups: group of each element.
        scores: relevance of each group (groups,), as `group_sums` returns it.
        flips: length of the curves; default all groups. `half` is enough for the gap.

    """
    steps = range(1, (len(scores) if flips is None else flips) + 1)
    most, least = (
        probability(flipped(x, values, groups, order, steps))
        for order in (most_relevant_first(scores), least_relevant_first(scores))
    )
    return Curves(most, least, len(scores))


def occlusion_scores(probability: Probability, x: Floats, values: Floats, groups: Groups) -> Floats:
    """Return by how much the probability falls when each group alone is replaced, (groups,).

    It is the map that is made for perturbation curves, at one forward pass a group: a ceiling for the others.
    """
    count = int(groups.max()) + 1
    before, after = probability(x[None]), probability(occluded(x, values, groups, range(count)))
    return before - after  # (1,) - (groups,) -> (groups,)


def flips_to_change(classes: Sequence[int], predicted: int) -> int | None:
    """Return after how many flips the predicted class changes first; ``None``: it never does.

    ``classes`` are the classes with the highest logit after each flip.
    """
    return next((flip for flip, found in enumerate(classes, 1) if found != predicted), None)


def _gaussian(length: int, deviation: float) -> npt.NDArray[np.float64]:
    """Return the matrix that blurs one axis, (length, length); its rows sum to 1."""
    distance = np.subtract.outer(np.arange(length), np.arange(length))
    weights = np.exp(-0.5 * (distance / deviation) ** 2)
    rows: npt.NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return rows
