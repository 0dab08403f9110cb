"""Max-sensitivity, randomisation, sparseness and intervals, on maps whose measures are known by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from app.quality.intervals import Interval, mean, ratio_of_means
from app.quality.randomization import rank_correlation, ranks, similarity
from app.quality.sensitivity import inputs_nearby, max_sensitivity, relative_change
from app.quality.sparseness import gini

RANDOM = np.random.default_rng(0)


def test_inputs_nearby_stay_within_the_radius_and_the_range() -> None:
    low, high = np.array([[[-2.0]], [[0.0]]]), np.array([[[2.0]], [[1.0]]])
    x = RANDOM.uniform(low, high, (2, 8, 8)).astype(np.float32)
    nearby = inputs_nearby(x, low, high, 0.1, 200, seed=0)
    assert nearby.shape == (200, 2, 8, 8)
    assert nearby.dtype == np.float32
    assert (nearby >= low).all()
    assert (nearby <= high).all()
    change = np.abs(nearby - x) / (high - low)
    assert change.max() <= 0.1 + 1e-6
    assert change.max() > 0.099
    assert inputs_nearby(x, low, high, 0.1, 200, seed=0).tolist() == nearby.tolist()


def test_the_relative_change_is_that_of_norms() -> None:
    assert relative_change(np.array([[3.0, 4.0]]), np.array([[3.0, 1.0]])) == pytest.approx(3 / 5)
    assert relative_change(np.zeros((1, 2)), np.ones((1, 2))) is None


def test_the_largest_change_counts() -> None:
    x = np.array([3.0, 4.0])
    assert max_sensitivity(x, [x, 2 * x, 1.5 * x]) == pytest.approx(1)
    assert max_sensitivity(x, []) is None


@pytest.mark.parametrize("levels", [3, 1000])
def test_rank_correlation_is_scipys(levels: int) -> None:
    a, b = RANDOM.integers(levels, size=(2, 500)).astype(float)
    b += a / 2
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_equal_values_share_their_ranks() -> None:
    assert ranks(np.array([5.0, 1.0, 5.0, 7.0])).tolist() == [1.5, 0, 1.5, 3]


def test_similarity_sums_channels_and_keeps_signs() -> None:
    one = np.array([[[1.0, 2.0, 3.0]], [[0.0, 0.0, -5.0]]])  # pixels: 1, 2, −2
    assert similarity(one, np.array([[[2.0, 3.0, 1.0]]])) == pytest.approx(1)
    assert similarity(one, -one) == pytest.approx(-1)
    assert similarity(one, np.ones((1, 1, 3))) is None


def test_gini_of_even_and_of_single_pixels() -> None:
    single = np.zeros((3, 10, 10))
    single[:, 2, 3] = -1
    assert gini(single) == pytest.approx(0.99)
    assert gini(np.ones((3, 10, 10))) == pytest.approx(0)
    assert gini(np.zeros((3, 10, 10))) == 0
    assert gini(np.array([[[1.0, -3.0]]])) == pytest.approx(0.25)  # mean difference 1.5 over twice the mean 2


def test_a_mean_is_within_its_interval_and_the_interval_shrinks() -> None:
    few, many = (mean(RANDOM.normal(1, 2, n)) for n in (100, 1600))
    assert few.low < few.value < few.high
    assert few.high - few.low == pytest.approx(2 * 1.96 * 2 / 10, rel=0.2)
    assert many.high - many.low == pytest.approx(2 * 1.96 * 2 / 40, rel=0.2)


def test_intervals_cover_the_mean_in_95_of_100_experiments() -> None:
    found = [mean(RANDOM.normal(0, 1, 60), seed) for seed in range(200)]
    assert 0.89 < np.mean([one.low < 0 < one.high for one in found]) < 0.99


def test_a_ratio_is_of_means_of_the_same_pictures() -> None:
    size = RANDOM.uniform(1, 9, 50)
    assert ratio_of_means(np.stack([0.7 * size, size], 1)) == pytest.approx(Interval(0.7, 0.7, 0.7))
