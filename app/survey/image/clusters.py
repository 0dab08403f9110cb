"""Clusters of the maps of one class, as in SpRAy (Lapuschkin et al. 2019): ways in which the class is recognised.

Spectral clustering of a graph that joins each map with its nearest neighbours (Ng et al. 2002): k-means of the
rows of the first eigenvectors of the graph's normalised Laplacian, as many as there are before the largest gap of
the eigenvalues (von Luxburg 2007). scikit-learn's own class would compute them a second time, and warns of graphs
in which clusters are not joined. HDBSCAN (Campello et al. 2013) is the alternative; it leaves out maps that
belong nowhere.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.sparse.csgraph import laplacian
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.neighbors import KNeighborsClassifier, kneighbors_graph

from app.survey.arrays import Floats, unit

Labels = npt.NDArray[np.int32]
"""Cluster of each map from 0, the largest first; `NO_CLUSTER` for those that belong nowhere."""

NO_CLUSTER = -1
NEIGHBOURS = 10
MAX_CLUSTERS = 12
MIN_ITEMS = 20
"""Fewer maps are one cluster."""
MIN_CLUSTER = 5
MAX_CLUSTERED = 2_000
"""Maps of a class that are clustered; others get the cluster that most of their neighbours among them have."""


def clusters_of(vectors: Floats, method: str, seed: int) -> Labels:
    """Return the cluster of each of ``vectors`` (n, d), by one of `METHODS`."""
    count = len(vectors)
    chosen = np.sort(np.random.default_rng(seed).permutation(count)[:MAX_CLUSTERED])
    sample = vectors[chosen]
    if count < MIN_ITEMS or len(np.unique(sample, axis=0)) <= NEIGHBOURS:
        return np.zeros(count, np.int32)
    found = METHODS[method](sample, seed)
    if len(chosen) < count:
        found = KNeighborsClassifier(NEIGHBOURS).fit(sample, found).predict(vectors)
    return by_size(found)


def by_size(found: npt.NDArray[Any]) -> Labels:
    """Return clusters numbered by falling size."""
    names, sizes = np.unique(found[found != NO_CLUSTER], return_counts=True)
    numbers = {name: number for number, name in enumerate(names[np.argsort(-sizes, kind="stable")])}
    return np.array([numbers.get(name, NO_CLUSTER) for name in found], np.int32)


def count_by_gap(eigenvalues: npt.NDArray[np.float64]) -> int:
    """Return the number of clusters, at least two: that before the largest gap of rising ``eigenvalues``."""
    return int(np.diff(eigenvalues)[1:].argmax()) + 2


def _spectral(vectors: Floats, seed: int) -> npt.NDArray[Any]:
    joined = kneighbors_graph(vectors, NEIGHBOURS, include_self=False)
    affinity = 0.5 * (joined + joined.T)
    most = min(MAX_CLUSTERS, len(vectors) - 2)
    matrix = laplacian(affinity, normed=True).toarray()
    eigenvalues, eigenvectors = eigh(matrix, subset_by_index=[0, most])
    count = count_by_gap(eigenvalues)
    return np.asarray(KMeans(count, n_init=10, random_state=seed).fit_predict(unit(eigenvectors[:, :count])))


def _hdbscan(vectors: Floats, seed: int) -> npt.NDArray[Any]:  # noqa: ARG001 # it draws no random numbers
    return np.asarray(
        HDBSCAN(min_cluster_size=max(MIN_CLUSTER, len(vectors) // 100), copy=True).fit_predict(vectors)
    )


METHODS: Mapping[str, Callable[[Floats, int], npt.NDArray[Any]]] = {
    "spectral": _spectral,
    "hdbscan": _hdbscan,
}
