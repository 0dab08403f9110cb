"""Perturbation curves, with a model whose right answers are known without a computer."""

import numpy as np
import pytest

from app.quality.perturbation import (
    Curves,
    Floats,
    Replacement,
    blurred,
    flipped,
    flips_to_change,
    group_sums,
    half,
    least_relevant_first,
    most_relevant_first,
    occluded,
    occlusion_scores,
    patch_groups,
    perturbation_curves,
    random_scores,
    replacement_values,
)

GROUPS = patch_groups(4, 6, 2)
"""Six patches: 0, 1, 2 above 3, 4, 5."""
WEIGHTS = np.array([0.3, 0.0, 0.2, 0.05, 0.1, 0.35])
"""What each patch adds to the probability of `additive`."""
X = np.ones((3, 4, 6), np.float32)
ZERO = np.zeros_like(X)


def additive(inputs: Floats) -> Floats:
    """The sum of the weights of patches that are not flipped: (n, 3, 4, 6) -> (n,)."""
    return np.stack([group_sums(x, GROUPS) / 12 @ WEIGHTS for x in inputs])


def test_patches_are_squares_row_by_row() -> None:
    assert patch_groups(4, 6, 2).tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    assert patch_groups(2, 3, 1).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_relevance_of_a_patch_is_the_sum_over_its_pixels_and_channels() -> None:
    relevance = np.arange(3 * 4 * 6).reshape(3, 4, 6)
    by_hand = [relevance[:, i : i + 2, j : j + 2].sum() for i in (0, 2) for j in (0, 2, 4)]
    assert group_sums(relevance, GROUPS).tolist() == by_hand


def test_groups_need_not_be_patches() -> None:
    tokens = np.array([[0], [1], [1]])  # three tokens of two dimensions, of which two are a word
    relevance = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, -6.0]])
    assert group_sums(relevance, tokens).tolist() == [3.0, 6.0]
    (x,) = flipped(relevance, np.zeros((3, 2)), tokens, np.array([1, 0]), [1])
    assert x.tolist() == [[1, 2], [0, 0], [0, 0]]


def test_equal_groups_are_flipped_by_their_index_in_both_orders() -> None:
    scores = np.array([1.0, 2.0, 1.0, 2.0])
    assert most_relevant_first(scores).tolist() == [1, 3, 0, 2]
    assert least_relevant_first(scores).tolist() == [0, 2, 1, 3]


def test_flips_accumulate() -> None:
    x, y = np.arange(4.0)[None, None], -np.ones((1, 1, 4))
    order = np.array([2, 0, 3, 1])
    assert flipped(x, y, np.arange(4), order, [0, 1, 3, 4])[:, 0, 0].tolist() == [
        [0, 1, 2, 3],
        [0, 1, -1, 3],
        [-1, 1, -1, -1],
        [-1, -1, -1, -1],
    ]


def test_occlusion_flips_one_group_at_a_time() -> None:
    x, y = np.arange(4.0)[None, None], -np.ones((1, 1, 4))
    assert occluded(x, y, np.arange(4), [3, 0])[:, 0, 0].tolist() == [[0, 1, 2, -1], [-1, 1, 2, 3]]


def test_curves_of_an_additive_model_are_running_sums() -> None:
    curves = perturbation_curves(additive, X, ZERO, GROUPS, WEIGHTS)
    np.testing.assert_allclose(curves.most_relevant_first, [0.65, 0.35, 0.15, 0.05, 0, 0], atol=1e-7)
    np.testing.assert_allclose(curves.least_relevant_first, [1, 0.95, 0.85, 0.65, 0.35, 0], atol=1e-7)
    assert curves.gap == pytest.approx((0.35 + 0.6 + 0.7) / 3)  # over three of six flips


