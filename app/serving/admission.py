"""Admission control: one bound on the pictures that the service holds for a model at the same time."""

from collections.abc import Mapping

from app.errors import UnavailableError
from app.models.card import Kind
from app.telemetry.metrics import ModelMetrics

QUEUE_FULL = "too many requests wait already; try again in a second"


class Admission:
    """Counts occupied places, up to ``capacity``. A place is one picture, from its arrival to its answer, or one
    sample of its explanation.

    Everything behind it is bounded by the same number: bodies, decoded pictures, the model's queue and results
    that wait to be rendered. Use it from one thread, the event loop's.
    """

    def __init__(self, capacity: int, metrics: ModelMetrics) -> None:
        self._capacity, self._metrics = capacity, metrics
        self._occupied = 0

    @property
    def occupied(self) -> int:
        """Number of places in use."""
        return self._occupied

    @property
    def capacity(self) -> int:
        """Number of places."""
        return self._capacity

    @property
    def is_full(self) -> bool:
        """Whether no place is free."""
        return self._occupied >= self._capacity

    def refuse_if_full(self) -> None:
        """Raise `UnavailableError` if no place is free."""
        if self.is_full:
            raise self.refusal()

    def refusal(self) -> UnavailableError:
        """Count one refused request, and return its error."""
        self.count_refusal()
        return UnavailableError(QUEUE_FULL)

    def count_refusal(self) -> None:
        """Count one refused request."""
        self._metrics.refused("queue_full")

    def occupy(self, places: int) -> bool:
        """Occupy all of ``places`` or, where fewer are free, none; return which."""
        if self._occupied + places > self._capacity:
            return False
        self._occupied += places
        return True

    def free(self, places: int) -> None:
        """Make ``places`` that were occupied available again."""
        self._occupied -= places


class Admissions:
    """The admission of each model, so that a model whose places are taken does not stand in the way of others."""

    def __init__(self, of_models: Mapping[str, Admission], defaults: Mapping[Kind, str]) -> None:
        """``of_models`` are by the models' names; ``defaults`` are some of these, by kind of input."""
        self._of_models = of_models
        self._defaults = {kind: of_models[name] for kind, name in defaults.items()}
        self._default = next(iter(self._defaults.values()))

    def of(self, name: str | None, kind: Kind = "image") -> Admission:
        """Return the admission of a model, that of the default one of ``kind`` for ``None`` and unknown names."""
        found = None if name is None else self._of_models.get(name)
        return found or self._defaults.get(kind, self._default)


class Ticket:
    """The places that one request holds: none at first, then one for each of its pictures, or samples."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._held = 0

    @property
    def held(self) -> int:
        """Number of places that the request holds."""
        return self._held

    def refuse_if_full(self) -> None:
        """Raise `UnavailableError` if no place is free."""
        self._admission.refuse_if_full()

    def try_acquire(self, places: int = 1) -> bool:
        """Hold at least ``places``, including those already held; return whether enough were free.

        Nothing changes if there were too few, or if the request holds as many already.
        """
        missing = max(0, places - self._held)
        if not self._admission.occupy(missing):
            return False
        self._held += missing
        return True

    def acquire(self, places: int = 1) -> None:
        """Like `try_acquire`, but raise `UnavailableError` if too few places were free."""
        if not self.try_acquire(places):
            raise self._admission.refusal()

    def acquire_weight(self, places: int) -> None:
        """Like `acquire`, but a request that needs more places than there are takes all of them."""
        self.acquire(min(places, self._admission.capacity))

    def release(self) -> None:
        """Free all places that the request holds."""
        self._admission.free(self._held)
        self._held = 0
