"""Prometheus metrics of the service. Labels have few values, and none that a client can choose."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from app.errors import EmptyImageError, RequestError, TooLargeError, UnreadableImageError

Refusal = Literal["queue_full", "deadline", "draining", "out_of_memory", "broken", "no_replica"]
"""Reason why a valid request was not computed."""
Failure = Literal["crash", "non_finite"]
"""Reason of an internal error."""

BAD_PICTURES: Mapping[type[RequestError], str] = {
    EmptyImageError: "bad-request",
    TooLargeError: "too-large",
    UnreadableImageError: "unreadable-image",
}
"""Label of a refused picture by the type of its error."""
OTHER = "other"
"""Label of a request that matched no route or was refused before routing."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
LEAKS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 10.0)


@dataclass(frozen=True)
class Families:
    """Metrics with their values; a collector of prometheus_client."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self.families


def exposition(families: Sequence[Metric], accept: str) -> tuple[bytes, str]:
    """Return metrics in Prometheus' format, and its media type; both depend on the Accept header."""
    encode, media_type = choose_encoder(accept)
    return encode(Families(families)), media_type


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="", registry=self._registry)
        self._requests = self._counter("requests", "Requests by route and status.", "route", "status")
        self._durations = self._histogram(
            "request_duration_seconds", "Time from the request's head to the answer's end.", SECONDS, "route"
        )
        self._stages = self._histogram(
            "stage_duration_seconds",
            "Time of decoding, the model and rendering; queue is the wait for all three.",
            SECONDS,
            "model",
            "stage",
        )
        self._batches = self._histogram("batch_size", "Pictures in a batch.", BATCH_SIZES, "model")
        self._leaks = self._histogram(
            "leak",
            "Share of relevance that an explanation lost or gained between output and input.",
            LEAKS,
            "model",
        )
        self._refused = self._counter("refused", "Valid requests that were not computed.", "model", "reason")
        self._failures = self._counter("failures", "Internal errors.", "model", "reason")
        self._cancelled = self._counter("cancelled", "Requests whose client disconnected before the answer.")
        self._bad_pictures = self._counter("bad_pictures", "Pictures that were refused.", "model", "reason")
        self._queue_depths = self._gauge("queue_depth", "Pictures that wait for the model.", "model")
        self._rendering_depth = self._gauge(
            "rendering_queue_depth", "Pictures that wait for decoding or rendering."
        )
        self._model = self._gauge("model_info", "A served model.", "name", "version", "device")
        # Looking up labels takes longer than counting, which matters under overload.
        self._of_route = cache(
            lambda route, status: (self._requests.labels(route, status), self._durations.labels(route))
        )
        self.of_model = cache(self._of_model)
        """Metrics of a model by its name; the empty name is for what concerns none."""

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request. ``route`` is the template of the route, never the requested address."""
        requests, durations = self._of_route(route, status)
        requests.inc()
        durations.observe(seconds)

    def refused_unread(self, status: int) -> None:
        """Count a request that was refused before routing; its duration is not observed."""
        self._of_route(OTHER, status)[0].inc()

    def rendering_depth(self, count: Callable[[], float]) -> None:
        """Set the function that counts pictures that wait for decoding or rendering."""
        self._rendering_depth.set_function(count)

    def cancelled(self) -> None:
        """Count a request whose client disconnected before the answer."""
        self._cancelled.inc()

    def model(self, name: str, version: str, device: str) -> None:
        """Add a served model."""
        self._model.labels(name, version, device).set(1)

    def families(self) -> list[Metric]:
        """Return the metrics of this process with their values."""
        return list(self._registry.collect())

    async def collected(self) -> Sequence[Metric]:
        """Return what ``/metrics`` exposes."""
        return self.families()

    def _of_model(self, name: str) -> "ModelMetrics":
        return ModelMetrics(
            name,
            self._stages,
            self._batches,
            self._leaks,
            self._refused,
            self._failures,
            self._bad_pictures,
            self._queue_depths,
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="lrpserve", registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="lrpserve", registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, namespace="lrpserve", registry=self._registry, buckets=buckets)


class ModelMetrics:
    """The metrics of one model, which have its name as a label."""

    def __init__(
        self,
        name: str,
        stages: Histogram,
        batches: Histogram,
        leaks: Histogram,
        refused: Counter,
        failures: Counter,
        bad_pictures: Counter,
        queue_depths: Gauge,
    ) -> None:
        self._name = name
        self._stages, self._batches, self._leaks = stages, batches, leaks
        self._bad_pictures, self._queue_depths = bad_pictures, queue_depths
        self._of_refusal = {reason: refused.labels(name, reason) for reason in get_args(Refusal)}
        self._of_failure = {reason: failures.labels(name, reason) for reason in get_args(Failure)}

    def stage(self, name: str, seconds: float) -> None:
        """Observe the time of one request in a stage; the stage ``queue`` is the wait for all others."""
        self._stages.labels(self._name, name).observe(seconds)

    def batch(self, size: int) -> None:
        """Observe the size of a batch."""
        self._batches.labels(self._name).observe(size)

    def queue_depth(self, count: Callable[[], float]) -> None:
        """Set the function that counts pictures that wait for the model; it is called when metrics are read."""
        self._queue_depths.labels(self._name).set_function(count)

    def refused(self, reason: Refusal) -> None:
        """Count a valid request that was not computed."""
        self._of_refusal[reason].inc()

    def failed(self, reason: Failure) -> None:
        """Count an internal error."""
        self._of_failure[reason].inc()

    def bad_picture(self, error: RequestError) -> None:
        """Count a picture that was refused with ``error``."""
        self._bad_pictures.labels(self._name, BAD_PICTURES.get(type(error), OTHER)).inc()

    def leak(self, share: float) -> None:
        """Observe the share of relevance that an explanation lost, or gained if negative."""
        self._leaks.labels(self._name).observe(abs(share))
