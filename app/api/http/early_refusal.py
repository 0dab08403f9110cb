"""Refuses, in microseconds, what there is no room for: under overload that is most of what comes, and each
refusal takes time from those who are let in.
"""

import asyncio
import logging
import random
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from app.api.http.problem_types import PROBLEM_TYPES
from app.api.http.problems import PROTOCOLS, content_of, problem_of_public
from app.errors import UnavailableError
from app.runtime.batcher import QUEUE_FULL
from app.serving.pipeline import Pipeline
from app.telemetry.logs import fields
from app.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

COMPUTING = ("/predict", "/explain", "/compare", "/v1/", "/v2/")
"""Where the addresses begin that take a picture."""
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")
PLACEHOLDER = "~"
"""Neither in an ID nor in anything else that a refusal says."""
ANSWERS_KEPT = 512
REPORT_EVERY_S = 1.0
REFUSAL = (
    "HTTP/1.1 {status} {title}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n{headers}"
    "x-request-id: {request_id}\r\nserver-timing: total;dur=0.00\r\nconnection: {connection}\r\n\r\n"
)


class Doorman:
    """Stands before the application, where HTTP is still bytes. Whom it turns away has no line of its own in the
    log, which would cost more than the answer: there is one a second, with their number.
    """

    def __init__(self) -> None:
        self._inside = self._unreported = 0

    def let_in(self, scope: Mapping[str, Any]) -> bool:
        """A request that was not refused has arrived whole; whether it takes room from others until `let_out`.

        Counted here, as many arrive before the first of them gets to the pipeline. Before a request has arrived
        it takes none: who sends slowly keeps nobody out.
        """
        counts = is_computed(scope["method"], scope["path"])
        self._inside += counts
        return counts

    def let_out(self) -> None:
        """One of those who take room is answered, or has left."""
        self._inside -= 1

    def refusal(
        self,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        state: Mapping[str, Any],
        *,
        keep_alive: bool,
    ) -> bytes | None:
        """The whole answer to a request with this head, where it is not to be let in; ``state`` is the
        application's.
        """
        path = target.partition(b"?")[0].decode("latin-1")
        if not is_computed(method.decode("latin-1"), path):
            return None
        pipeline: Pipeline = state["pipeline"]
        if not pipeline.is_full(self._inside):
            return None
        metrics: Metrics = state["metrics"]
        metrics.refused_unread("queue_full", PROBLEM_TYPES[UnavailableError].status)
        self._note()
        given = next((value for name, value in headers if name == b"x-request-id"), b"")
        sane = request_id(given.decode("latin-1"))
        answer = _answer(QUEUE_FULL, path.startswith(PROTOCOLS), keep_alive, len(sane))
        return answer.replace(PLACEHOLDER.encode() * len(sane), sane.encode())

    def _note(self) -> None:
        if not self._unreported:
            asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._report)
        self._unreported += 1

    def _report(self) -> None:
        log.warning("refused", extra=fields(reason="queue_full", requests=self._unreported))
        self._unreported = 0


def is_computed(method: str, path: str) -> bool:
    """Whether such a request takes the model's time; only those are refused when there is none."""
    return method == "POST" and path.startswith(COMPUTING)


def request_id(sent: str) -> str:
    """The caller's if it is sane, else a new one.

    Not of the system's randomness: asking for it gives the interpreter away, which others wait for under load.
    """
    return sent if SANE_REQUEST_ID.fullmatch(sent) else f"{random.getrandbits(128):032x}"


@lru_cache(ANSWERS_KEPT)
def _answer(detail: str, in_protocol: bool, keep_alive: bool, id_length: int) -> bytes:
    """The answer to all such requests, with as many `PLACEHOLDER` as their ID has letters in its place."""
    problem = problem_of_public(UnavailableError(detail), PLACEHOLDER * id_length)
    content, media_type = content_of(problem, PROTOCOLS[0] if in_protocol else "")
    headers = PROBLEM_TYPES[UnavailableError].headers
    head = REFUSAL.format(
        status=problem.status,
        title=problem.title,
        media_type=media_type,
        length=len(content.encode()),
        headers="".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items()),
        request_id=problem.instance,
        connection="keep-alive" if keep_alive else "close",
    )
    return head.encode("latin-1") + content.encode()
