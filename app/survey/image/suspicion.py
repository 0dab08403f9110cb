"""How suspicious a cluster of maps is: pure functions of arrays, and the formula that ranks clusters.

A network that recognises a class by a watermark has maps of that class that differ from the others in one place,
where the others have no relevance, and what is at that place suffices for its decision. The suspicion is the
geometric mean of three numbers between 0 and 1, so that a cluster needs all of them:

    suspicion = (separation · concentration · effect) ^ (1/3)

`separation`
    mean silhouette of the cluster's maps against the rest of the class, with squared Euclidean distances
    (Rousseeuw 1987); 0 if it is negative.
`concentration`
    1 − r / c, where c and r are the shares of positive relevance that the cluster and the rest of its class have
    in the cluster's `core`: the fewest cells with half of what it has in excess of the rest.
`effect`
    share of pictures of other classes that are predicted to be of this class when the cluster's `region` is
    pasted into them from pictures of the cluster, less the share when it is pasted from the rest of the class;
    0 if it is negative. The region are the fewest cells with nine tenths of the excess, and those next to them.

The core is where the cluster differs most. It may be a part of a mark, of which each part alone does nothing, a
border for example, so that what is pasted is nearly all of what differs.

What covering the region does is shown as well, and is no factor: the place of an object matters wherever it is,
and a network that knows a class by a watermark and by its object still predicts it without the watermark. The
size of a cluster is no factor either: a watermark may be on a few pictures of a class, or on most.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from app.survey.arrays import Floats

Cells = npt.NDArray[np.bool_]
"""(rows, columns) of a grid."""
Members = npt.NDArray[np.bool_]
"""(n,), of the maps of a class."""

CORE_SHARE = 0.5
"""Share of the relevance in excess of the rest's that a core holds, in as few cells as possible."""
REGION_SHARE = 0.9
"""The same of a region, without the cells next to these."""


@dataclass(frozen=True, eq=False)
class Effect:
    """What a region does to predictions; shares of inputs."""

    covered: float
    """Of the cluster: those whose predicted class changes when the region is covered."""
    rest_covered: float
    """The same of the rest of the class."""
    pasted: float
    """Of other classes: those that are predicted to be of this one with the region of pictures of the cluster."""
    rest_pasted: float
    """The same with the region of pictures of the rest of the class."""

    @property
    def excess(self) -> float:
        """How many more are predicted to be of the class with the cluster's region than with that of the rest."""
        return max(0.0, self.pasted - self.rest_pasted)


def separation(vectors: Floats, members: Members) -> float:
    """Return the mean silhouette of ``members`` among ``vectors`` (n, d), 0…1; 0 for all or none of them."""
    if members.all() or not members.any():
        return 0.0
    cluster, rest = vectors[members].astype(np.float64), vectors[~members].astype(np.float64)
    own = _mean_distance(cluster, cluster) * (len(cluster) / max(1, len(cluster) - 1))  # not to itself
    other = _mean_distance(cluster, rest)
    largest = np.maximum(own, other)
    silhouette = np.divide(other - own, largest, out=np.zeros_like(own), where=largest > 0)
    return float(max(0.0, silhouette.mean()))


def core(cluster: Floats, rest: Floats) -> Cells:
    """Return the fewest cells with half of the share that the mean map of a cluster has in excess of the rest's.

    Both are shares of positive relevance, (rows, columns).
    """
    return _most_of_excess(cluster, rest, CORE_SHARE)


def region(cluster: Floats, rest: Floats) -> Cells:
    """Return the fewest cells with nine tenths of that excess, and all cells next to them."""
    grown: Cells = binary_dilation(_most_of_excess(cluster, rest, REGION_SHARE), np.ones((3, 3)))
    return grown


def concentration(cluster: Floats, rest: Floats, cells: Cells) -> float:
    """Return 1 − r / c for the shares r and c of the rest and of the cluster in ``cells``, from 0 to 1."""
    inside, outside = float(cluster[cells].sum()), float(rest[cells].sum())
    return max(0.0, 1 - outside / inside) if inside > 0 else 0.0


def suspicion(separated: float, concentrated: float, effect: Effect | None) -> float | None:
    """Return the geometric mean of all three; ``None`` where the effect is not known."""
    return None if effect is None else float(np.cbrt(separated * concentrated * effect.excess))


def _most_of_excess(cluster: Floats, rest: Floats, share: float) -> Cells:
    """Return the fewest cells with ``share`` of the excess; none where the cluster exceeds the rest nowhere."""
    excess = (cluster - rest).clip(min=0).ravel()
    order = np.argsort(-excess, kind="stable")
    needed = int(np.searchsorted(np.cumsum(excess[order]), share * excess.sum() - 1e-9)) + 1
    chosen = np.zeros(excess.size, np.bool_)
    chosen[order[: needed if excess.any() else 0]] = True
    return chosen.reshape(cluster.shape)


def _mean_distance(
    points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean squared distance of each point to all ``others``, (n,), by their mean and variance."""
    centre = others.mean(0)
    spread = float(((others - centre) ** 2).sum(1).mean())
    distances: npt.NDArray[np.float64] = ((points - centre) ** 2).sum(1) + spread
    return distances