def test_half_of_a_curve_is_enough_for_its_gap() -> None:
    whole = perturbation_curves(additive, X, ZERO, GROUPS, WEIGHTS)
    first = perturbation_curves(additive, X, ZERO, GROUPS, WEIGHTS, half(6))
    assert first.most_relevant_first.shape == (3,)
    assert first.gap == whole.gap


def test_one_patch_alone_has_a_gap_of_zero() -> None:
    one = patch_groups(4, 4, 4)
    curves = perturbation_curves(
        lambda x: x.mean((1, 2, 3)), X[:, :, :4], ZERO[:, :, :4], one, np.array([1.0])
    )
    assert curves.gap == 0


def test_a_map_that_says_nothing_has_a_gap_of_exactly_zero() -> None:
    assert perturbation_curves(additive, X, ZERO, GROUPS, np.zeros(6)).gap == 0


def test_an_inverted_map_has_the_negative_gap() -> None:
    right, inverted = (perturbation_curves(additive, X, ZERO, GROUPS, sign * WEIGHTS).gap for sign in (1, -1))
    assert inverted == pytest.approx(-right)


def test_random_orders_have_a_gap_of_zero_on_average() -> None:
    gaps = [perturbation_curves(additive, X, ZERO, GROUPS, random_scores(6, seed)).gap for seed in range(500)]
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / 500**0.5


def test_a_random_order_depends_on_its_seed_alone() -> None:
    assert random_scores(6, 1).tolist() == random_scores(6, 1).tolist() != random_scores(6, 2).tolist()


def test_occlusion_finds_what_an_additive_model_uses() -> None:
    np.testing.assert_allclose(occlusion_scores(additive, X, ZERO, GROUPS), WEIGHTS, atol=1e-7)


def test_no_order_of_an_additive_model_has_a_larger_gap_than_occlusion() -> None:
    ceiling = perturbation_curves(additive, X, ZERO, GROUPS, occlusion_scores(additive, X, ZERO, GROUPS)).gap
    orders = [
        perturbation_curves(additive, X, ZERO, GROUPS, random_scores(6, seed)).gap for seed in range(50)
    ]
    assert max(orders) <= ceiling + 1e-9


def test_the_gap_is_the_mean_difference_over_the_first_half_of_the_flips() -> None:
    curves = Curves(np.array([0.5, 0.3, 0.2, 0.1]), np.array([0.9, 0.8, 0.6, 0.1]), 4)
    assert curves.gap == pytest.approx(((0.9 - 0.5) + (0.8 - 0.3)) / 2)


@pytest.mark.parametrize(
    ("classes", "flips"), [([3, 3, 5, 3], 3), ([5, 5, 5, 5], 1), ([3, 3, 3, 3], None), ([], None)]
)
def test_the_first_flip_that_changes_the_class_counts(classes: list[int], flips: int | None) -> None:
    assert flips_to_change(classes, predicted=3) == flips


def test_the_mean_is_zero_after_normalisation() -> None:
    assert not replacement_values(X, Replacement.MEAN, 2).any()


def test_a_blur_keeps_a_constant_picture_and_spreads_a_point_evenly() -> None:
    np.testing.assert_allclose(replacement_values(X, Replacement.BLUR, 2), X, rtol=1e-6)
    point = np.zeros((1, 41, 41), np.float32)
    point[0, 20, 20] = 1
    spread = blurred(point, 2)[0]
    offsets = np.arange(41) - 20
    assert spread.dtype == np.float32
    assert spread.sum() == pytest.approx(1, abs=1e-3)
    assert (spread.sum(1) * offsets**2).sum() == pytest.approx(4, rel=1e-2)  # variance
    np.testing.assert_allclose(spread, spread.T, atol=1e-9)


def test_a_blur_is_wider_than_a_patch() -> None:
    x = np.zeros((1, 16, 16), np.float32)
    x[:, 4:8, 4:8] = 1
    assert replacement_values(x, Replacement.BLUR, 4)[:, 4:8, 4:8].max() < 0.2
