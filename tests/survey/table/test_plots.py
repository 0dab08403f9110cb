"""Beeswarm and dependence plots."""

import re

import numpy as np
import numpy.typing as npt

from app.modalities.table.spec import Category, Number
from app.survey.table.features import Features
from app.survey.table.interactions import interaction, strengths
from app.survey.table.plots import LEVELS, NO_LEVEL, Axis, axis_of, dots, levels_of, spread

NUMBER = Number("x", None, 0, 1, 0, 1)


def features(values: npt.NDArray[np.float64], relevance: npt.NDArray[np.float64]) -> Features:
    spec = [Number(f"x{number}", None, 0, 1, 0, 1) for number in range(values.shape[1])]
    return Features(spec, values, relevance)


def test_the_interaction_is_the_feature_that_relevance_depends_on_besides_its_own() -> None:
    values = np.random.default_rng(0).normal(size=(400, 4))
    relevance = np.stack([values[:, 0] * values[:, 2], values[:, 1], values[:, 2], values[:, 3]], 1)
    assert interaction(features(values, relevance), 0) == 2


def test_strengths_are_sums_of_correlations_within_groups_of_similar_rows() -> None:
    random = np.random.default_rng(1)
    found = features(random.normal(size=(120, 3)), random.normal(size=(120, 3)))
    order, expected = np.argsort(found.values[:, 1]), np.zeros(3)
    for group in np.split(order, 10):  # a tenth of the rows each
        for other in range(3):
            expected[other] += abs(np.corrcoef(found.values[group, other], found.relevance[group, 1])[0, 1])
    np.testing.assert_allclose(strengths(found, 1), expected)


def test_missing_values_are_neither_small_nor_large() -> None:
    values = np.random.default_rng(2).normal(size=(40, 2)) + 100
    filled = values.copy()
    values[::4, 1] = np.nan
    for group in np.split(np.argsort(values[:, 0]), 10):
        filled[group, 1] = np.where(
            np.isnan(values[group, 1]), np.nanmean(values[group, 1]), values[group, 1]
        )
    relevance = np.random.default_rng(3).normal(size=(40, 2))
    np.testing.assert_allclose(
        strengths(features(values, relevance), 0), strengths(features(filled, relevance), 0)
    )


def test_without_another_feature_there_is_no_interaction() -> None:
    alone = features(np.arange(20.0)[:, None], np.arange(20.0)[:, None])
    assert interaction(alone, 0) is None
    constant = features(np.ones((20, 2)), np.ones((20, 2)))
    assert interaction(constant, 0) is None


def test_colours_go_from_the_fifth_to_the_ninety_fifth_percentile() -> None:
    values = np.append(np.arange(100.0), [1e6, np.nan])
    levels = levels_of(values, NUMBER)
    low, high = np.nanpercentile(values, [5, 95])
    assert set(levels[values <= low]) == {0}
    assert set(levels[values >= high]) == {LEVELS - 1}
    assert levels[50] == LEVELS // 2
    assert levels[-1] == NO_LEVEL
    assert set(levels_of(np.array([0.0, 1.0]), Category("c", ("a", "b"), (0.5, 0.5)))) == {NO_LEVEL}
    assert set(levels_of(np.ones(3), NUMBER)) == {0}


def test_points_of_a_swarm_with_one_value_lie_apart_within_the_line() -> None:
    axis = Axis(0, 10, 500)
    values = np.array([5.0] * 40 + [1.0])
    offsets = spread(values, axis, 24)
    assert len(set(offsets[:40])) == 40
    assert np.abs(offsets).max() <= 12
    assert offsets[40] == 0
    few = spread(np.array([5.0, 5.0, 5.0]), axis, 24)
    assert sorted(few) == [-3, 0, 3]


def test_every_point_is_drawn_once_in_its_colour() -> None:
    levels = np.array([2, 0, 2], np.int8)
    drawn = dots(np.array([0.0, 1.25, 2.0]), np.array([3.0, 4.0, 5.5]), levels)
    assert [one.level for one in drawn] == [0, 2]
    assert drawn[0].path == "M1.2 4h0"
    assert re.findall("M[^M]+", drawn[1].path) == ["M0 3h0", "M2 5.5h0"]


def test_zero_is_on_an_axis_that_has_it() -> None:
    assert axis_of(np.array([-1.0, 3.0]), 100).zero == 25
    assert axis_of(np.array([1.0, 3.0]), 100).zero is None
    assert axis_of(np.array([2.0, 2.0]), 100).place(np.array([2.0])).tolist() == [0]
