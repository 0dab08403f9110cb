"""Load generator: sends requests at a fixed rate, or as many as the service can answer.

It is one thread on epoll, without an event loop's tasks and callbacks, so that the client's own cost does not
distort the measurement. Run it in a process of its own. Linux only.
"""

import select
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

INITIAL_CONNECTIONS = 200
MAX_CONNECTIONS = 800
"""Below the 1024 files that a process may open, and the service's queue of new connections."""
IDLE_LIMIT_S = 3.0
"""Longest idle time of a connection that is used again; the service closes it after five seconds."""
ANSWER_LIMIT_S = 60.0  # after the last request
SEND_BUFFER_BYTES = 2**18  # a whole request, so that the kernel accepts it at once
READ_BYTES = 2**16


@dataclass
class Answers:
    """Latencies of the answers of one status."""

    since_due_s: list[float] = field(default_factory=list)
    """Seconds from the scheduled time of the request to the end of the answer.

    They include the client's own delay. Otherwise a service that slows down the client would receive fewer
    requests and appear faster (coordinated omission).
    """
    since_sent_s: list[float] = field(default_factory=list)
    """Seconds from the first byte of the request to the end of the answer."""
    with_retry_after: int = 0


@dataclass
class Tally:
    """Result of a load."""

    answers: defaultdict[int, Answers] = field(default_factory=lambda: defaultdict(Answers))
    lost: Counter[str] = field(default_factory=Counter)
    """Requests that were sent and not answered, by the error of their connection."""
    sent: int = 0
    not_sent: int = 0
    """Requests for which there was no free connection."""
    late_s: list[float] = field(default_factory=list)
    """Delay of each request relative to its scheduled time."""
    seconds: float = 0.0
    """Duration until the last answer."""
    cpu_s: float = 0.0
    """Processor time of the client."""


def flood(port: int, request: bytes, rate: float, seconds: float) -> Tally:
    """Send ``rate`` requests per second on a fixed schedule, independent of the answers."""
    generator, count = _Generator(port, request), int(rate * seconds)
    started = time.perf_counter()

    def send_due(now: float) -> float | None:
        # Requests that are overdue at the end are not sent; a client that is too slow shows in `Tally.sent`.
        while (number := generator.tally.sent + generator.tally.not_sent) < count and now < started + seconds:
            if (due := started + number / rate) > now:
                return due
            generator.send(due)
        return None

    return generator.run(send_due, started + seconds + ANSWER_LIMIT_S)


def saturate(port: int, request: bytes, clients: int, seconds: float) -> Tally:
    """Send requests from ``clients`` clients, each of which sends its next request after an answer."""
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
    """Persistent connection with one request at a time; parses only the HTTP that the service sends."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.socket.connect_ex(("127.0.0.1", port))  # an error appears when sending
        self.idle_since = time.perf_counter()
        self.is_waiting = self.is_watched_for_writing = False

    @property
    def is_open(self) -> bool:
        return self.socket.fileno() >= 0

    def begin(self, due: float) -> None:
        """Start a request that was scheduled for ``due``. ``is_waiting`` is true until it is answered."""
        self.is_waiting, self.due, self.begun = True, due, time.perf_counter()
        self.sent, self.received, self.missing, self.status, self.has_retry_after = 0, b"", -1, 0, False

    def take(self, data: bytes) -> bool:
        """Add received bytes; return whether the answer is complete."""
        if self.missing < 0:
            self.received += data
            end = self.received.find(b"\r\n\r\n") + 4
            if end < 4:
                return False
            data = self.received[end:]
            self._read_head(self.received[:end].lower())
        self.missing -= len(data)
        return self.missing <= 0

    def _read_head(self, head: bytes) -> None:
        self.status, self.has_retry_after = int(head[9:12]), b"\r\nretry-after:" in head
        _, _, after = head.partition(b"\r\ncontent-length:")
        self.missing = int(after[: after.index(b"\r")])


class _Generator:
    """The connections of a load, and its tally."""

    def __init__(self, port: int, request: bytes) -> None:
        self.tally = Tally()
        self.waiting = 0
        self._port, self._request = port, memoryview(request)
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle = [self._open() for _ in range(INITIAL_CONNECTIONS)]

    def run(self, send_due: Callable[[float], float | None], until: float) -> Tally:
        """Run until all requests are sent and answered, or until the time ``until``.

        ``send_due(now)`` sends the requests that are due, and returns the time of its next call; ``None`` means
        that all are sent.
        """
        started, cpu_before_s = time.perf_counter(), time.process_time()
        while (due := send_due(time.perf_counter())) is not None or self.waiting:
            now = time.perf_counter()
            if now > until:
                break
            self._poll(max(0.0, (until if due is None else due) - now))
        self.tally.seconds = time.perf_counter() - started
        self.tally.cpu_s = time.process_time() - cpu_before_s
        for connection in list(self._connections.values()):
            self._close(connection, "no answer")
        self._epoll.close()
        return self.tally

    def send(self, due: float) -> None:
        """Send a request on the most recently used idle connection, or on a new one."""
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
            return self._open() if len(self._connections) < MAX_CONNECTIONS else None
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
        if connection.is_waiting:
            self.tally.lost[why] += 1
            self.waiting -= 1
            connection.is_waiting = False
        del self._connections[connection.socket.fileno()]
        connection.socket.close()  # epoll removes closed sockets

    def _poll(self, timeout_s: float) -> None:
        # Python rounds the timeout up to a millisecond. The delay is part of `Tally.late_s`.
        for descriptor, events in self._epoll.poll(timeout_s):
            connection = self._connections[descriptor]
            if events & ~select.EPOLLOUT:
                self._read(connection)
            if events & select.EPOLLOUT and connection.is_open:
                self._write(connection)
                self._release_if_done(connection)

    def _write(self, connection: _Connection) -> None:
        try:
            connection.sent += connection.socket.send(self._request[connection.sent :])
        except BlockingIOError:
            pass
        except OSError as error:
            self._close(connection, type(error).__name__)
            return
        if (unsent := connection.sent < len(self._request)) != connection.is_watched_for_writing:
            connection.is_watched_for_writing = unsent
            self._epoll.modify(connection.socket, select.EPOLLIN | (select.EPOLLOUT if unsent else 0))

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(READ_BYTES)
        except OSError as error:
            self._close(connection, type(error).__name__)
            return
        if not data or not connection.is_waiting:
            self._close(connection, "closed")
        elif connection.take(data):
            self._count(connection)
            self._release_if_done(connection)

    def _count(self, connection: _Connection) -> None:
        now = time.perf_counter()
        answers = self.tally.answers[connection.status]
        answers.since_due_s.append(now - connection.due)
        answers.since_sent_s.append(now - connection.begun)
        answers.with_retry_after += connection.has_retry_after
        connection.is_waiting = False
        self.waiting -= 1

    def _release_if_done(self, connection: _Connection) -> None:
        """Mark a connection as idle if its request is answered and sent: a refusal may arrive earlier."""
        if connection.is_open and not connection.is_waiting and connection.sent == len(self._request):
            connection.idle_since = time.perf_counter()
            self._idle.append(connection)
