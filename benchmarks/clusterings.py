"""Clusters of the pictures of a survey by other means than its own, and where they rank a planted mark."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from corelay.pipeline.spectral import SpectralClustering
from corelay.processor.clustering import KMeans

from app.survey.arrays import Floats, Rows, unit
from app.survey.image.clusters import NO_CLUSTER, Labels, clusters_of
from app.survey.image.findings import ImageFindings
from app.survey.image.suspicion import separation

Marked = npt.NDArray[np.bool_]
"""Which of the survey's pictures are marked, (n,)."""

COUNTS = (2, 4, 8)
"""Clusters of a class that CoRelAy's k-means is asked for; its default is 2."""
MIN_MAPS = 40
"""Of a class that CoRelAy clusters: it takes 32 eigenvectors by default."""


@dataclass(frozen=True, eq=False)
class Group:
    """A cluster: its pictures, and its mean silhouette."""

    rows: Rows
    separation: float


def of_pixels(findings: ImageFindings) -> list[list[Group]]:
    """Return one list: spectral clusters of what the network sees, for each predicted class."""
    seed = findings.setup.seed
    return [_groups(findings, _pixels, lambda vectors: clusters_of(vectors, "spectral", seed))]


def of_corelay(findings: ImageFindings) -> list[list[Group]]:
    """Return a list for each of `COUNTS`: clusters of CoRelAy's pipeline with its defaults, for each class."""
    return [_groups(findings, _maps, CoRelAy(count, findings.setup.seed)) for count in COUNTS]


@dataclass(frozen=True)
class CoRelAy:
    """CoRelAy's spectral clustering: 10 neighbours, 32 eigenvectors, k-means."""

    count: int
    seed: int

    def __call__(self, vectors: Floats) -> Labels:
        """Return the cluster of each of ``vectors`` (n, d)."""
        if len(vectors) < MIN_MAPS:
            return np.zeros(len(vectors), np.int32)
        clustering = KMeans(n_clusters=self.count, kwargs={"random_state": self.seed}, is_output=True)
        _, labels = SpectralClustering(clustering=clustering)(vectors)
        return np.asarray(labels, np.int32)


def chosen(groups: Sequence[Rows], marked: Marked) -> int:
    """Return the number of the group that is the mark's: the one with the largest F1 score for it."""
    return int(np.argmax([f1(rows, marked) for rows in groups]))


def f1(rows: Rows, marked: Marked) -> float:
    """Return the harmonic mean of the share of ``rows`` that is marked and the share of marks that they have."""
    return float(2 * marked[rows].sum() / (len(rows) + marked.sum()))


def best_rank(lists: Sequence[Sequence[Group]], marked: Marked) -> int:
    """Return the best rank of the mark's group, over ``lists`` and all orders without a measure of suspicion."""
    return min(rank for groups in lists for rank in _ranks(groups, chosen([g.rows for g in groups], marked)))


def _ranks(groups: Sequence[Group], number: int) -> Iterator[int]:
    """Yield ranks of a group: smallest first, largest first, most separated first."""
    sizes = np.array([len(group.rows) for group in groups])
    separations = np.array([group.separation for group in groups])
    for falling in (-sizes, sizes, separations):
        yield 1 + int((falling > falling[number]).sum())


def _groups(
    findings: ImageFindings,
    vectors_of: Callable[[ImageFindings, Rows], Floats],
    cluster: Callable[[Floats], Labels],
) -> list[Group]:
    found = []
    for one in findings.strategies:
        vectors = vectors_of(findings, one.rows)
        labels = cluster(vectors)
        for label in np.unique(labels[labels != NO_CLUSTER]):
            members = labels == label
            found.append(Group(one.rows[members], separation(vectors, members)))
    return found


def _pixels(findings: ImageFindings, rows: Rows) -> Floats:
    pixels = np.asarray(findings.store.data[findings.rows[rows]], np.float32) / np.float32(
        255
    )  # (n, C, H, W)
    return pixels.reshape(len(rows), -1)


def _maps(findings: ImageFindings, rows: Rows) -> Floats:
    return unit(findings.store.maps(findings.rows[rows]).sum(1))  # (n, H, W) -> (n, H · W)
