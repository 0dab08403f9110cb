"""A replica of a model, called as Serve calls it."""

import asyncio
import os
import pickle
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from app.cluster.model_replica import EXIT_LOST, ModelReplica
from app.models.local import LocalModel
from app.models.protocol import Job, JobResult, ModelLostError
from app.runtime.remote_errors import RemoteError, unpack
from app.settings import Settings, shipped_model

LIMIT_S = 60
CALL, NEXT = "call", "next"
JOB = Job(np.zeros((3, 32, 32), np.float32))


def replica(limit_s: float = LIMIT_S) -> ModelReplica:
    return ModelReplica(shipped_model(), Settings(model_limit_s=limit_s), cores=1)


@pytest.fixture(autouse=True)
def _keep_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas configure the logging of their process, which is not that of tests."""
    monkeypatch.setattr("app.cluster.model_replica.configure", lambda _: None)


def test_jobs_and_results_are_pickled_and_errors_are_data() -> None:
    one = replica()
    results, error = unpack(asyncio.run(one.run(CALL, pickle.dumps([JOB]))))
    assert error is None
    expected = LocalModel.load(shipped_model(), "cpu", 1).run([JOB])
    assert results[0].logits == pytest.approx(expected[0].logits, rel=1e-4, abs=1e-5)
    assert asyncio.run(one.describe()).card.name == "minivgg-cifar10"
    assert unpack(asyncio.run(one.prepare_reference(CALL))) == (None, None)
    _, error = unpack(asyncio.run(one.run(CALL, pickle.dumps([Job(np.zeros(3, np.float32))]))))
    assert isinstance(error, RemoteError)


def test_a_replica_knows_what_it_runs_and_is_ill_while_a_batch_runs_for_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def run(_self: LocalModel, jobs: Sequence[Job]) -> list[JobResult]:
        started.set()
        assert go_on.wait(LIMIT_S)
        assert len(jobs) == 1
        return []

    one = replica(limit_s=1e-6)
    monkeypatch.setattr(LocalModel, "run", run)
    one.check_health()

    async def scene() -> None:
        batch = asyncio.create_task(one.run(CALL, pickle.dumps([JOB])))
        assert await asyncio.to_thread(started.wait, LIMIT_S)
        with pytest.raises(RuntimeError, match="a batch runs for more than 1e-06 s"):
            one.check_health()
        waiting = asyncio.create_task(one.prepare_reference(NEXT))
        await asyncio.sleep(0)
        assert [await one.has(call) for call in (CALL, NEXT, "other")] == [True, True, False]
        go_on.set()
        await asyncio.gather(batch, waiting)
        assert [await one.has(call) for call in (CALL, NEXT)] == [False, False]

    asyncio.run(scene())
    one.check_health()


def test_a_replica_ends_with_its_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []

    def lose(_self: LocalModel, jobs: Sequence[Job]) -> list[JobResult]:
        raise ModelLostError(f"CUDA error in a batch of {len(jobs)}")

    monkeypatch.setattr(LocalModel, "run", lose)
    monkeypatch.setattr(os, "_exit", codes.append)
    asyncio.run(replica().run(CALL, pickle.dumps([JOB])))
    assert codes == [EXIT_LOST]
