"""Admission and tickets: the counter itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import UnavailableError
from app.serving.admission import QUEUE_FULL, Admission, Ticket
from app.telemetry.metrics import Metrics, exposition

CAPACITY = 4


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def admission(metrics: Metrics) -> Admission:
    return Admission(CAPACITY, metrics.of_model("some"))


def refused(metrics: Metrics) -> float:
    lines = exposition(metrics.families(), "")[0].decode().splitlines()
    sample = 'lrpserve_refused_total{model="some",reason="queue_full"} '
    return next(float(line.removeprefix(sample)) for line in lines if line.startswith(sample))


def test_it_is_full_when_all_places_are_held(admission: Admission) -> None:
    tickets = [Ticket(admission) for _ in range(CAPACITY)]
    for number, ticket in enumerate(tickets):
        assert (admission.occupied, admission.is_full) == (number, False)
        ticket.acquire()
    assert admission.is_full
    assert not Ticket(admission).try_acquire()
    tickets[0].release()
    assert not admission.is_full


def test_a_ticket_takes_one_place_however_often_it_is_acquired(admission: Admission) -> None:
    ticket = Ticket(admission)
    ticket.acquire()
    ticket.acquire()
    assert ticket.try_acquire()
    assert (ticket.held, admission.occupied) == (1, 1)


def test_a_ticket_that_holds_the_last_place_may_acquire_it_again(admission: Admission) -> None:
    tickets = [Ticket(admission) for _ in range(CAPACITY)]
    for _ in range(2):
        for ticket in tickets:
            ticket.acquire()
    assert admission.occupied == CAPACITY


def test_the_place_that_a_ticket_holds_is_one_of_those_that_it_acquires(admission: Admission) -> None:
    ticket = Ticket(admission)
    ticket.acquire()
    ticket.acquire(CAPACITY)
    assert (ticket.held, admission.occupied) == (CAPACITY, CAPACITY)


def test_a_request_that_needs_more_places_than_there_are_takes_all(admission: Admission) -> None:
    ticket = Ticket(admission)
    ticket.acquire()
    ticket.acquire_weight(CAPACITY + 10)
    assert ticket.held == CAPACITY
    with pytest.raises(UnavailableError):
        Ticket(admission).acquire_weight(1)


def test_a_ticket_keeps_what_it_holds_when_fewer_places_are_acquired(admission: Admission) -> None:
    ticket = Ticket(admission)
    ticket.acquire(3)
    ticket.acquire(1)
    assert ticket.held == 3


def test_several_places_are_acquired_together_or_not_at_all(admission: Admission, metrics: Metrics) -> None:
    Ticket(admission).acquire(2)
    several = Ticket(admission)
    several.acquire()
    with pytest.raises(UnavailableError, match=QUEUE_FULL):
        several.acquire(3)
    assert (several.held, admission.occupied) == (1, 3)
    assert refused(metrics) == 1  # one request, whatever the number of its pictures
    several.acquire(2)
    assert admission.is_full


def test_a_released_ticket_frees_its_places_once_and_may_be_used_again(admission: Admission) -> None:
    ticket = Ticket(admission)
    ticket.release()
    ticket.acquire(2)
    ticket.release()
    ticket.release()
    assert (ticket.held, admission.occupied) == (0, 0)
    ticket.acquire()
    assert admission.occupied == 1


def test_only_what_raises_counts_as_refused(admission: Admission, metrics: Metrics) -> None:
    admission.refuse_if_full()
    Ticket(admission).acquire(CAPACITY)
    assert not Ticket(admission).try_acquire()
    assert refused(metrics) == 0
    with pytest.raises(UnavailableError):
        admission.refuse_if_full()
    with pytest.raises(UnavailableError):
        Ticket(admission).acquire()
    assert refused(metrics) == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, CAPACITY + 1)), max_size=40))
def test_what_is_occupied_is_what_the_tickets_hold_and_never_more_than_the_capacity(
    steps: list[tuple[int, int]],
) -> None:
    """Each step acquires so many places for one of four requests; none of them is its end."""
    admission = Admission(CAPACITY, Metrics().of_model("some"))
    tickets = [Ticket(admission) for _ in range(4)]
    for which, places in steps:
        ticket = tickets[which]
        if places:
            free = CAPACITY - admission.occupied + ticket.held
            assert ticket.try_acquire(places) == (max(places, ticket.held) <= free)
        else:
            ticket.release()
        assert admission.occupied == sum(ticket.held for ticket in tickets) <= CAPACITY
    for ticket in tickets:
        ticket.release()
    assert admission.occupied == 0
