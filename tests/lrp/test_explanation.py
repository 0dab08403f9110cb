"""Numbers that follow from an explanation."""

import math

import numpy as np
import pytest

from app.lrp.explanation import Explanation


def explanation(output_relevance: list[float], *sums: float) -> Explanation:
    layers = tuple((f"layer{i}", total) for i, total in enumerate(sums))
    return Explanation(output_relevance, np.zeros(1, np.float32), 0.0, 0.0, layers, sums[0], 0.0)


@pytest.mark.parametrize(
    ("output_relevance", "leak"),
    [
        ([0.0, 1.0], 0.75),
        ([-1.0, 0.0], 1.25),
        ([5.0, -4.8], -0.25),  # 0.2 of 9.8
        ([5.0, -4.91], None),  # 0.09 of 9.91
        ([1.0, -1.0], None),
        ([0.0, 0.0], None),
    ],
)
def test_there_is_no_leak_where_what_is_put_in_nearly_cancels_out(
    output_relevance: list[float], leak: float | None
) -> None:
    assert explanation(output_relevance, 0.25, 1.0).leak == (None if leak is None else pytest.approx(leak))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_every_sum_of_a_finite_explanation_is_finite(value: float) -> None:
    assert explanation([1.0], 0.5, 1.0).is_finite
    assert not explanation([1.0], 0.5, value).is_finite
    assert not explanation([1.0], value, 0.5).is_finite
