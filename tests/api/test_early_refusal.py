"""Admission where requests are still bytes: protocols are fed by hand, so that many requests arrive at once."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from app.api.http import early_refusal
from app.api.http.access import KeyFile
from app.api.http.limits import AdmissionControl
from app.api.http.middleware import RequestContext
from app.api.http.root_path import RootPath
from app.server import HttpProtocol, options
from app.serving.admission import Admission, Admissions
from app.settings import Settings
from app.telemetry.metrics import Metrics

ROOM = 2


class Wire(asyncio.Transport):
    """What is written to a client."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection:
    """One client's connection."""

    def __init__(self, protocol: HttpProtocol) -> None:
        self.protocol, self.wire = protocol, Wire()
        protocol.connection_made(self.wire)

    def send(self, data: bytes) -> None:
        if not self.wire.closed:  # a transport that is closed reads no more
            self.protocol.data_received(data)

    def lose(self) -> None:
        self.wire.closed = True
        self.protocol.connection_lost(None)

    @property
    def statuses(self) -> list[int]:
        """Of all answers so far; none of them has a body with such a line in it."""
        lines = self.wire.written.split(b"HTTP/1.1 ")[1:]
        return [int(line[:3]) for line in lines]

    @property
    def status(self) -> int | None:
        """Of the only answer, if there is one."""
        assert len(self.statuses) < 2
        return self.statuses[0] if self.statuses else None


