"""A bound on how often something is done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.http.pace import Pace


def test_a_burst_waits_for_nothing_and_the_others_come_one_by_one() -> None:
    pace = Pace(10, burst=3)
    assert [pace.delay_s(100.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    assert pace.delay_s(100.25) == pytest.approx(0.05)
    assert [pace.delay_s(200.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=60), st.integers(1, 50), st.integers(1, 20))
def test_no_second_has_more_events_than_rate_and_burst(gaps: list[float], per_s: int, burst: int) -> None:
    pace, now, times = Pace(per_s, burst), 0.0, []
    for gap in gaps:
        now += gap
        times.append(now + pace.delay_s(now))
    assert times == sorted(times)
    for start in times:
        assert sum(start <= time < start + 1 for time in times) <= per_s + burst + 1
