"""What is counted about the service, for Prometheus. Labels have few values, none that a user can invent."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from app.errors import EmptyImageError, RequestError, TooLargeError, UnreadableImageError

Refusal = Literal["queue_full", "deadline", "draining", "out_of_memory", "broken"]
"""Why a request was not computed although nothing was wrong with it."""
Failure = Literal["crash", "non_finite"]
"""What went wrong on our side."""

BAD_PICTURES: Mapping[type[RequestError], str] = {
    EmptyImageError: "bad-request",
    TooLargeError: "too-large",
    UnreadableImageError: "unreadable-image",
}
"""Label of a refused picture, by the type of the error."""
UNREAD = "other"
"""The route of a request that was not looked at any closer."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
LEAKS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 10.0)


class Metrics:
    """The counters of one application, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(namespace="", registry=self._registry)
        self._requests = self._counter("requests", "Requests by route and status.", "route", "status")
        self._durations = self._histogram(
            "request_duration_seconds", "From the request's head to the answer's end.", SECONDS, "route"
        )
        self._stages = self._histogram(
            "stage_duration_seconds",
            "Decoding, the model, rendering; queue is the wait for all three.",
            SECONDS,
            "stage",
        )
        self._batches = self._histogram("batch_size", "Pictures that the model took at once.", BATCH_SIZES)
        self._leaks = self._histogram(
            "leak", "Share of relevance that was lost, or came in, on the way.", LEAKS
        )
        self._refused = self._counter("refused", "Sound requests that were not computed.", "reason")
        self._failures = self._counter("failures", "What went wrong on our side.", "reason")
        self._cancelled = self._counter("cancelled", "Requests whose client left before the answer.")
        self._bad_pictures = self._counter("bad_pictures", "Pictures that were refused.", "reason")
        self._queue_depth = Gauge(
            "queue_depth",
            "Pictures that wait for the model, or to be opened or drawn.",
            namespace="lrpserve",
            registry=self._registry,
        )
        self._model = Gauge(
            "model_info",
            "The model that answers.",
            ("name", "version", "device"),
            namespace="lrpserve",
            registry=self._registry,
        )
        # Looking labels up costs more than counting, and most of what comes under overload is refused.
        self._of_route = cache(
            lambda route, status: (self._requests.labels(route, status), self._durations.labels(route))
        )
        self._of_refusal = {reason: self._refused.labels(reason) for reason in get_args(Refusal)}
        for reason in get_args(Failure):
            self._failures.labels(reason)

    def request(self, route: str, status: int, seconds: float) -> None:
        """One request was answered. ``route`` is a template out of the code, never the address asked for."""
        requests, durations = self._of_route(route, status)
        requests.inc()
        durations.observe(seconds)

    def refused_unread(self, reason: Refusal, status: int) -> None:
        """One request was refused by its head alone, in no time that would tell anything."""
        self._of_refusal[reason].inc()
        self._of_route(UNREAD, status)[0].inc()

    def stage(self, name: str, seconds: float) -> None:
        """One request spent ``seconds`` in this stage; ``queue`` is the wait for the model."""
        self._stages.labels(name).observe(seconds)

    def batch(self, size: int) -> None:
        """The model took ``size`` pictures at once."""
        self._batches.observe(size)

    def queue_depth(self, ask: Callable[[], float]) -> None:
        """``ask`` says how many pictures wait; it is called when somebody looks."""
        self._queue_depth.set_function(ask)

    def refused(self, reason: Refusal) -> None:
        """A sound request was not computed."""
        self._of_refusal[reason].inc()

    def failed(self, reason: Failure) -> None:
        """Something went wrong on our side."""
        self._failures.labels(reason).inc()

    def cancelled(self) -> None:
        """A client left before its answer."""
        self._cancelled.inc()

    def bad_picture(self, error: RequestError) -> None:
        """Count a picture that was refused with ``error``."""
        self._bad_pictures.labels(BAD_PICTURES.get(type(error), UNREAD)).inc()

    def leak(self, share: float) -> None:
        """An explanation lost this share of its relevance on the way, or gained it where negative."""
        self._leaks.observe(abs(share))

    def model(self, name: str, version: str, device: str) -> None:
        """This model answers."""
        self._model.labels(name, version, device).set(1)

    def exposed(self, accept: str) -> tuple[bytes, str]:
        """All of it as Prometheus reads it, and the media type, of those in an Accept header."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="lrpserve", registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, namespace="lrpserve", registry=self._registry, buckets=buckets)
