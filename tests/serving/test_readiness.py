"""Readiness, whatever the order of events."""

import sys
from collections.abc import Callable
from itertools import count, permutations
from types import FrameType
from typing import Any

import pytest

from app.serving.readiness import Readiness

EVENTS = {"ready": Readiness.ready, "drain": Readiness.drain, "fail": Readiness.fail}


@pytest.mark.parametrize("order", [p for n in range(4) for p in permutations(EVENTS, n)])
def test_the_gravest_event_counts_in_any_order(order: tuple[str, ...]) -> None:
    readiness = Readiness()
    for name in order:
        EVENTS[name](readiness)
    gravest = next((name for name in ("fail", "drain", "ready") if name in order), None)
    expected = {"fail": "broken", "drain": "shutting down", "ready": None, None: "warming up"}
    assert readiness.obstacle == expected[gravest]


def interrupted(work: Callable[[], None], at: int, interruption: Callable[[], None]) -> bool:
    """Run ``work``, with ``interruption`` before its instruction number ``at``; return whether it has so many."""
    numbers = count()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode" and next(numbers) == at:
            sys.settrace(None)
            interruption()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return next(numbers) > at


@pytest.mark.parametrize("event", [Readiness.ready, Readiness.drain])
def test_a_failure_during_another_event_is_not_lost(event: Callable[[Readiness], None]) -> None:
    for at in count():
        readiness = Readiness()
        if not interrupted(lambda readiness=readiness: event(readiness), at, readiness.fail):  # type: ignore[misc]
            break
        assert readiness.obstacle == "broken"
    assert at > 2
