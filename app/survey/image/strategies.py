"""Strategies: for each class, the clusters of the maps that explain it, and what is measured of each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from app.survey.arrays import Floats, Rows, unit
from app.survey.image.clusters import NO_CLUSTER, Labels, clusters_of
from app.survey.image.embedding import embedded
from app.survey.image.pooling import shares
from app.survey.image.suspicion import Cells, Effect, concentration, core, region, separation, suspicion
from app.system import available_cores


@dataclass(frozen=True, eq=False)
class Cluster:
    """Inputs for which the network recognises one class in a similar way."""

    target: int
    """The class that is explained: the one that is predicted."""
    number: int
    """From 1, the largest first."""
    rows: Rows
    """Inputs, the most typical first: those whose maps are nearest to the mean."""
    share: float
    """Of the inputs for which the class is predicted."""
    accuracy: float | None
    """Share whose label is that class; ``None``: none of them has a label that the network knows."""
    mean: Floats
    """Mean of the shares of positive relevance in each cell, (rows, columns)."""
    separation: float
    concentration: float
    region: Cells
    """What is covered and pasted; see `app.survey.image.suspicion`."""
    rest: Rows
    """Inputs of the same class outside the cluster."""
    effect: Effect | None = None
    """Of the region on predictions; ``None``: not measured."""

    @property
    def suspicion(self) -> float | None:
        """From 0 to 1; ``None``: not measured. See `app.survey.image.suspicion`."""
        return suspicion(self.separation, self.concentration, self.effect)

    @property
    def order(self) -> tuple[float, float]:
        """Key that sorts clusters by rising suspicion, those for which it was not measured first."""
        return (-1.0 if self.suspicion is None else self.suspicion, self.separation * self.concentration)


@dataclass(frozen=True, eq=False)
class Strategies:
    """The clusters of one class, and its maps as points of a plane."""

    target: int
    rows: Rows
    """Inputs for which the class is predicted."""
    labels: Labels
    """Cluster of each of them, from 0."""
    clusters: tuple[Cluster, ...]
    embedded: Rows
    """Inputs, among all, that have a point."""
    points: Floats
    """(m, 2), from −1 to 1."""


def strategies_of(
    maps: Floats, predicted: Rows, correct: Floats, method: str, seed: int, advance: Callable[[], None]
) -> list[Strategies]:
    """Return the strategies of each class that is predicted at all, by its number.

    Args:
        maps: Pooled maps of all inputs, (n, rows, columns).
        predicted: Number of the class that each explains, (n,).
        correct: Whether it is the label: 1, 0, or NaN where that is unknown, (n,).
        method: One of `app.survey.image.clusters.METHODS`.
        seed: Of samples, clustering and embedding.
        advance: Is called after each class.

    """
    # Classes side by side, each on one thread: threads that share the work of a class wait for each other.
    with (
        threadpool_limits(1),
        ThreadPoolExecutor(available_cores(), initializer=threadpool_limits, initargs=(1,)) as pool,
    ):
        futures = [
            pool.submit(
                _of_class, int(target), maps, np.flatnonzero(predicted == target), correct, method, seed
            )
            for target in np.unique(predicted)
        ]
        for _ in as_completed(futures):
            advance()
    return [one.result() for one in futures]


def _of_class(target: int, maps: Floats, rows: Rows, correct: Floats, method: str, seed: int) -> Strategies:
    vectors, positive = unit(maps[rows]), shares(maps[rows])
    labels = clusters_of(vectors, method, seed)
    chosen, points = embedded(vectors, seed)
    clusters = [
        _cluster(target, number, rows, labels == number, vectors, positive, correct[rows])
        for number in range(labels.max() + 1)
        if number != NO_CLUSTER
    ]
    return Strategies(target, rows, labels, tuple(clusters), rows[chosen], points)


def _cluster(
    target: int, number: int, rows: Rows, members: Cells, vectors: Floats, positive: Floats, correct: Floats
) -> Cluster:
    """Measure one cluster of a class; all arrays are of the inputs of the class, (n, …)."""
    mean = positive[members].mean(0)
    rest = positive[~members].mean(0) if not members.all() else mean
    cells = core(mean, rest)
    distance = ((vectors[members] - vectors[members].mean(0)) ** 2).sum(1)
    known = correct[members][~np.isnan(correct[members])]
    return Cluster(
        target,
        number + 1,
        rows[members][np.argsort(distance, kind="stable")],
        float(members.mean()),
        float(known.mean()) if len(known) else None,
        mean,
        separation(vectors, members),
        concentration(mean, rest, cells),
        region(mean, rest),
        rows[~members],
    )
