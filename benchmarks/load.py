"""Asks a service for more than it can do, or for as much as it can, and takes little of a core for it.

One thread on epoll, without an event loop's tasks and callbacks: what the client costs itself is then not taken
for the service's. It is meant for a process of its own. Linux only.
"""

import select
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

OPENED_BEFOREHAND = 200
MOST_CONNECTIONS = (
    800  # fits the 1024 files that a process may open, and the service's queue of new connections
)
IDLE_LIMIT_S = 3.0  # of a connection; the service closes them after five, and a request may cross that
ANSWER_LIMIT_S = 60.0  # after the last request
SEND_BUFFER_BYTES = 2**18  # a whole request, so that the kernel takes it at once
READ_BYTES = 2**16


@dataclass
class Answers:
    """Those of one status. Each counts twice, since its request was due and since it was begun.

    The first has the client's own delay in it, without which a service would profit from what it does to the
    client: while that waits, it asks for nothing.
    """

    waited_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    with_retry_after: int = 0


@dataclass
class Tally:
    """What came back."""

    answers: defaultdict[int, Answers] = field(default_factory=lambda: defaultdict(Answers))
    lost: Counter[str] = field(default_factory=Counter)
    """Requests that were begun and not answered, by what became of their connections."""
    sent: int = 0
    not_sent: int = 0
    """For want of a connection."""
    late_s: list[float] = field(default_factory=list)
    """How far behind its plan the client was at each request."""
    seconds: float = 0.0
    """Until nothing was waited for any more."""
    cpu_s: float = 0.0
    """The client's own."""


def flood(port: int, request: bytes, rate: float, seconds: float) -> Tally:
    """``rate`` requests a second at fixed moments, whatever becomes of them."""
    generator, count = _Generator(port, request), int(rate * seconds)
    started = time.perf_counter()

    def send_due(now: float) -> float | None:
        # What is overdue at the end is left out: that a client was too slow shows in how much it has sent.
        while (number := generator.tally.sent + generator.tally.not_sent) < count and now < started + seconds:
            if (due := started + number / rate) > now:
                return due
            generator.send(due)
        return None

    return generator.run(send_due, started + seconds + ANSWER_LIMIT_S)


def saturate(port: int, request: bytes, clients: int, seconds: float) -> Tally:
    """As many requests as ``clients`` can, who each ask again as soon as they are answered."""
    generator = _Generator(port, request)
    until = time.perf_counter() + seconds

    def send_due(now: float) -> float | None:
        if now >= until:
            return None
        for _ in range(clients - generator.waiting):
            generator.send(now)
        return until

    return generator.run(send_due, until + ANSWER_LIMIT_S)


