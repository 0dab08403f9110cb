"""Middleware for all requests. Pure ASGI, because Starlette's `BaseHTTPMiddleware` hides disconnects."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http.early_refusal import request_id
from app.api.http.problems import answer
from app.errors import UnavailableError
from app.serving.readiness import Readiness
from app.serving.timings import Timings
from app.telemetry.logs import fields
from app.telemetry.metrics import OTHER, Metrics

log = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""Status in logs and metrics of a request whose client left before its answer; nginx uses the same."""

LISTS = frozenset(
    (b"accept", b"accept-encoding", b"cache-control", b"content-encoding", b"if-match", b"if-none-match")
)
"""Request headers that the application reads and whose value is a list."""


GIVEN_UP = "the service ends and has no time left to answer; send the request again"
"""Detail of the answer to a request that is cancelled because the service ends."""


class HeadAsGet:
    """Answers HEAD like GET, without the body, because the routes are declared for GET only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


class JoinedHeaders:
    """Joins headers that are lists and that came on several lines into one (RFC 9110, 5.3).

    `starlette.datastructures.Headers.get` returns the first line only.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            scope = {**scope, "headers": joined(scope["headers"])}
        await self._app(scope, receive, send)


def joined(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return ``headers`` with those of each name in `LISTS` as one, at the place of the first."""
    lines: dict[bytes, list[bytes]] = {name: [] for name in LISTS}
    for name, value in headers:
        if name in lines:
            lines[name].append(value)
    return [
        (name, b", ".join(lines.pop(name)) if name in LISTS else value)
        for name, value in headers
        if name not in LISTS or name in lines
    ]


class CloseWhileDraining:
    """Adds ``Connection: close`` to all answers while the service shuts down.

    The server closes idle connections then, and a client might use one for its next request at that moment.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        readiness: Readiness = scope["app"].state.readiness

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and readiness.obstacle == "shutting down":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_and_close)


class RequestContext:
    """Gives each request an ID and timings, counts and logs it, and answers errors raised outside the routes.

    ``X-Request-ID`` is the client's if it sent a valid one. The ID and the timings are in the request's state, as
    ``request_id`` and ``timings``, and in the headers of the answer.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(request_id(Headers(scope=scope).get("x-request-id", "")), receive, send)
        scope.setdefault("state", {}).update(request_id=exchange.request_id, timings=exchange.timings)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            self._metrics.cancelled()
        except asyncio.CancelledError:  # by the server, at the end of the time to answer
            if exchange.status != CLIENT_LEFT:
                raise
            self._metrics.of_model(_model(scope)).refused("draining")
            await answer(Request(scope, receive), UnavailableError(GIVEN_UP))(scope, receive, exchange.send)
        except Exception as error:  # noqa: BLE001 # the last handler: a traceback must not reach the client
            response = answer(Request(scope, receive), error)
            if exchange.status == CLIENT_LEFT:
                await response(scope, receive, exchange.send)
        finally:
            self._report(_route(scope), _model(scope), exchange)

    def _report(self, route: str, model: str, exchange: "Exchange") -> None:
        stages = {**exchange.timings.stages, "total": exchange.total_ms()}
        for stage, milliseconds in exchange.timings.stages.items():
            self._metrics.of_model(model).stage(stage, milliseconds / 1000)
        self._metrics.request(route, exchange.status, stages["total"] / 1000)
        log.info(
            "request",
            extra=fields(
                id=exchange.request_id,
                route=route,
                **({"model": model} if model else {}),
                status=exchange.status,
                ms={stage: round(milliseconds, 2) for stage, milliseconds in stages.items()},
                bytes_in=exchange.bytes_in,
                bytes_out=exchange.bytes_out,
            ),
        )


class Exchange:
    """Measures one request and its answer."""

    def __init__(self, request_id: str, receive: Receive, send: Send) -> None:
        self.request_id = request_id
        self.timings = Timings()
        self.status = CLIENT_LEFT
        self.bytes_in = self.bytes_out = 0
        self._receive = receive
        self._send = send
        self._started = time.perf_counter()

    async def receive(self) -> Message:
        """ASGI; counts bytes."""
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """ASGI; counts bytes, and adds the ID and the timings to the headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            headers["Server-Timing"] = _server_timing({**self.timings.stages, "total": self.total_ms()})
        self.bytes_out += len(message.get("body", b""))
        await self._send(message)

    def total_ms(self) -> float:
        """Milliseconds since the request's start."""
        return 1000 * (time.perf_counter() - self._started)


def _server_timing(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{stage};dur={milliseconds:.2f}" for stage, milliseconds in stages.items())


def _model(scope: Scope) -> str:
    """Return the name of the model that the request was for, once it is found; else an empty name."""
    name: str = scope["state"].get("model", "")
    return name


def _route(scope: Scope) -> str:
    """Return the template of the matched route, because paths are unbounded labels; assets have none."""
    return getattr(scope.get("route"), "path", OTHER)
