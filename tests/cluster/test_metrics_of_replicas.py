"""Metrics of several replicas, in one answer."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from ray.exceptions import ActorDiedError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError

from app.cluster.metrics import ANSWER_S, MetricsOfReplicas
from app.telemetry.metrics import Metrics, exposition


class Broadcast:
    """What the replicas answer, as ``DeploymentBroadcastResponse`` of Serve returns or raises it."""

    def __init__(self, answers: Sequence[Any] | Exception) -> None:
        self._answers = answers

    async def results_async(self, *, timeout_s: float, return_exceptions: bool) -> Sequence[Any]:
        assert (timeout_s, return_exceptions) == (ANSWER_S, True)
        if isinstance(self._answers, Exception):
            raise self._answers
        return self._answers


def counted(name: str, batches: Sequence[int]) -> dict[str, list[Metric]]:
    metrics = MetricsOfReplicas(name, lambda: None)
    for size in batches:
        metrics.of_model("one").batch(size)
    return metrics.own()


def exposed(answers: Sequence[Any] | Exception, accept: str = "") -> str:
    """Return what the replica ``a``, which has run a batch of 2, exposes where the others answer so."""
    metrics = MetricsOfReplicas("a", lambda: Broadcast(answers))
    metrics.of_model("one").batch(2)
    return exposition(asyncio.run(metrics.collected()), accept)[0].decode()


def batches(text: str) -> Mapping[str, float]:
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {one.labels["replica"]: one.value for one in samples if one.name == "lrpserve_batch_size_count"}


def test_samples_of_all_replicas_have_their_names() -> None:
    text = exposed([counted("a", [1, 1, 1]), counted("b", [4, 4])])
    assert batches(text) == {"a": 1, "b": 2}  # its own at this moment
    assert 'lrpserve_batch_size_bucket{le="2.0",model="one",replica="b"} 0.0' in text
    assert 'lrpserve_batch_size_bucket{le="2.0",model="one",replica="a"} 1.0' in text


def test_each_family_is_described_once_and_is_one_without_ray_but_for_the_label() -> None:
    alone = Metrics()
    alone.of_model("one").batch(2)
    described = [line for line in exposed([counted("b", [4])]).splitlines() if line.startswith("#")]
    assert described == [
        line for line in exposition(alone.families(), "")[0].decode().splitlines() if line.startswith("#")
    ]


def test_it_is_openmetrics_where_that_is_wanted() -> None:
    assert exposed([counted("b", [4])], "application/openmetrics-text; version=1.0.0").endswith("# EOF\n")


@pytest.mark.parametrize("error", [TimeoutError(), DeploymentUnavailableError(DeploymentID("ingress"))])
def test_its_own_are_exposed_where_no_replica_answers(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert batches(exposed(error)) == {"a": 1}
    assert f"metrics of a replica are missing: {type(error).__name__}" in caplog.text


def test_those_of_a_lost_replica_are_missing(caplog: pytest.LogCaptureFixture) -> None:
    assert batches(exposed([ActorDiedError(), counted("b", [4])])) == {"a": 1, "b": 1}
    assert "metrics of a replica are missing: ActorDiedError" in caplog.text
