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

LOST = "the machine that computed it was lost; try again in a second"
TOO_LONG = "took longer than {:g} s; try again later"
NO_REPLICA = "the model is being started again; try again in a second"
TRIES = 3
"""Times that a call is sent: one may go to a replica on a machine that is lost, again, before Ray knows."""
PARTS = 8
"""Of the wait for a replica: one before replicas are asked for a call, and one for their answer, so that three
lost calls take less than the wait."""


class RemoteModel:
    """The replicas of a deployment of `app.cluster.model_replica.ModelReplica`; an `app.models.protocol.Model`.

    What a replica runs when it is lost is run again by another one. Ray notices a lost machine late, so replicas
    are asked which of them runs a call that is not answered soon.
    """

    def __init__(
        self,
        handle: Any,  # of Ray's types, one is for streams as well
        description: Description,
        *,
        wait_s: float,
        limit_s: float,
    ) -> None:
        """``limit_s``: how long a batch may run; ``wait_s``: how long others wait behind it, and thus more
        than it waits where no replica answers.
        """
        self.description = description
        self._handle = handle
        self._wait_s, self._limit_s = wait_s, limit_s

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
        """Return what a replica returns, or another one if that is lost."""
        for _ in range(TRIES):
            call = uuid.uuid4().hex
            with contextlib.suppress(_LostError):
                return self._reply_of(call, send(call))
            log.warning("a replica of %s was lost", self.description.card.name)
        raise ModelUnavailableError(LOST)

    def _reply_of(self, call: str, response: Any) -> bytes:
        """Wait for the reply while a replica runs the call, or one may still start; raises `_LostError`."""
        started = reached = time.monotonic()
        try:
            while (reply := _result(response, self._wait_s / PARTS)) is None:
                is_running, now = self._is_running(call), time.monotonic()
                if is_running is False:
                    return _final(response)
                if is_running:
                    reached = now
                if now - reached >= self._wait_s / 2:
                    raise ModelUnavailableError(NO_REPLICA)
                if now - started >= self._limit_s:
                    raise ModelUnavailableError(TOO_LONG.format(self._limit_s))
        except (_LostError, ModelUnavailableError):
            response.cancel()
            raise
        return reply

    def _is_running(self, call: str) -> bool | None:
        """Return whether any of the replicas that answer runs the call; ``None`` if none answers."""
        try:
            answers = self._handle.broadcast("runs", call).results(
                timeout_s=self._wait_s / PARTS, return_exceptions=True
            )
        except (TimeoutError, DeploymentUnavailableError):
            return None
        return max((one for one in answers if isinstance(one, bool)), default=None)


class _LostError(Exception):
    """No replica runs a call any more."""


def _final(response: Any) -> bytes:
    """Return the reply that arrived meanwhile; raises `_LostError` if none did."""
    reply = _result(response, 0)
    if reply is None:
        raise _LostError
    return reply


def _result(response: Any, timeout_s: float) -> bytes | None:
    """Return the result of a call, ``None`` if it does not end in time; raises `_LostError`."""
    try:
        reply: bytes = response.result(timeout_s=timeout_s)
    except TimeoutError:
        return None
    except RayActorError:
        raise _LostError from None
    except (RayError, RayServeException) as error:
        raise ModelUnavailableError(
            f"the cluster does not answer ({type(error).__name__}); try again"
        ) from error
    return reply
