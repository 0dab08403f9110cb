"""Middleware that bounds what requests hold: the size of their bodies, and the number of their pictures."""

import asyncio
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.access import KeyFile, has_key
from app.api.http.early_refusal import is_computed, kind_of, named_model
from app.api.http.errors import TooSlowError
from app.api.http.root_path import local_path
from app.errors import TooLargeError, UnavailableError
from app.models.card import Kind
from app.serving.admission import Admissions, Ticket
from app.settings import BODY_COPIES


class BodyLimits:
    """Limits the size of bodies, the time in which they arrive, and the memory that all of them use.

    A body over ``max_bytes`` is refused by its Content-Length before it is read, or else when it passes the
    limit. A body must arrive within ``deadline_s`` of the first read. Bodies of all requests in progress are in
    memory, `BODY_COPIES` times; a body with which they pass ``max_bytes_in_hand`` is refused.
    ``largest_picture``, width and height of what the model sees that sees the most pixels, tells senders which
    picture suffices.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        max_bytes_in_hand: int,
        deadline_s: float,
        largest_picture: str,
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_bytes_in_hand = max_bytes_in_hand
        self._deadline_s = deadline_s
        self._advice: Mapping[Kind, str] = {
            "image": f"send a smaller picture: no model sees more than {largest_picture} pixels of it",
            "text": "send fewer texts at once",
            "table": "send fewer rows at once",
        }
        self._in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        received, arriving, deadline = 0, True, None
        kind = kind_of(local_path(scope))

        async def receive_within_limits() -> Message:
            nonlocal received, arriving, deadline
            if (
                not arriving
            ):  # the body is complete; the next message is the disconnect, which has no deadline
                return await receive()
            self._check(int(declared) if declared.isdecimal() else 0, kind)
            now = asyncio.get_running_loop().time()
            deadline = deadline or now + self._deadline_s
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise TooSlowError(
                    f"the body did not arrive within {self._deadline_s:g} s; send it faster or smaller"
                ) from None
            received += (size := len(message.get("body", b"")))
            self._in_hand += BODY_COPIES * size
            arriving = message.get("more_body", False)
            self._check(received, kind)
            return message

        try:
            await self._app(scope, receive_within_limits, send)
        finally:
            self._in_hand -= BODY_COPIES * received

    def _check(self, size: int, kind: Kind) -> None:
        if size > self._max_bytes:
            limit = f"{self._max_bytes / 2**20:g} MiB"
            raise TooLargeError(f"the body is larger than {limit}; {self._advice[kind]}")
        if self._in_hand > self._max_bytes_in_hand:
            raise UnavailableError("too many large uploads at once; try again in a second")


class AdmissionControl:
    """Refuses requests that use a model while no place of it is free, and holds one for each that is admitted.

    A request is refused before its body is read. It takes its place when the body has arrived, so that clients
    that send slowly occupy none, and releases all its places when the application is done with it, in
    whatever way. `app.server` refuses and takes places earlier, with the same `Ticket`; other servers need this.
    """

    def __init__(self, app: ASGIApp, admissions: Admissions, keys: KeyFile | None = None) -> None:
        """``keys``: requests without one of them are not refused here, but by `RequireKey`."""
        self._app = app
        self._admissions = admissions
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not is_computed(scope["method"], path := local_path(scope)):
            await self._app(scope, receive, send)
            return
        ticket: Ticket | None = scope["state"].get("ticket")
        if ticket is None:
            model = named_model(path, scope["query_string"])
            ticket = scope["state"]["ticket"] = Ticket(self._admissions.of(model, kind_of(path)))
        if not ticket.held and has_key(self._keys, Headers(scope=scope)):
            ticket.refuse_if_full()

        async def receive_and_acquire() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                ticket.acquire()
            return message

        try:
            await self._app(scope, receive_and_acquire, send)
        finally:
            ticket.release()
