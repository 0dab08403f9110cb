"""What the application does when replicas of a model are lost or late, with a handle that is no cluster's."""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fake_model import DESCRIPTION, FakeModel
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RayTaskError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from app.cluster import remote_model
from app.cluster.remote_model import MISSES, MOST_ENDED, PARTS, RemoteModel
from app.errors import InvalidParameterError
from app.models.protocol import Job, ModelUnavailableError, NoMemoryError
from app.runtime.remote_errors import pack

WAIT_S, LIMIT_S = 16.0, 60.0
PART_S = WAIT_S / PARTS
"""Before replicas are asked for a call, and for their answer."""
JOBS = [Job(np.full((1, 48, 64), value, np.float32)) for value in (0.25, 0.5)]
NONE_LEFT = DeploymentUnavailableError(DeploymentID("model", "lrpserve"))
NO_ANSWER = GetTimeoutError("no answer")
LOSSES = [ActorDiedError(), ActorUnavailableError("it does not answer", None)]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes only while a call is waited for."""
    clock = Clock()
    monkeypatch.setattr(remote_model, "time", clock)
    return clock


class Response:
    """Returns ``result`` ``after_s``, unless it is an error, which is raised then."""

    def __init__(self, clock: Clock, result: object, after_s: float = 0.0) -> None:
        self._clock, self._result, self._ends_s = clock, result, clock.now_s + after_s
        self.is_cancelled = False

    def result(self, timeout_s: float) -> object:
        self._clock.now_s += max(0.0, min(timeout_s, self._ends_s - self._clock.now_s))
        if self._clock.now_s < self._ends_s:
            raise TimeoutError
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def cancel(self) -> None:
        """Raise what the router raised, as Serve's responses do."""
        self.is_cancelled = True
        if isinstance(self._result, Exception):
            raise self._result


class Answers:
    """Of all replicas: each is a value, or the error that came in its place."""

    def __init__(self, clock: Clock, answers: Sequence[object] | Exception) -> None:
        self._clock, self._answers = clock, answers

    def results(self, *, timeout_s: float, return_exceptions: bool) -> Sequence[object]:
        assert return_exceptions
        if isinstance(self._answers, Exception):
            raise self._answers
        if NO_ANSWER in self._answers:
            self._clock.now_s += timeout_s
        return self._answers


class Method:
    def __init__(self, handle: "Handle", answer: Callable[..., object]) -> None:
        self._handle, self._answer = handle, answer

    def remote(self, call: str, *arguments: Any) -> Response:
        """Answer after ``late`` of this call, or fail with it."""
        late = self._handle.late.pop(0) if self._handle.late else 0.0
        if isinstance(late, Exception):
            response = Response(self._handle.clock, late)
        else:
            response = Response(self._handle.clock, self._answer(*arguments), late)
        self._handle.calls.append((call, response))
        return response


class Handle:
    """Answers as replicas of a fake model do, calls in turn after ``late`` seconds, or fails with such an error.

    ``running`` are the answers of replicas in turn when they are asked for a call; the last one remains.
    """

    def __init__(
        self,
        clock: Clock,
        *late: float | Exception,
        running: Sequence[Sequence[object] | Exception] = (),
    ) -> None:
        self.clock, self.late, self.running = clock, list(late), list(running)
        self.calls, self.asked = list[tuple[str, Response]](), list[str]()
        self.run = Method(self, lambda jobs: pack(lambda: FakeModel().run(pickle.loads(jobs))))
        self.prepare_reference = Method(self, lambda: pack(lambda: None))

    def broadcast(self, method: str, call: str) -> Answers:
        assert method == "has"
        self.asked.append(call)
        return Answers(self.clock, self.running.pop(0) if len(self.running) > 1 else self.running[0])

    @property
    def cancelled(self) -> list[bool]:
        return [response.is_cancelled for _, response in self.calls]


def model_of(handle: Handle) -> RemoteModel:
    return RemoteModel(handle, DESCRIPTION, wait_s=WAIT_S, limit_s=LIMIT_S)


def assert_answers(model: RemoteModel, jobs: Sequence[Job] = JOBS) -> None:
    logits = [result.logits for result in model.run(jobs)]
    assert logits == [result.logits for result in FakeModel().run(jobs)]


def test_results_are_the_replicas(clock: Clock) -> None:
    handle = Handle(clock)
    assert_answers(model_of(handle))
    model_of(handle).prepare_reference()
    assert handle.cancelled == [False, False]
    assert handle.asked == []


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_whose_replica_is_lost_is_run_again(clock: Clock, loss: Exception) -> None:
    handle = Handle(clock, loss)
    assert_answers(model_of(handle))
    assert len(handle.calls) == 2
    assert handle.asked == []


def test_a_batch_whose_replicas_end_is_unavailable_and_the_next_one_is_answered(clock: Clock) -> None:
    """It may be what ends them."""
    handle = Handle(clock, *[ActorDiedError()] * MOST_ENDED)
    model = model_of(handle)
    with pytest.raises(ModelUnavailableError, match="were lost; try again in a second"):
        model.run(JOBS)
    assert len(handle.calls) == MOST_ENDED
    assert_answers(model)


