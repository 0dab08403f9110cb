"""Who is let in where requests are still bytes: protocols are fed by hand, so that many requests come at once."""

import asyncio
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.server import options
from app.serving.admission import Door
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


class Service:
    """An application that answers when it is told to, behind our server's own HTTP."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.door = Door(ROOM, Metrics())
        config = uvicorn.Config(self._app, interface="asgi3", **options(Settings()))
        config.load()
        self._protocol = config.http_protocol_class
        self._arguments: dict[str, Any] = {
            "config": config,
            "server_state": ServerState(),
            "app_state": {"pipeline": self.door, "metrics": Metrics()},
        }

    def connect(self) -> tuple[asyncio.Protocol, Wire]:
        protocol, wire = self._protocol(**self._arguments), Wire()
        protocol.connection_made(wire)
        return protocol, wire

    async def _app(self, _: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        await self.answers.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


def post(*, path: str = "/explain", body: bytes = b"picture", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + body


def status(wire: Wire) -> int | None:
    return int(wire.written.split(b" ", 2)[1]) if wire.written else None


def test_of_many_that_come_at_once_no_more_are_let_in_than_there_is_room_for() -> None:
    async def scene() -> None:
        service = Service()
        clients = [service.connect() for _ in range(ROOM + 2)]
        for protocol, _ in clients:  # none of the requests is looked at before the last has come
            protocol.data_received(post())
        assert [status(wire) for _, wire in clients] == [None, None, 503, 503]
        service.answers.set()
        await asyncio.sleep(0.01)
        assert [status(wire) for _, wire in clients[:ROOM]] == [200, 200]
        last, wire = service.connect()
        last.data_received(post())
        await asyncio.sleep(0.01)
        assert status(wire) == 200

    asyncio.run(scene())


def test_whoever_leaves_makes_room() -> None:
    async def scene() -> None:
        service = Service()
        for _ in range(3 * ROOM):
            protocol, wire = service.connect()
            protocol.data_received(post())
            await asyncio.sleep(0)
            assert status(wire) is None
            protocol.connection_lost(None)
        await asyncio.sleep(0.01)

    asyncio.run(scene())


def test_whoever_sends_slowly_keeps_nobody_out() -> None:
    async def scene() -> None:
        service = Service()
        slow = [service.connect()[0] for _ in range(3 * ROOM)]
        for protocol in slow:
            protocol.data_received(post(length=100))
        await asyncio.sleep(0)
        protocol, wire = service.connect()
        protocol.data_received(post())
        service.answers.set()
        await asyncio.sleep(0.01)
        assert status(wire) == 200
        for protocol in slow:
            protocol.connection_lost(None)
        await asyncio.sleep(0.01)

    asyncio.run(scene())


@pytest.mark.parametrize("path", ["/model", "/nowhere"])
def test_what_is_not_computed_takes_no_room(path: str) -> None:
    async def scene() -> None:
        service = Service()
        for _ in range(2 * ROOM):
            service.connect()[0].data_received(post(path=path))
        protocol, wire = service.connect()
        protocol.data_received(post())
        service.answers.set()
        await asyncio.sleep(0.01)
        assert status(wire) == 200

    asyncio.run(scene())