class Service:
    """The given application, or one that answers once it may, behind our middleware and our server's protocol."""

    def __init__(self, app: ASGIApp | None = None, settings: Settings | None = None, **state: object) -> None:
        self.answers = asyncio.Event()
        metrics = Metrics()
        self.admission = Admission(ROOM, metrics.of_model("some"))
        admissions = Admissions({"some": self.admission}, {"image": "some"})
        settings = settings or Settings()
        admitted = AdmissionControl(app or self._app, admissions)
        guarded = RequestContext(RootPath(admitted, settings.root_path), metrics)
        config = uvicorn.Config(guarded, interface="asgi3", **options(settings))
        config.load()
        self._protocol: Any = config.http_protocol_class
        self._state = ServerState()
        self._arguments: dict[str, Any] = {
            "config": config,
            "server_state": self._state,
            "app_state": {"admissions": admissions, "metrics": metrics, **state},
        }

    def connect(self) -> Connection:
        return Connection(self._protocol(**self._arguments))

    async def idle(self) -> None:
        """Until the application has ended for all requests."""
        while self._state.tasks:
            await asyncio.wait(self._state.tasks)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers once it may, unless the client leaves before."""
        await Request(scope, receive).body()
        leaving = asyncio.ensure_future(receive())
        answering = asyncio.ensure_future(self.answers.wait())
        await asyncio.wait((leaving, answering), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        answering.cancel()
        if self.answers.is_set():
            await answer(200, send)


async def answer(status: int, send: Send) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def post(*, path: str = "/explain", body: bytes = b"picture", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + body


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body in an event loop."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scene()

    asyncio.run(bounded())


def test_of_many_that_come_at_once_no_more_are_let_in_than_there_is_room_for() -> None:
    async def scene() -> None:
        service = Service()
        clients = [service.connect() for _ in range(ROOM + 2)]
        for client in clients:  # the application is not called before the last one has arrived
            client.send(post())
        assert [client.status for client in clients] == [None, None, 503, 503]
        assert service.admission.occupied == ROOM
        service.answers.set()
        await service.idle()
        assert [client.status for client in clients[:ROOM]] == [200, 200]
        last = service.connect()
        last.send(post())
        await service.idle()
        assert last.status == 200

    play(scene)


def test_requests_below_the_prefix_take_places_when_they_have_arrived() -> None:
    async def scene() -> None:
        service = Service(settings=Settings(root_path="/xai"))
        connections = [service.connect() for _ in range(ROOM + 1)]
        for connection in connections:
            connection.send(post(path="/xai/explain"))
        assert service.admission.is_full
        service.answers.set()
        await service.idle()
        assert sorted(connection.status or 0 for connection in connections) == [200] * ROOM + [503]
        assert service.admission.occupied == 0

    play(scene)


def test_who_has_no_key_is_not_told_that_the_service_is_full(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")

    async def scene() -> None:
        service = Service(keys=KeyFile(tmp_path / "keys"))
        service.admission.occupy(ROOM)
        refused, known = service.connect(), service.connect()
        refused.send(post())
        known.send(post().replace(b"Host: x", b"Host: x\r\nX-API-Key: secret"))
        assert refused.status is None  # left to the application
        assert known.status == 503
        service.answers.set()
        await service.idle()

    play(scene)


def test_of_heads_that_come_before_the_bodies_no_more_are_let_in_than_there_is_room_for() -> None:
    async def scene() -> None:
        service = Service()
        clients = [service.connect() for _ in range(ROOM + 2)]
        for client in clients:
            client.send(post(body=b"", length=7))
        assert not service.admission.is_full  # so that none is refused by its head
        await asyncio.sleep(0)
        for client in clients:
            client.send(b"picture")
        service.answers.set()
        await service.idle()
        assert [client.status for client in clients] == [200, 200, 503, 503]
        assert service.admission.occupied == 0

    play(scene)


def test_whoever_leaves_makes_room() -> None:
    async def scene() -> None:
        service = Service()
        for _ in range(3 * ROOM):
            client = service.connect()
            client.send(post())
            await asyncio.sleep(0)
            assert client.status is None
            client.lose()
            await service.idle()
            assert service.admission.occupied == 0

    play(scene)


def test_a_request_holds_its_place_until_the_application_is_done_with_it_though_the_client_has_left() -> None:
    async def scene() -> None:
        done = asyncio.Event()

        async def deaf(scope: Scope, receive: Receive, _: Send) -> None:
            await Request(scope, receive).body()
            await done.wait()

        service = Service(deaf)
        client = service.connect()
        client.send(post())
        await asyncio.sleep(0)
        client.lose()
        assert service.admission.occupied == 1
        done.set()
        await service.idle()
        assert service.admission.occupied == 0

    play(scene)


def test_pipelined_requests_release_their_places_when_their_connection_is_lost() -> None:
    async def scene() -> None:
        service = Service()
        client = service.connect()
        client.send(post() * (ROOM + 2))
        await asyncio.sleep(0)
        assert service.admission.occupied == ROOM  # the first is being answered, another waits behind it
        client.lose()
        assert service.admission.occupied == 1
        service.answers.set()  # uvicorn does not tell the first one of several that the client has left
        await service.idle()
        assert service.admission.occupied == 0
        assert client.statuses == [200]  # written, though nobody reads it

    play(scene)


def test_pipelined_requests_are_answered_in_order_and_refused_where_there_is_no_room() -> None:
    async def scene() -> None:
        service = Service()
        client, other = service.connect(), service.connect()
        other.send(post())
        client.send(post(path="/explain?first") + post(path="/explain?second"))
        assert service.admission.occupied == ROOM
        await asyncio.sleep(0)
        service.answers.set()
        await service.idle()
        assert client.statuses == [200, 200]  # the second found room when its turn came
        assert service.admission.occupied == 0

    play(scene)


RATE = 20
"""Refusals a second, in tests where they are held back: the first 20 are not, and the next one is for 50 ms."""


async def crowded(monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that is full, and has made all refusals that are not held back."""
    monkeypatch.setattr(early_refusal, "MAX_REFUSALS_PER_S", RATE)
    service = Service()
    clients = [service.connect() for _ in range(ROOM + RATE)]
    for client in clients:
        client.send(post())
    assert [client.status for client in clients] == [None] * ROOM + [503] * RATE
    return service


def test_refusals_beyond_the_rate_are_held_back_and_probes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        service = await crowded(monkeypatch)
        hasty = [service.connect() for _ in range(4)]
        started = asyncio.get_running_loop().time()
        for client in hasty:
            client.send(post())
        probe = service.connect()
        service.answers.set()
        probe.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await service.idle()
        assert (probe.status, [client.status for client in hasty]) == (200, [None] * 4)
        while hasty[-1].status is None:
            await asyncio.sleep(0.005)
        waited_s = asyncio.get_running_loop().time() - started
        assert [client.status for client in hasty] == [503] * 4
        assert waited_s >= 3 / RATE

    play(scene)


