"""Logging to standard error: one line per event, JSON for machines or text for a terminal.

Lines contain no content, keys or paths of users, and no tracebacks. A thread of its own writes them: a call that
writes itself releases the interpreter's lock, and under load the event loop spends a quarter of its time waiting
to get it back.
"""

import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from traceback import walk_tb
from typing import Any, TextIO

from app.errors import LRPServeError
from app.settings import LogFormat

WRITE_INTERVAL_S = 0.05
MAX_QUEUED_LINES = 10_000
"""About 3 MB; 20 s of 500 requests a second."""
FIELDS = "fields"
"""Attribute of a record with its structured part: ``log.info("…", extra=fields(id=…))``."""


def fields(**values: object) -> dict[str, Any]:
    """Return the ``extra`` argument of a logging call; ``values`` become fields of the line."""
    return {FIELDS: values}


def configure(form: LogFormat) -> None:
    """Send the lines of all loggers, uvicorn's included, to stderr; ``auto`` is text on a terminal, else JSON."""
    handler = LineHandler(sys.stderr)
    readable = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLine() if readable else JSONLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class LineHandler(QueueHandler):
    """Puts formatted lines into a queue, from which a thread writes them to ``stream``.

    At ``max_lines``, which are reached if nothing reads the stream, further lines are dropped; the next line that
    fits is preceded by one with their number. The queue is a `SimpleQueue`, which is cheaper than a bounded
    `queue.Queue`; the handler's lock makes the check of its size exact.
    """

    queue: "SimpleQueue[str | None]"

    def __init__(self, stream: TextIO, max_lines: int = MAX_QUEUED_LINES) -> None:
        super().__init__(SimpleQueue())
        self._max_lines = max_lines
        self._dropped = 0
        self._writer: LineWriter | None = LineWriter(self.queue, stream)
        self._writer.start()

    def prepare(self, record: logging.LogRecord) -> str:
        """Return the record's line. A queued record would keep alive what it refers to, such as uploads."""
        return self.format(record)

    def enqueue(self, line: str) -> None:  # type: ignore[override] # what `prepare` returns, as in the base class
        """Put a line into the queue, or count it as dropped."""
        if self.queue.qsize() >= self._max_lines:
            self._dropped += 1
            return
        self._report_dropped()
        self.queue.put_nowait(line)

    def close(self) -> None:
        """Write all queued lines and end the thread; `logging.shutdown` calls it."""
        if self._writer is not None:
            self._report_dropped()
            self._writer.stop()
            self._writer = None
        super().close()

    def _report_dropped(self) -> None:
        if self._dropped:
            record = logging.LogRecord(__name__, logging.WARNING, "", 0, "log lines dropped", None, None)
            vars(record).update(fields(lines=self._dropped))
            self.queue.put_nowait(self.format(record))
            self._dropped = 0


class LineWriter(QueueListener):
    """Writes queued lines to ``stream`` from a thread, at most once per `WRITE_INTERVAL_S`."""

    queue: "SimpleQueue[str | None]"

    def __init__(self, lines: "SimpleQueue[str | None]", stream: TextIO) -> None:
        super().__init__(lines)
        self._stream = stream
        self._buffer: list[str] = []
        self._stopping = threading.Event()

    def dequeue(self, block: bool) -> str | None:  # type: ignore[override] # lines, not records
        """Return a line, ``None`` at the end; the first one of a batch after `WRITE_INTERVAL_S`."""
        first = not self._buffer
        line = self.queue.get(block)
        if first and line is not None:
            self._stopping.wait(WRITE_INTERVAL_S)
        return line

    def handle(self, line: str) -> None:  # type: ignore[override] # as above
        """Write the batch if ``line`` is its last one."""
        self._buffer.append(line + "\n")
        if self.queue.empty():
            self._write()

    def stop(self) -> None:
        """Write all queued lines and end the thread."""
        self._stopping.set()
        super().stop()
        self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the stream is closed: nothing can report it
            self._stream.write("".join(self._buffer))
            self._stream.flush()
        self._buffer.clear()


class JSONLine(logging.Formatter):
    """Formats a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time (ISO 8601, UTC), level, message and the record's fields."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **dict(_fields(record)),
        }
        return json.dumps(line, ensure_ascii=False)


class TextLine(logging.Formatter):
    """Formats a record as text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return local time, level, message and the record's fields as name=value."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        rest = "".join(f" {name}={value}" for name, value in _fields(record))
        return f"{moment} {record.levelname.lower():7} {record.getMessage()}{rest}"


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    yield from getattr(record, FIELDS, {}).items()
    if record.exc_info and record.exc_info[1] is not None:
        yield from _error(record.exc_info[1])


def _error(error: BaseException) -> Iterator[tuple[str, object]]:
    """Yield type and place of an error. The text of errors that are not the project's may quote a user's data."""
    yield "error", type(error).__name__
    if isinstance(error, LRPServeError):
        yield "detail", error.detail
    frames = walk_tb(error.__traceback__)
    yield (
        "where",
        [f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{line}" for frame, line in frames],
    )
