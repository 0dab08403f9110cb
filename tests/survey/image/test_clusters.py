"""Clusters of vectors whose groups are known."""

import numpy as np
import pytest

from app.survey.arrays import Floats
from app.survey.image import clusters
from app.survey.image.clusters import NO_CLUSTER, by_size, clusters_of, count_by_gap
from app.survey.image.embedding import embedded
from app.survey.neighbours import nearest


def groups(*sizes: int) -> tuple[Floats, list[int]]:
    """Return points around as many centres, and the number of each point's centre."""
    random = np.random.default_rng(0)
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    centres = 10 * np.eye(len(sizes), 8)
    return (centres[numbers] + random.normal(size=(len(numbers), 8))).astype(np.float32), numbers.tolist()


@pytest.mark.parametrize("method", ["spectral", "hdbscan"])
def test_groups_are_found_and_numbered_by_size(method: str) -> None:
    vectors, expected = groups(90, 60, 25)
    assert clusters_of(vectors, method, 0).tolist() == expected


def test_of_many_vectors_a_sample_is_clustered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_CLUSTERED", 100)
    vectors, expected = groups(400, 200)
    assert clusters_of(vectors, "spectral", 0).tolist() == expected


@pytest.mark.parametrize("count", [1, 2, 19])
def test_few_vectors_are_one_cluster(count: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    assert clusters_of(vectors, "spectral", 0).tolist() == [0] * count


def test_what_belongs_nowhere_keeps_no_cluster() -> None:
    assert by_size(np.array([3, NO_CLUSTER, 7, 7])).tolist() == [1, NO_CLUSTER, 0, 0]


def test_the_number_of_clusters_is_before_the_largest_gap() -> None:
    assert count_by_gap(np.array([0, 0, 0, 0.8, 0.9])) == 3
    assert count_by_gap(np.array([0, 0.5, 0.51, 0.52])) == 2  # at least two


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_any_number_of_vectors_is_embedded(count: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(count, 9)).astype(np.float32)
    rows, points = embedded(vectors, 0)
    assert rows.tolist() == list(range(count))
    assert points.shape == (count, 2)
    assert np.abs(points).max() <= 1


def test_groups_stay_together_in_the_plane() -> None:
    vectors, numbers = groups(40, 40)
    _, points = embedded(vectors, 0)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = np.equal.outer(numbers, numbers)
    assert distances[same].mean() < distances[~same].mean() / 2


def test_neighbours_are_the_nearest_others() -> None:
    vectors = np.array([[0.0], [1.0], [10.0], [12.0]], np.float32)
    assert nearest(vectors, 2).tolist() == [[1, 2], [0, 2], [3, 1], [2, 1]]
    assert nearest(vectors[:1], 2).shape == (1, 0)
