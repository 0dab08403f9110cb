"""A model in other processes of the cluster, as the ingress sees it."""

import contextlib
import logging
import pickle
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException

from app.models.protocol import Description, Job, JobResult, ModelLostError, ModelUnavailableError
from app.runtime.remote_errors import unpack

log = logging.getLogger(__name__)

LOST = "the replicas that computed it were lost; try again in a second"
TOO_LONG = "took longer than {:g} s; try again later"
NO_REPLICA = "no replica of the model answers now; try again in a second"
PARTS = 16
"""Of the wait: one passes before replicas are asked for a call, and one at most until they answer."""
LEAST_PART_S = 0.2
MISSES = 3
"""Times in a row that no replica has a call before it is lost: it, or its result, may be on its way."""
MOST_ENDED = 2
"""Replicas that may end while they run the same call, which may be the cause."""


class RemoteModel:
    """The replicas of a deployment of `app.cluster.model_replica.ModelReplica`; an `app.models.protocol.Model`.

    What a replica runs when it is lost is run again by another one. Ray notices a lost machine late, so replicas
    are asked which of them has a call that is not answered soon.
    """

    def __init__(
        self,
        handle: Any,  # of Ray's types, one is for streams as well
        description: Description,
        *,
        wait_s: float,
        limit_s: float,
    ) -> None:
        """``limit_s``: how long a batch may take; ``wait_s``: how long others wait behind it.

        It is given up after three quarters of ``wait_s`` in which no replica was known to have it.
        """
        self.description = description
        self._handle = handle
        self._unreached_s, self._limit_s = 0.75 * wait_s, limit_s
        self._part_s = max(wait_s / PARTS, LEAST_PART_S)

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """See `app.models.protocol.Model`; raises `ModelUnavailableError` if no replica answers."""
        message = pickle.dumps(jobs, pickle.HIGHEST_PROTOCOL)
        results: list[JobResult] = self._unpacked(lambda call: self._handle.run.remote(call, message))
        return results

    def prepare_reference(self) -> None:
        """See `app.models.protocol.Model`; a replica that has not done it does it when it needs the reference."""
        self._unpacked(self._handle.prepare_reference.remote)

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """See `app.models.protocol.Model`; a lost replica is replaced, so that the model is never lost."""

    def kill(self) -> None:
        """See `app.models.protocol.Model`; replicas are of all ingresses, and end with the deployment."""

    def _unpacked(self, send: Callable[[str], Any]) -> Any:
        """Return the result of the call that ``send`` sends under an ID, or raise its error."""
        result, error = unpack(self._reply(send))
        if error is not None:
            raise error
        return result

    def _reply(self, send: Callable[[str], Any]) -> bytes:
        """Return what a replica returns; a call that is lost is sent again."""
        progress = _Progress(self._unreached_s, self._limit_s)
        while True:
            call = uuid.uuid4().hex
            try:
                return self._reply_of(call, send(call), progress)
            except _LostError as lost:
                log.warning("a call of %s was lost: %s", self.description.card.name, lost)
                progress.ended += lost.has_ended
            if progress.ended == MOST_ENDED:
                raise ModelUnavailableError(LOST)

    def _reply_of(self, call: str, response: Any, progress: "_Progress") -> bytes:
        """Wait for the reply while a replica has the call, or one may still start; raises `_LostError`."""
        misses = 0
        while (reply := _result(response, self._part_s)) is None:
            is_known = self._is_known(call)
            misses = misses + 1 if is_known is False else 0
            try:
                progress.check(is_known)
                if misses == MISSES:
                    raise _LostError("no replica has it")
            except (_LostError, ModelUnavailableError):
                _cancel(response)
                raise
        return reply

    def _is_known(self, call: str) -> bool | None:
        """Return whether any of the replicas that answer has the call; ``None`` if none answers."""
        try:
            answers = self._handle.broadcast("has", call).results(
                timeout_s=self._part_s, return_exceptions=True
            )
        except (TimeoutError, DeploymentUnavailableError):
            return None
        return max((one for one in answers if isinstance(one, bool)), default=None)


class _Progress:
    """Of a call, over all times that it is sent."""

    def __init__(self, unreached_s: float, limit_s: float) -> None:
        """``unreached_s``: how long no replica may be known to have it; ``limit_s``: how long it may take."""
        self._unreached_s, self._limit_s = unreached_s, limit_s
        self._started = self._reached = time.monotonic()
        self.ended = 0
        """Replicas that ended with it."""

    def check(self, is_known: bool | None) -> None:
        """Raise `ModelUnavailableError` if it took too long; ``is_known``: whether a replica has the call now."""
        now = time.monotonic()
        if is_known:
            self._reached = now
        if now - self._reached >= self._unreached_s:
            raise ModelUnavailableError(NO_REPLICA)
        if now - self._started >= self._limit_s:
            raise ModelUnavailableError(TOO_LONG.format(self._limit_s))


class _LostError(Exception):
    """A call has no result; ``has_ended``: because its replica ended."""

    def __init__(self, why: str, *, has_ended: bool = False) -> None:
        super().__init__(why)
        self.has_ended = has_ended


def _cancel(response: Any) -> None:
    """Cancel a call; one that failed meanwhile raises why."""
    with contextlib.suppress(RayError, RayServeException):
        response.cancel()


def _result(response: Any, timeout_s: float) -> bytes | None:
    """Return the result of a call, ``None`` if it does not end in time; raises `_LostError`."""
    try:
        reply: bytes = response.result(timeout_s=timeout_s)
    except TimeoutError:
        return None
    except RayActorError as error:
        raise _LostError(type(error).__name__, has_ended=True) from None
    except (RayError, RayServeException) as error:
        raise ModelUnavailableError(
            f"the cluster does not answer ({type(error).__name__}); try again"
        ) from error
    return reply
