"""The HTTP server: uvicorn with a read deadline, early refusal, and an end that load balancers notice.

Of uvicorn's public interface this uses `Config`, its options, and `Server`. What there is no option for needs
`HttpToolsProtocol`, which is private: a deadline for a request's head (uvicorn waits without end), a limit on its
size (httptools has none), answers before the application is called (``limit_concurrency`` counts idle
connections, and refuses probes as well), and ``X-Forwarded-Prefix`` (the application does not see which proxy
sent it). Therefore the dependency has an upper bound in ``pyproject.toml``, and ``tests/test_server.py`` lists
the parts that must exist.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.http.early_refusal import EarlyRefusal, is_computed, kind_of, named_model
from app.api.http.root_path import local_path
from app.serving.admission import Admissions, Ticket
from app.serving.readiness import Readiness
from app.settings import Settings, normal_prefix

MAX_HEAD_BYTES = 2**16
"""Bytes of a request's line, headers and trailers."""
CHUNK_OVERHEAD = 8
"""Bytes of framing for each byte of a body that comes in chunks of one byte."""
CLOSING_S = 3.0
"""Bound on the time between the last answer and the end of the process."""
FORWARDED_PREFIX = b"x-forwarded-prefix"
GC_THRESHOLD = 10_000
"""First threshold of `gc.set_threshold`; with the default, 700, collections are frequent under load."""
EXIT_BROKEN = 1
"""Exit code if the model failed or the server did not start, so that a supervisor restarts the process."""


def run(app: FastAPI, settings: Settings) -> None:
    """Serve ``app`` until a signal arrives or its model fails; then end the process with `EXIT_BROKEN`."""
    _raise_open_files_limit()
    server = DrainingServer(app, settings)
    app.state.on_death = server.stop
    app.state.on_warm = tune_garbage_collection
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises SIGINT again at its end
        server.run()
    if not server.started or app.state.readiness.obstacle == "broken":
        sys.exit(EXIT_BROKEN)


