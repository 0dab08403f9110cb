"""A model in other processes of the cluster, as the ingress sees it."""

import contextlib
import logging
import pickle
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import RayServeException

from app.models.protocol import Description, Job, JobResult, ModelLostError, ModelUnavailableError
from app.runtime.remote_errors import unpack

log = logging.getLogger(__name__)

LOST = "the machine that computed it was lost; try again in a second"
TOO_LONG = "took longer than {:g} s; try again later"
PINGS = 3
"""Attempts to reach a replica: one may go to a replica on a machine that is lost, before Ray knows."""
NO_REPLICA = "the model is being started again; try again in a second"


class RemoteModel:
    """The replicas of a deployment of `app.cluster.model_replica.ModelReplica`; an `app.models.protocol.Model`.

    What a replica runs when it is lost is tried once more on another one.
    """

    def __init__(
        self,
        handle: Any,  # of Ray's types, one is for streams as well
        description: Description,
        *,
        wait_s: float,
        limit_s: float,
    ) -> None:
        """``wait_s``: how long a batch waits where there is no replica; ``limit_s``: how long where there is."""
        self.description = description
        self._handle = handle
        self._wait_s, self._limit_s = wait_s, limit_s

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """See `app.models.protocol.Model`; raises `ModelUnavailableError` if no replica answers."""
        message = pickle.dumps(jobs, pickle.HIGHEST_PROTOCOL)
        results: list[JobResult] = self._unpacked(lambda: self._handle.run.remote(message))
        return results

    def prepare_reference(self) -> None:
        """See `app.models.protocol.Model`; a replica that has not done it does it when it needs the reference."""
        self._unpacked(self._handle.prepare_reference.remote)

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """See `app.models.protocol.Model`; a lost replica is replaced, so that the model is never lost."""

    def kill(self) -> None:
        """See `app.models.protocol.Model`; replicas are of all ingresses, and end with the deployment."""

    def _unpacked(self, call: Callable[[], Any]) -> Any:
        result, error = unpack(self._reply(call))
        if error is not None:
            raise error
        return result

    def _reply(self, call: Callable[[], Any]) -> bytes:
        """Return what a replica returns, or another one if that is lost."""
        with contextlib.suppress(RayActorError):
            return self._try(call)
        try:
            return self._try(call)
        except RayActorError:
            raise ModelUnavailableError(LOST) from None

    def _try(self, call: Callable[[], Any]) -> bytes:
        """Return what a replica returns; raises `RayActorError` if it is lost meanwhile."""
        response = call()
        try:
            return self._reply_of(response)
        except RayActorError:
            log.warning("a replica of %s was lost", self.description.card.name)
            raise
        except ModelUnavailableError:
            response.cancel()
            raise

    def _reply_of(self, response: Any) -> bytes:
        """Wait for the result; after half of ``wait_s``, only if there is a replica, which Ray does not tell."""
        reply: bytes | None = _result(response, self._wait_s / 2)
        if reply is None:
            self._check_reachable(self._wait_s / 2)
            reply = _result(response, self._limit_s)
        if reply is None:
            raise ModelUnavailableError(TOO_LONG.format(self._limit_s))
        return reply

    def _check_reachable(self, timeout_s: float) -> None:
        """Raise `ModelUnavailableError` if no replica answers in time."""
        for _ in range(PINGS):
            ping = self._handle.describe.remote()
            with contextlib.suppress(RayActorError):
                if _result(ping, timeout_s / PINGS) is not None:
                    return
            ping.cancel()
        raise ModelUnavailableError(NO_REPLICA)


def _result(response: Any, timeout_s: float) -> Any:
    """Return the result of a call, ``None`` if it does not end in time; raises `RayActorError`."""
    try:
        return response.result(timeout_s=timeout_s)
    except TimeoutError:
        return None
    except RayActorError:
        raise
    except (RayError, RayServeException) as error:
        raise ModelUnavailableError(
            f"the cluster does not answer ({type(error).__name__}); try again"
        ) from error
