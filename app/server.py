"""The process that listens: uvicorn, with what it lacks against clients that keep it waiting."""

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections import deque
from collections.abc import Iterator
from types import FrameType, SimpleNamespace
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.http.early_refusal import Doorman
from app.serving.readiness import Readiness
from app.settings import Settings

MAX_HEAD_BYTES = 2**16
"""Of a request's line, headers and trailers, which httptools would collect until memory ends."""
CHUNK_OVERHEAD = 8
"""Bytes that come with each byte of a body in the smallest of chunks."""
BROKEN = 1
"""Exit code where the model has died, or never came up: a supervisor is to start another process."""


def run(app: FastAPI, settings: Settings) -> None:
    """Serve ``app`` until a signal ends it, or its model fails; then ends the process with `BROKEN`."""
    _allow_many_connections()
    server = DrainingServer(app, settings)
    app.state.on_death = server.stop
    with contextlib.suppress(KeyboardInterrupt):  # when all is done uvicorn raises again what ended it
        server.run()
    if not server.started or app.state.readiness.obstacle == "broken":
        sys.exit(BROKEN)


class DrainingServer(uvicorn.Server):
    """Uvicorn that says it ends before it does.

    At SIGTERM `/readyz` turns 503, and for a while all else goes on, so that load balancers send their
    requests elsewhere; then uvicorn closes its door and answers what it has accepted. Ctrl-C closes at once, as
    a second signal does.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(uvicorn.Config(app, **options(settings)))
        self._app = app
        self._drain_s = settings.drain_s

    def stop(self) -> None:
        """End as if told to, without a signal; from any thread."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Called by uvicorn around all that it does. It then raises the signal again that ended it, after which
        nothing is written any more.
        """
        with super().capture_signals():
            yield
            logging.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for SIGTERM and SIGINT."""
        readiness: Readiness = self._app.state.readiness
        draining = readiness.obstacle == "shutting down"
        readiness.drain()
        if not draining:
            self._let_go()
        if sig == signal.SIGTERM and not draining and self._drain_s > 0:
            close = functools.partial(super().handle_exit, sig, frame)
            asyncio.get_running_loop().call_later(self._drain_s, close)
        else:
            super().handle_exit(sig, frame)

    def _let_go(self) -> None:
        """Make each answer the last one on its connection, whose client would use it just when it is closed."""
        # The second list, which answers under way have already, is made anew out of the first one every second.
        for headers in (self.config.encoded_headers, self.server_state.default_headers):
            headers.append((b"connection", b"close"))


def options(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told. No limit_concurrency: it counts idle connections, and answers probes with 503."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": _impatient(settings.read_deadline_s),
        "timeout_keep_alive": settings.keep_alive_s,
        "timeout_graceful_shutdown": settings.graceful_stop_s,
        "log_config": None,  # ours holds
        "access_log": False,  # it would print the address asked for, and a line of ours says more
        "server_header": False,
        "ws": "none",  # nothing here speaks it, whatever happens to be installed
    }


def _impatient(deadline_s: float) -> type[HttpToolsProtocol]:
    """Uvicorn's HTTP that waits for no client longer than ``deadline_s``, and reads no endless head.

    It is the client's turn before a request's head is complete, however few bytes trickle in, and after an
    answer that did not wait for the request's end. uvicorn itself waits for ever, and each connection costs a
    file descriptor. While a request is being answered the clock stands still; its body has its own deadline.

    Requests that there is no room for it refuses itself, before the application hears of them.
    """
    doorman = Doorman()
    refused = SimpleNamespace(response_complete=True, message_event=asyncio.Event())

    class Impatient(HttpToolsProtocol):
        _waiting_since: float | None = None
        _look: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _inside: deque[RequestResponseCycle]
        """Requests that the doorman has let in, and who have not left."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
            super().connection_made(transport)
            self._inside = deque()
            self._watch()

        def data_received(self, data: bytes) -> None:
            self._head_bytes += len(data)
            super().data_received(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.close()
            self._watch()

        def on_headers_complete(self) -> None:
            keep_alive = self.parser.should_keep_alive() and not self.expect_100_continue
            idle = self.cycle is None or self.cycle.response_complete
            head = self.parser.get_method(), self.url, self.headers, self.app_state
            refusal = doorman.refusal(*head, keep_alive=keep_alive) if idle else None
            if refusal is None:
                super().on_headers_complete()
                return
            self.cycle = refused  # type: ignore[assignment] # as far as uvicorn looks at one that is answered
            self.transport.write(refusal)
            self._waiting_since = None
            if keep_alive:
                self.on_response_complete()
            else:
                self.transport.close()

        def on_body(self, body: bytes) -> None:
            self._head_bytes = max(0, self._head_bytes - CHUNK_OVERHEAD * len(body))
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._head_bytes = 0
            super().on_message_complete()
            if not self.cycle.response_complete and doorman.let_in(self.cycle.scope):
                self._inside.append(self.cycle)

        def on_response_complete(self) -> None:
            self._let_out()
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._let_out()
            if self._look is not None:
                self._look.cancel()

        def _let_out(self) -> None:
            while self._inside and (self._inside[0].response_complete or self._inside[0].disconnected):
                self._inside.popleft()
                doorman.let_out()

        def _watch(self) -> None:
            """See whose turn it is. One timer looks after many requests: setting one for each costs more."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._waiting_since = None
                return
            self._waiting_since = self._waiting_since or self.loop.time()
            if self._look is None:
                self._look = self.loop.call_later(deadline_s, self._lose_patience)

        def _lose_patience(self) -> None:
            self._look = None
            if self._waiting_since is None or self.transport.is_closing():
                return
            left_s = self._waiting_since + deadline_s - self.loop.time()
            if left_s <= 0:
                self.transport.close()
            else:
                self._look = self.loop.call_later(left_s, self._lose_patience)

    return Impatient


def _allow_many_connections() -> None:
    """Raise the limit on open files to what the system allows: idle connections then do not lock others out."""
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
