"""What surrounds every request. Pure ASGI: Starlette's BaseHTTPMiddleware would hide disconnects."""

import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import answer
from app.errors import TooLargeError
from app.pipeline import Timings

SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,128}")


class RequestContext:
    """Gives every request an ID and timings, every answer their headers, and every error outside the routes,
    a crash or a refusal by the middleware within, an answer.

    ``X-Request-ID`` is the caller's if it sent a sane one. Routes find both as ``request.state.request_id``
    and ``request.state.timings``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, timings, started = _request_id(scope), Timings(), time.perf_counter()
        scope.setdefault("state", {}).update(request_id=request_id, timings=timings)
        answering = False

        async def send_with_headers(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                total = Timings({**timings.stages, "total": 1000 * (time.perf_counter() - started)})
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["Server-Timing"] = _server_timing(total)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 # the last line of defence: nobody may see a traceback
            response = answer(Request(scope, receive), error)
            if not answering:
                await response(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies over ``max_bytes``: by Content-Length before a byte is read, else as they pass it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            self._check(int(declared) if declared.isdecimal() else 0)
            message = await receive()
            received += len(message.get("body", b""))
            self._check(received)
            return message

        await self._app(scope, receive_within_limit, send)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLargeError(
                f"the body is larger than {self._max_bytes / 2**20:g} MiB; send a smaller picture: "
                "the model sees 32×32 pixels of it"
            )


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if SANE_REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex


def _server_timing(timings: Timings) -> str:
    return ", ".join(f"{stage};dur={milliseconds:.2f}" for stage, milliseconds in timings.stages.items())