def test_what_is_pipelined_behind_a_refusal_that_is_held_back_is_answered_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        service = await crowded(monkeypatch)
        service.answers.set()
        client = service.connect()
        client.send(post() + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.statuses == []
        while len(client.statuses) < 2:
            await asyncio.sleep(0.005)
        assert client.statuses == [503, 200]

    play(scene)


def test_a_refusal_that_is_held_back_is_sent_before_the_service_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        service = await crowded(monkeypatch)
        client, gone = service.connect(), service.connect()
        client.send(post())
        gone.send(post())
        gone.lose()
        client.protocol.shutdown()
        while client.status is None:
            await asyncio.sleep(0.005)
        assert (client.status, client.wire.closed) == (503, True)
        await asyncio.sleep(2 / RATE)
        assert gone.status is None
        service.answers.set()
        await service.idle()

    play(scene)


def test_whoever_sends_slowly_keeps_nobody_out() -> None:
    async def scene() -> None:
        service = Service()
        slow = [service.connect() for _ in range(3 * ROOM)]
        for client in slow:
            client.send(post(length=100))
        await asyncio.sleep(0)
        assert service.admission.occupied == 0
        fast = service.connect()
        fast.send(post())
        service.answers.set()
        await asyncio.sleep(0.01)
        assert fast.status == 200
        for client in slow:
            client.lose()
        await service.idle()

    play(scene)


@pytest.mark.parametrize("path", ["/model", "/nowhere"])
def test_what_is_not_computed_takes_no_room(path: str) -> None:
    async def scene() -> None:
        service = Service()
        for _ in range(2 * ROOM):
            service.connect().send(post(path=path))
        client = service.connect()
        client.send(post())
        service.answers.set()
        await service.idle()
        assert client.status == 200

    play(scene)


# Ways in which an application ends a request; `X-Way` in its head says which.


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await answer(200, send)


async def answers_late(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await asyncio.sleep(0.001)
    await answer(200, send)


async def refuses_unread(_scope: Scope, _receive: Receive, send: Send) -> None:
    await answer(415, send)


async def refuses_read(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await answer(422, send)


async def crashes_unread(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ArithmeticError


async def crashes_read(scope: Scope, receive: Receive, _: Send) -> None:
    await Request(scope, receive).body()
    raise ArithmeticError


async def crashes_answering(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ArithmeticError


async def waits_for_the_clients_end(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.002):
            await receive()
            raise ClientDisconnect
    await answer(504, send)


async def times_out(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        async with asyncio.timeout(0.001):
            await Request(scope, receive).body()
    except TimeoutError:
        await answer(408, send)
    else:
        await answer(200, send)


WAYS: dict[str, ASGIApp] = {
    way.__name__: way
    for way in (
        answers, answers_late, refuses_unread, refuses_read, crashes_unread, crashes_read, crashes_answering,
        waits_for_the_clients_end, times_out,
    )
}  # fmt: skip
SLICES = {"whole": 1, "head, then body": 2, "without its end": 2}
REQUESTS = st.tuples(st.sampled_from(sorted(WAYS)), st.sampled_from(sorted(SLICES)))
CLIENTS = st.tuples(st.lists(REQUESTS, min_size=1, max_size=3), st.booleans())
"""The requests that one connection sends, and whether it is lost before they are answered."""


async def chosen_way(scope: Scope, receive: Receive, send: Send) -> None:
    way = dict(scope["headers"])[b"x-way"].decode()
    await WAYS[way](scope, receive, send)


def parts(way: str, sliced: str) -> list[bytes]:
    """A request, in the parts that arrive at once; ``without its end`` it never arrives whole."""
    head = f"POST /explain HTTP/1.1\r\nHost: x\r\nX-Way: {way}\r\nContent-Length: 7\r\n\r\n".encode()
    if sliced == "whole":
        return [head + b"picture"]
    return [head, b"picture" if sliced == "head, then body" else b"pic"]


@given(st.lists(CLIENTS, min_size=1, max_size=4), st.booleans())
def test_however_requests_end_they_leave_no_place_taken(
    clients: list[tuple[list[tuple[str, str]], bool]], in_turn: bool
) -> None:
    """``in_turn``: the application runs between any two parts that arrive, else after all of them."""

    async def scene() -> None:
        service = Service(chosen_way)
        connections = [(service.connect(), leaves) for _, leaves in clients]
        for (connection, leaves), (requests, _) in zip(connections, clients, strict=True):
            for way, sliced in requests:
                for part in parts(way, sliced):
                    connection.send(part)
                    if in_turn:
                        await asyncio.sleep(0)
                    assert 0 <= service.admission.occupied <= ROOM
                if sliced == "without its end":
                    break
            if leaves:
                connection.lose()
        await asyncio.sleep(0.003)
        for connection, leaves in connections:
            if not leaves:
                connection.lose()
        await service.idle()
        assert service.admission.occupied == 0

    play(scene)
