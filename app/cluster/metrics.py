"""Metrics of all replicas of the application, whichever of them answers ``/metrics``."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client.metrics_core import Metric
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from app.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

LABEL = "replica"
"""As in Ray's own metrics. A sum over replicas instead would fall where one ends, as counters must not."""
ANSWER_S = 2.0
"""How long the replicas may take, well below the ten seconds that Prometheus waits."""


class MetricsOfReplicas(Metrics):
    """The metrics of one replica, and when they are collected, those of all."""

    def __init__(self, replica: str, call_all: Callable[[], Any]) -> None:
        """``call_all`` calls `own` of all running replicas, as ``broadcast`` of a handle of Serve does."""
        super().__init__()
        self._replica, self._call_all = replica, call_all

    def own(self) -> dict[str, list[Metric]]:
        """Return the metrics of this replica, by its name."""
        return {self._replica: self.families()}

    async def collected(self) -> Sequence[Metric]:
        """Return the metrics of all replicas, without those that do not answer; see `labelled`."""
        found: dict[str, list[Metric]] = {}
        for answer in await self._answers():
            if isinstance(answer, BaseException):
                log.warning("metrics of a replica are missing: %s", type(answer).__name__)
            else:
                found |= answer
        return labelled(found | self.own())

    async def _answers(self) -> Sequence[Any]:
        """Return what each replica answers, or why it does not."""
        try:
            answers: list[Any] = await self._call_all().results_async(
                timeout_s=ANSWER_S, return_exceptions=True
            )
        except (TimeoutError, RayError, RayServeException) as error:
            return [error]
        return answers


def labelled(replicas: Mapping[str, Sequence[Metric]]) -> list[Metric]:
    """Return each family once, with the samples of all replicas, which have the name of theirs as a label."""
    found: dict[str, Metric] = {}
    for replica, families in replicas.items():
        for one in families:
            samples = [sample._replace(labels={**sample.labels, LABEL: replica}) for sample in one.samples]
            family = found.setdefault(one.name, Metric(one.name, one.documentation, one.type))
            family.samples += samples
    return list(found.values())