def tune_garbage_collection() -> None:
    """Exclude the objects that exist from garbage collection, and collect less often.

    After the warm-up they live as long as the process. A full collection of them took 0.1 s, in which nothing was
    answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


class DrainingServer(uvicorn.Server):
    """Uvicorn that is unready for ``settings.drain_s`` before it stops.

    After SIGTERM `/readyz` is 503 and everything else continues for that time, so that load balancers send
    requests elsewhere; then uvicorn stops listening, answers what it has accepted within
    ``settings.graceful_stop_s``, and cancels the rest, which get 503. SIGINT and a second signal skip the first
    part. Then the application is closed, which takes less than `CLOSING_S`.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(uvicorn.Config(app, **options(settings)))
        self._app = app
        self._drain_s = settings.drain_s

    def stop(self) -> None:
        """Stop without a signal and without draining. Thread-safe."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs; called by uvicorn.

        At its end uvicorn raises the signal that stopped it again, which ends the process: logs are flushed
        before.
        """
        with super().capture_signals():
            yield
            logging.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM and SIGINT; called by uvicorn."""
        readiness: Readiness = self._app.state.readiness
        draining = readiness.obstacle == "shutting down"
        readiness.drain()
        if sig == signal.SIGTERM and not draining and self._drain_s > 0:
            close = functools.partial(super().handle_exit, sig, frame)
            asyncio.get_running_loop().call_later(self._drain_s, close)
        else:
            super().handle_exit(sig, frame)


def options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of `uvicorn.Config`."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": functools.partial(
            HttpProtocol,
            read_deadline_s=settings.read_deadline_s,
            early_refusal=EarlyRefusal(settings.root_path),
            root_path=settings.root_path,
        ),
        "timeout_keep_alive": settings.keep_alive_s,
        "timeout_graceful_shutdown": settings.graceful_stop_s,
        "log_config": None,  # `app.telemetry.logs` configures all loggers
        "access_log": False,  # it would log query strings; `RequestContext` logs each request
        "server_header": False,
        "ws": "none",  # no WebSockets, even if a library for them is installed
    }


class HttpProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection, with a read deadline, a limit on the size of heads, and early refusal.

    Refusals are held back where there are too many, see `EarlyRefusal.delay_s`, and no further request is read
    from the connection until then.

    The prefix that a trusted proxy has removed, ``X-Forwarded-Prefix``, becomes the request's ``root_path``.

    The connection is closed when it has waited ``read_deadline_s`` for the client: from the connection's start or
    the last answer to the end of a request's head, and after an answer that did not wait for the request's body.
    The time in which a request is answered does not count; its body has a deadline of its own.

    A request that uses the model gets a `Ticket` in ``scope["state"]``. It takes its place when the request has
    arrived whole, because many may arrive before the application is called for the first of them; not earlier, so
    that slow clients do not occupy places. `AdmissionControl` releases it.
    """

    def __init__(
        self, *, read_deadline_s: float, early_refusal: EarlyRefusal, root_path: str, **uvicorns: Any
    ) -> None:
        super().__init__(**uvicorns)
        self._read_deadline_s = read_deadline_s
        self._root_path_of_settings = root_path
        self._early_refusal = early_refusal
        self._head_bytes = 0
        self._waiting_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the read deadline."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; close the connection if a head is too large."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.close()
        self._watch()

    def on_headers_complete(self) -> None:
        """Refuse the request, or give it a ticket and start the application."""
        keep_alive = self.parser.should_keep_alive() and not self.expect_100_continue
        idle = self.cycle is None or self.cycle.response_complete
        head = self.parser.get_method(), self.url, self.headers, self.app_state
        refusal = self._early_refusal.answer(*head, keep_alive=keep_alive) if idle else None
        if refusal is not None:
            cycle: Any = _RefusedCycle(keep_alive)
            self.cycle = cycle
            self._refuse(refusal, cycle)
            return
        self.root_path = self.scope["root_path"] = self._forwarded_prefix()
        super().on_headers_complete()
        path = local_path(self.scope, self._root_path_of_settings)
        if is_computed(self.scope["method"], path):
            admissions: Admissions = self.app_state["admissions"]
            model = named_model(path, self.scope["query_string"])
            self.scope["state"]["ticket"] = Ticket(admissions.of(model, kind_of(path)))

    def on_body(self, body: bytes) -> None:
        """Pass part of a body on; it does not count as head."""
        self._head_bytes = max(0, self._head_bytes - CHUNK_OVERHEAD * len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take a place for the request, which has arrived whole."""
        self._head_bytes = 0
        super().on_message_complete()
        if not self.cycle.response_complete and (ticket := _ticket(self.cycle)):
            ticket.try_acquire()  # where none is free, the application will refuse the request

    def on_response_complete(self) -> None:
        """Continue with the next request, or start the read deadline."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the places of pipelined requests: the application is never called for them."""
        super().connection_lost(exc)
        for cycle, _ in self.pipeline:
            if ticket := _ticket(cycle):
                ticket.release()
        if self._timer is not None:
            self._timer.cancel()

    def _forwarded_prefix(self) -> str:
        """Return the prefix in ``X-Forwarded-Prefix``, or an empty one if the client is not a trusted proxy."""
        sent = [value for name, value in self.headers if name == FORWARDED_PREFIX]
        if len(sent) != 1 or not self.client:
            return ""
        trusted = self.client[0] in _trusted_proxies(str(self.config.forwarded_allow_ips))
        return (normal_prefix(sent[0].decode("latin-1")) or "") if trusted else ""

    def _refuse(self, answer: bytes, cycle: "_RefusedCycle") -> None:
        self._waiting_since = None
        delay_s = self._early_refusal.delay_s(self.loop.time())
        if delay_s > 0:
            self.flow.pause_reading()
            self.loop.call_later(delay_s, self._send_refusal, answer, cycle)
        else:
            self._send_refusal(answer, cycle)

    def _send_refusal(self, answer: bytes, cycle: "_RefusedCycle") -> None:
        cycle.response_complete = True
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        if cycle.keep_alive:
            self.on_response_complete()
        else:
            self.transport.close()

    def _watch(self) -> None:
        """Start or stop waiting for the client. One timer serves many requests; one for each costs more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._waiting_since = None
            return
        self._waiting_since = self._waiting_since or self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(self._read_deadline_s, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._waiting_since is None or self.transport.is_closing():
            return
        left_s = self._waiting_since + self._read_deadline_s - self.loop.time()
        if left_s <= 0:
            self.transport.close()
        else:
            self._timer = self.loop.call_later(left_s, self._check_deadline)


class _RefusedCycle:
    """Takes the place of uvicorn's `RequestResponseCycle` for a request that is refused by its head.

    It has what `HttpToolsProtocol` reads and sets of one; the request's body is dropped.
    """

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = self.disconnected = False
        self.more_body, self.body = True, b""
        self.message_event = asyncio.Event()
        self.scope: dict[str, Any] = {"state": {}}


@functools.cache
def _trusted_proxies(addresses: str) -> _TrustedHosts:
    """Return the proxies that uvicorn trusts for ``X-Forwarded-For`` and ``X-Forwarded-Proto``."""
    return _TrustedHosts(addresses)


def _ticket(cycle: Any) -> Ticket | None:
    """Return the ticket of a request, given its `RequestResponseCycle`; None if it does not use the model."""
    ticket: Ticket | None = cycle.scope["state"].get("ticket")
    return ticket


def _raise_open_files_limit() -> None:
    """Raise the limit on open files to the system's maximum, so that idle connections do not exhaust it."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