def test_a_batch_may_take_longer_than_the_wait_while_a_replica_has_it(clock: Clock) -> None:
    handle = Handle(clock, LIMIT_S - 1, running=[[False, True]])
    assert_answers(model_of(handle))
    ((call, response),) = handle.calls
    assert set(handle.asked) == {call}
    assert not response.is_cancelled


def test_a_batch_that_no_replica_has_is_run_again_before_ray_knows_of_the_loss(clock: Clock) -> None:
    handle = Handle(clock, LIMIT_S, running=[[NO_ANSWER, False]])
    assert_answers(model_of(handle))
    assert handle.cancelled == [True, False]
    assert handle.asked == [handle.calls[0][0]] * MISSES
    assert clock.now_s == MISSES * 2 * PART_S


def test_a_batch_that_goes_to_a_lost_replica_each_time_is_given_up_before_others_have_waited_too_long(
    clock: Clock,
) -> None:
    handle = Handle(clock, *[LIMIT_S] * 9, running=[[NO_ANSWER, False]])
    with pytest.raises(ModelUnavailableError, match="no replica"):
        model_of(handle).run(JOBS)
    assert len(handle.calls) > 1
    assert handle.cancelled == [True] * len(handle.calls)
    assert clock.now_s < WAIT_S


@pytest.mark.parametrize("late_s", [1.5 * PART_S, 2.5 * PART_S])
def test_a_reply_that_is_on_its_way_while_replicas_are_asked_is_taken(clock: Clock, late_s: float) -> None:
    handle = Handle(clock, late_s, running=[[False, False]])
    assert_answers(model_of(handle))
    assert handle.cancelled == [False]


@pytest.mark.parametrize("answers", [NONE_LEFT, [NO_ANSWER], TimeoutError()])
def test_without_a_replica_a_batch_is_unavailable_before_others_have_waited_too_long(
    clock: Clock, answers: Sequence[object] | Exception
) -> None:
    handle = Handle(clock, LIMIT_S, running=[answers])
    model = model_of(handle)
    with pytest.raises(ModelUnavailableError, match="no replica of the model answers now; try again"):
        model.run(JOBS)
    assert handle.cancelled == [True]
    assert WAIT_S / 2 <= clock.now_s < WAIT_S
    assert_answers(model)


def test_a_replica_that_starts_meanwhile_answers(clock: Clock) -> None:
    handle = Handle(clock, 3 * PART_S, running=[NONE_LEFT, [True]])
    assert_answers(model_of(handle))
    assert handle.cancelled == [False]


def test_a_batch_that_takes_too_long_is_given_up_however_often_it_was_sent(clock: Clock) -> None:
    handle = Handle(clock, ActorDiedError(), 2 * LIMIT_S, running=[[True]])
    clock.now_s = 1000.0
    with pytest.raises(ModelUnavailableError, match="took longer than 60 s"):
        model_of(handle).run(JOBS)
    assert handle.cancelled == [False, True]
    assert clock.now_s == 1000.0 + LIMIT_S


@pytest.mark.parametrize("answers", [[NO_ANSWER, False], [ActorDiedError(), False]])
def test_a_replica_that_is_lost_while_it_runs_a_batch_is_lost_all_the_same(
    clock: Clock, answers: Sequence[object]
) -> None:
    handle = Handle(clock, LIMIT_S, running=[[True, False], answers])
    assert_answers(model_of(handle))
    assert handle.cancelled == [True, False]


def test_a_call_that_fails_while_it_is_given_up_is_given_up(clock: Clock) -> None:
    class Failing(Response):
        def cancel(self) -> None:
            raise BackPressureError(64, 64)

    handle = Handle(clock, running=[NONE_LEFT])
    late = Failing(clock, b"", LIMIT_S)
    handle.run.remote = lambda *_: late  # type: ignore[method-assign]
    with pytest.raises(ModelUnavailableError, match="no replica"):
        model_of(handle).run(JOBS)


@pytest.mark.parametrize(
    "error", [BackPressureError(64, 64), RayTaskError("run", "no traceback", ValueError("no pickle"))]
)
def test_other_errors_of_the_cluster_are_unavailable_and_not_tried_again(
    clock: Clock, error: Exception
) -> None:
    handle = Handle(clock, error)
    with pytest.raises(ModelUnavailableError, match=f"the cluster does not answer.*{type(error).__name__}"):
        model_of(handle).run(JOBS)
    assert len(handle.calls) == 1


@pytest.mark.parametrize("error", [NoMemoryError(), InvalidParameterError("target", "no such class")])
def test_errors_of_the_model_arrive_as_what_they_are(clock: Clock, error: Exception) -> None:
    def fail() -> None:
        raise error

    handle = Handle(clock)
    handle.run = Method(handle, lambda _: pack(fail))
    with pytest.raises(type(error)) as raised:
        model_of(handle).run(JOBS)
    assert str(raised.value) == str(error)
    assert len(handle.calls) == 1
