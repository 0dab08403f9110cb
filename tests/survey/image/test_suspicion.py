"""The measures of clusters, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from app.survey.image.suspicion import Effect, concentration, core, region, separation, suspicion


def test_separation_is_the_silhouette_of_squared_distances() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 5)).astype(np.float32)
    members = np.arange(40) < 12
    vectors[members] += 1
    expected = silhouette_samples(vectors, members, metric="sqeuclidean")[members].mean()
    assert separation(vectors, members) == pytest.approx(expected, rel=1e-5)


def test_separation_of_a_cluster_that_is_everything_or_scattered_is_zero() -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    assert separation(vectors, np.ones(30, bool)) == 0
    vectors[:10] *= 10
    assert separation(vectors, np.arange(30) < 10) == 0


def test_a_core_is_the_fewest_cells_with_half_of_the_excess() -> None:
    rest = np.full((4, 4), 1 / 16, np.float32)
    cluster = np.zeros((4, 4), np.float32)
    cluster[3, 3], cluster[3, 2], cluster[0, 0] = 0.6, 0.3, 0.1
    cells = core(cluster, rest)
    assert np.argwhere(cells).tolist() == [[3, 3]]
    assert concentration(cluster, rest, cells) == pytest.approx(1 - 1 / 16 / 0.6)


def test_a_region_is_nine_tenths_of_the_excess_and_the_cells_next_to_it() -> None:
    rest = np.zeros((6, 6), np.float32)
    cluster = np.zeros((6, 6), np.float32)
    cluster[0, 0], cluster[5, 5], cluster[3, 0] = 0.6, 0.3, 0.1
    assert np.argwhere(core(cluster, rest)).tolist() == [[0, 0]]
    cells = [[0, 0], [0, 1], [1, 0], [1, 1], [4, 4], [4, 5], [5, 4], [5, 5]]
    assert np.argwhere(region(cluster, rest)).tolist() == cells


def test_equal_maps_have_no_core_region_or_concentration() -> None:
    same = np.full((4, 4), 1 / 16, np.float32)
    assert not core(same, same).any()
    assert not region(same, same).any()
    assert concentration(same, same, core(same, same)) == 0


def test_suspicion_is_the_geometric_mean() -> None:
    assert suspicion(0.5, 0.8, Effect(0.9, 0.9, 0.4, 0.1)) == pytest.approx((0.5 * 0.8 * 0.3) ** (1 / 3))
    assert suspicion(0.5, 0.8, Effect(0.9, 0.1, 0.1, 0.4)) == 0
    assert suspicion(0.5, 0.8, None) is None
