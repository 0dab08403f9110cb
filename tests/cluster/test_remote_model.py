"""What the application does when replicas of a model are lost or late, with a handle that is no cluster's."""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fake_model import DESCRIPTION, FakeModel
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError

from app.cluster.remote_model import PINGS, RemoteModel
from app.errors import InvalidParameterError
from app.models.protocol import Job, ModelUnavailableError, NoMemoryError
from app.runtime.remote_errors import pack

WAIT_S, LIMIT_S = 5.0, 60.0
JOBS = [Job(np.full((1, 48, 64), value, np.float32)) for value in (0.25, 0.5)]


class Response:
    """Raises ``failures`` one after the other, then returns ``result``."""

    def __init__(self, result: object, failures: Sequence[Exception]) -> None:
        self._result, self._failures = result, list(failures)
        self.is_cancelled, self.timeouts_s = False, list[float]()

    def result(self, timeout_s: float) -> object:
        self.timeouts_s.append(timeout_s)
        if self._failures:
            raise self._failures.pop(0)
        return self._result

    def cancel(self) -> None:
        self.is_cancelled = True


class Method:
    def __init__(self, handle: "Handle", name: str, answer: Callable[..., object]) -> None:
        self._handle, self._name, self._answer = handle, name, answer

    def remote(self, *arguments: Any) -> Response:
        failures = self._handle.failures.pop(0) if self._handle.failures else []
        response = Response(self._answer(*arguments), failures)
        self._handle.calls.append((self._name, response))
        return response


class Handle:
    """Answers as replicas of a fake model do; the first calls fail, each with a sequence of ``failures``."""

    def __init__(self, *failures: Sequence[Exception]) -> None:
        self.failures, self.calls = list(failures), list[tuple[str, Response]]()
        self.run = Method(self, "run", lambda jobs: pack(lambda: FakeModel().run(pickle.loads(jobs))))
        self.describe = Method(self, "describe", lambda: DESCRIPTION)
        self.prepare_reference = Method(self, "prepare_reference", lambda: pack(lambda: None))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def model_of(handle: Handle) -> RemoteModel:
    return RemoteModel(handle, DESCRIPTION, wait_s=WAIT_S, limit_s=LIMIT_S)


def assert_answers(model: RemoteModel, jobs: Sequence[Job] = JOBS) -> None:
    logits = [result.logits for result in model.run(jobs)]
    assert logits == [result.logits for result in FakeModel().run(jobs)]


def test_results_are_the_replicas() -> None:
    handle = Handle()
    assert_answers(model_of(handle))
    model_of(handle).prepare_reference()
    assert handle.names == ["run", "prepare_reference"]
    assert not any(response.is_cancelled for _, response in handle.calls)


@pytest.mark.parametrize("loss", [ActorDiedError(), ActorUnavailableError("it does not answer", None)])
def test_a_batch_whose_replica_is_lost_is_run_once_more(loss: Exception) -> None:
    handle = Handle([loss])
    assert_answers(model_of(handle))
    assert handle.names == ["run", "run"]


def test_a_batch_that_loses_two_replicas_is_unavailable_and_the_next_one_is_answered() -> None:
    handle = Handle([ActorDiedError()], [ActorDiedError()])
    model = model_of(handle)
    with pytest.raises(ModelUnavailableError, match="was lost; try again in a second"):
        model.run(JOBS)
    assert handle.names == ["run", "run"]
    assert_answers(model)


def test_a_batch_may_take_longer_than_the_wait_for_a_replica_if_there_is_one() -> None:
    handle = Handle([TimeoutError()])
    assert_answers(model_of(handle))
    assert handle.names == ["run", "describe"]
    run, ping = (response for _, response in handle.calls)
    assert run.timeouts_s == [WAIT_S / 2, LIMIT_S]
    assert ping.timeouts_s == [WAIT_S / 2 / PINGS]
    assert not run.is_cancelled


def test_without_a_replica_a_batch_is_unavailable_after_a_short_wait() -> None:
    handle = Handle(*[[TimeoutError()]] * (1 + PINGS))
    model = model_of(handle)
    with pytest.raises(ModelUnavailableError, match="being started again; try again in a second"):
        model.run(JOBS)
    assert handle.names == ["run", *["describe"] * PINGS]
    assert sum(sum(response.timeouts_s) for _, response in handle.calls) == pytest.approx(WAIT_S)
    assert all(response.is_cancelled for _, response in handle.calls)
    assert_answers(model)


@pytest.mark.parametrize("loss", [TimeoutError(), ActorDiedError()])
def test_a_ping_that_goes_to_a_lost_replica_is_not_the_only_one(loss: Exception) -> None:
    handle = Handle([TimeoutError()], [loss])
    assert_answers(model_of(handle))
    assert handle.names == ["run", "describe", "describe"]


def test_a_batch_that_takes_too_long_is_given_up() -> None:
    handle = Handle([TimeoutError(), TimeoutError()])
    with pytest.raises(ModelUnavailableError, match="took longer than 60 s"):
        model_of(handle).run(JOBS)
    assert handle.calls[0][1].is_cancelled


def test_a_replica_that_is_lost_after_the_wait_is_lost_all_the_same() -> None:
    handle = Handle([TimeoutError(), ActorDiedError()])
    assert_answers(model_of(handle))
    assert handle.names == ["run", "describe", "run"]


@pytest.mark.parametrize(
    "error", [BackPressureError(64, 64), RayTaskError("run", "no traceback", ValueError("no pickle"))]
)
def test_other_errors_of_the_cluster_are_unavailable_and_not_tried_again(error: Exception) -> None:
    handle = Handle([error])
    with pytest.raises(ModelUnavailableError, match=f"the cluster does not answer.*{type(error).__name__}"):
        model_of(handle).run(JOBS)
    assert handle.names == ["run"]


@pytest.mark.parametrize("error", [NoMemoryError(), InvalidParameterError("target", "no such class")])
def test_errors_of_the_model_arrive_as_what_they_are(error: Exception) -> None:
    def fail() -> None:
        raise error

    handle = Handle()
    handle.run = Method(handle, "run", lambda _: pack(fail))
    with pytest.raises(type(error)) as raised:
        model_of(handle).run(JOBS)
    assert str(raised.value) == str(error)
    assert handle.names == ["run"]