class _Connection:
    """One that is kept open; a request at a time. HTTP just as far as our own answers need it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.socket.connect_ex(("127.0.0.1", port))  # whether it succeeds is heard of by sending
        self.idle_since = time.perf_counter()
        self.asked = self.watched_for_room = False

    @property
    def is_open(self) -> bool:
        return self.socket.fileno() >= 0

    def begin(self, due: float) -> None:
        """``asked`` holds until it is answered."""
        self.asked, self.due, self.begun = True, due, time.perf_counter()
        self.sent, self.got, self.missing, self.status, self.told = 0, b"", -1, 0, False

    def take(self, data: bytes) -> bool:
        """Whether the answer ends with this."""
        if self.missing < 0:
            self.got += data
            end = self.got.find(b"\r\n\r\n") + 4
            if end < 4:
                return False
            data = self.got[end:]
            self._read_head(self.got[:end].lower())
        self.missing -= len(data)
        return self.missing <= 0

    def _read_head(self, head: bytes) -> None:
        self.status, self.told = int(head[9:12]), b"\r\nretry-after:" in head
        _, _, after = head.partition(b"\r\ncontent-length:")
        self.missing = int(after[: after.index(b"\r")])


class _Generator:
    """The connections, those of them that are idle, and what came back."""

    def __init__(self, port: int, request: bytes) -> None:
        self.tally = Tally()
        self.waiting = 0
        self._port, self._request = port, memoryview(request)
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle = [self._open() for _ in range(OPENED_BEFOREHAND)]

    def run(self, send_due: Callable[[float], float | None], until: float) -> Tally:
        """Until all is sent and answered. ``send_due`` tells when it is to be called next, or None: never."""
        started, cpu_before_s = time.perf_counter(), time.process_time()
        while (due := send_due(time.perf_counter())) is not None or self.waiting:
            now = time.perf_counter()
            if now > until:
                break
            self._hear(max(0.0, (until if due is None else due) - now))
        self.tally.seconds = time.perf_counter() - started
        self.tally.cpu_s = time.process_time() - cpu_before_s
        for connection in list(self._connections.values()):
            self._close(connection, "no answer")
        self._epoll.close()
        return self.tally

    def send(self, due: float) -> None:
        """A request, on the connection that was idle the shortest or on a new one."""
        connection = self._free()
        if connection is None:
            self.tally.not_sent += 1
            return
        connection.begin(due)
        self.waiting += 1
        self.tally.sent += 1
        self.tally.late_s.append(connection.begun - due)
        self._write(connection)

    def _free(self) -> _Connection | None:
        if not self._idle:
            return self._open() if len(self._connections) < MOST_CONNECTIONS else None
        connection = self._idle.pop()
        if connection.is_open and time.perf_counter() - connection.idle_since <= IDLE_LIMIT_S:
            return connection
        if connection.is_open:
            self._close(connection)
        return self._open()

    def _open(self) -> _Connection:
        connection = _Connection(self._port)
        self._epoll.register(connection.socket, select.EPOLLIN)
        self._connections[connection.socket.fileno()] = connection
        return connection

    def _close(self, connection: _Connection, why: str = "") -> None:
        if connection.asked:
            self.tally.lost[why] += 1
            self.waiting -= 1
            connection.asked = False
        del self._connections[connection.socket.fileno()]
        connection.socket.close()  # which epoll hears of

    def _hear(self, timeout_s: float) -> None:
        # Python rounds the timeout up to a millisecond. That makes requests late, and is counted with the rest.
        for descriptor, events in self._epoll.poll(timeout_s):
            connection = self._connections[descriptor]
            if events & ~select.EPOLLOUT:
                self._read(connection)
            if events & select.EPOLLOUT and connection.is_open:
                self._write(connection)
                self._rest_if_done(connection)

    def _write(self, connection: _Connection) -> None:
        try:
            connection.sent += connection.socket.send(self._request[connection.sent :])
        except BlockingIOError:
            pass
        except OSError as error:
            self._close(connection, type(error).__name__)
            return
        if (unsent := connection.sent < len(self._request)) != connection.watched_for_room:
            connection.watched_for_room = unsent
            self._epoll.modify(connection.socket, select.EPOLLIN | (select.EPOLLOUT if unsent else 0))

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(READ_BYTES)
        except OSError as error:
            self._close(connection, type(error).__name__)
            return
        if not data or not connection.asked:
            self._close(connection, "closed")
        elif connection.take(data):
            self._count(connection)
            self._rest_if_done(connection)

    def _count(self, connection: _Connection) -> None:
        now = time.perf_counter()
        answers = self.tally.answers[connection.status]
        answers.waited_s.append(now - connection.due)
        answers.took_s.append(now - connection.begun)
        answers.with_retry_after += connection.told
        connection.asked = False
        self.waiting -= 1

    def _rest_if_done(self, connection: _Connection) -> None:
        """A refusal may come before its request is sent to the end."""
        if connection.is_open and not connection.asked and connection.sent == len(self._request):
            connection.idle_since = time.perf_counter()
            self._idle.append(connection)
