"""Refuses requests from their head alone while the service is full.

Under overload most requests are refused, and each refusal takes time from the requests that were admitted: the
whole answer is made here, as bytes, without the application.
"""

import asyncio
import logging
import random
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers

from app.api.http.access import has_key
from app.api.http.pace import Pace
from app.api.http.problem_types import PROBLEM_TYPES
from app.api.http.problems import PROTOCOLS, content_of, problem_of_public
from app.api.http.root_path import without_prefix
from app.errors import UnavailableError
from app.models.card import TWIN_SUFFIX, Kind
from app.serving.admission import QUEUE_FULL, Admissions
from app.telemetry.logs import fields
from app.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

COMPUTING = ("/predict", "/explain", "/compare", "/evaluate", "/v1/models/", "/v2/models/")
"""Prefixes of the paths whose requests have pictures to compute."""
SUFFIXES: Mapping[str, Kind] = {"text": "text", "table": "table"}
"""Kinds of input by the last part of a path."""
MODEL_IN_PATH = re.compile(r"/v[12]/models/([^/:]+)")
UNAVAILABLE = PROBLEM_TYPES[UnavailableError]
VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")
PLACEHOLDER = "~"
"""Stands for each character of the request ID in a cached answer; neither an ID nor the rest contains it."""
MAX_CACHED_ANSWERS = 512
REPORT_EVERY_S = 1.0
MAX_REFUSALS_PER_S = 3000
"""More are held back: clients that ask again at once, in spite of ``Retry-After``, get no more answers than that.

A refusal takes 40 to 80 µs of the event loop; ten times the load of a service is below the bound, and 400 clients
in a loop are eight times above it.
"""
REFUSAL = (
    "HTTP/1.1 {status} {title}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n{headers}"
    "x-request-id: {request_id}\r\nserver-timing: total;dur=0.00\r\nconnection: {connection}\r\n\r\n"
)


class EarlyRefusal:
    """Makes the answers to requests that are refused by their head.

    Refusals are not logged one by one, which would cost more than the answer; their number is logged once a
    second.
    """

    def __init__(self, root_path: str = "") -> None:
        """``root_path``: prefix that paths may have, as in the settings."""
        self._root_path = root_path
        self._unreported = 0
        self._pace = Pace(MAX_REFUSALS_PER_S, burst=MAX_REFUSALS_PER_S)

    def answer(
        self,
        method: bytes,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        state: Mapping[str, Any],
        *,
        keep_alive: bool,
    ) -> bytes | None:
        """Return the answer to a request with this head, or None if it is not refused.

        ``state`` is the application's lifespan state, with ``admissions`` and ``metrics``, and perhaps ``keys``
        and ``has_cors``. The application answers requests without a valid key, and those of other sites' pages,
        whose answers have further headers.
        """
        raw_path, _, query = target.partition(b"?")
        path = without_prefix(raw_path.decode("latin-1"), self._root_path)
        if not is_computed(method.decode("latin-1"), path):
            return None
        admissions: Admissions = state["admissions"]
        admission = admissions.of(named_model(path, query), kind_of(path))
        if not admission.is_full:
            return None
        sent = Headers(raw=list(headers))
        if not has_key(state.get("keys"), sent) or (state.get("has_cors") and "origin" in sent):
            return None
        metrics: Metrics = state["metrics"]
        admission.count_refusal()
        metrics.refused_unread(UNAVAILABLE.status)
        self._count()
        valid = request_id(sent.get("x-request-id", ""))
        answer = _answer(QUEUE_FULL, path.startswith(PROTOCOLS), keep_alive, len(valid))
        return answer.replace(PLACEHOLDER.encode() * len(valid), valid.encode())

    def delay_s(self, now_s: float) -> float:
        """Return the seconds for which the next answer is to be held back; ``now_s`` is the event loop's time."""
        return self._pace.delay_s(now_s)

    def _count(self) -> None:
        if not self._unreported:
            asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._report)
        self._unreported += 1

    def _report(self) -> None:
        log.warning("refused", extra=fields(reason="queue_full", requests=self._unreported))
        self._unreported = 0


def is_computed(method: str, path: str) -> bool:
    """Return whether such a request uses the model; only those are subject to admission."""
    return method == "POST" and path.startswith(COMPUTING)


def named_model(path: str, query: bytes) -> str | None:
    """Return the name of the model in a request's address, ``None`` if there is none: the default one."""
    if found := MODEL_IN_PATH.match(path):
        return found[1].removesuffix(TWIN_SUFFIX)
    if b"model=" not in query:
        return None
    return parse_qs(query.decode("latin-1")).get("model", [None])[0]


def kind_of(path: str) -> Kind:
    """Return what the default model takes at this path; see `app.api.kinds`."""
    return SUFFIXES.get(path.rpartition("/")[2], "image")


def request_id(sent: str) -> str:
    """Return ``sent``, the client's request ID, if it is valid, else a new one.

    A new ID is not made of the system's randomness: the system call releases the interpreter's lock, which is
    contended under load.
    """
    return sent if VALID_REQUEST_ID.fullmatch(sent) else f"{random.getrandbits(128):032x}"


@lru_cache(MAX_CACHED_ANSWERS)
def _answer(detail: str, in_protocol: bool, keep_alive: bool, id_length: int) -> bytes:
    """Return the answer to all such requests, with ``id_length`` times `PLACEHOLDER` as their ID."""
    problem = problem_of_public(UnavailableError(detail), PLACEHOLDER * id_length)
    content, media_type = content_of(problem, PROTOCOLS[0] if in_protocol else "")
    head = REFUSAL.format(
        status=problem.status,
        title=problem.title,
        media_type=media_type,
        length=len(content.encode()),
        headers="".join(f"{name.lower()}: {value}\r\n" for name, value in UNAVAILABLE.headers.items()),
        request_id=problem.instance,
        connection="keep-alive" if keep_alive else "close",
    )
    return head.encode("latin-1") + content.encode()
