"""One line an event: JSON for machines, words for a terminal. No content, no keys, no paths, no tracebacks."""

import contextlib
import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from traceback import walk_tb
from typing import Any, TextIO

from app.errors import LRPServeError
from app.settings import LogFormat

WRITE_EVERY_S = 0.05
FIELDS = "fields"
"""The attribute of a record that holds its structured part: ``log.info("…", extra=fields(id=…))``."""


def fields(**values: object) -> dict[str, Any]:
    """``extra`` of a logging call: ``values`` become the line's own fields."""
    return {FIELDS: values}


def configure(form: LogFormat) -> None:
    """Write every logger's lines, uvicorn's among them, to stderr; ``auto`` is text on a terminal, else JSON."""
    handler = UnhurriedHandler(Unhurried(sys.stderr))
    readable = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLine() if readable else JSONLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class Unhurried:
    """Writes to ``stream`` what comes within `WRITE_EVERY_S` at once, from a thread of its own.

    A line that is written by whoever logs it gives Python's interpreter away, and under load the event loop then
    waits for it, with all requests: a quarter of its time.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._some, self._writing = threading.Event(), threading.Lock()
        threading.Thread(target=self._work, name="log", daemon=True).start()

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return len(self._lines)

    def write(self, text: str) -> None:
        """To be written soon."""
        self._lines.append(text)
        self._some.set()

    def flush(self) -> None:
        """What `logging` calls after each line; nothing is hurried."""

    def write_all(self) -> None:
        """Write what there is now. Where that cannot be, nobody is there to be told."""
        with self._writing, contextlib.suppress(OSError, ValueError):
            self._some.clear()
            self._stream.write("".join(self._lines.popleft() for _ in range(len(self._lines))))
            self._stream.flush()

    def _work(self) -> None:
        while self._some.wait():
            time.sleep(WRITE_EVERY_S)
            self.write_all()


class UnhurriedHandler(logging.StreamHandler[Unhurried]):
    """Has all written when it is closed, as `logging.shutdown` does."""

    def close(self) -> None:
        """See `logging.Handler`."""
        self.stream.write_all()
        super().close()


class JSONLine(logging.Formatter):
    """One JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """ISO 8601 time in UTC, level, message, and the record's fields."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **dict(_fields(record)),
        }
        return json.dumps(line, ensure_ascii=False)


class TextLine(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Local time, level, message, and the record's fields as name=value."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        rest = "".join(f" {name}={value}" for name, value in _fields(record))
        return f"{moment} {record.levelname.lower():7} {record.getMessage()}{rest}"


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    yield from getattr(record, FIELDS, {}).items()
    if record.exc_info and record.exc_info[1] is not None:
        yield from _error(record.exc_info[1])


def _error(error: BaseException) -> Iterator[tuple[str, object]]:
    """What was raised and where. Only our own errors' words: others' may quote what a user sent."""
    yield "error", type(error).__name__
    if isinstance(error, LRPServeError):
        yield "detail", error.detail
    frames = walk_tb(error.__traceback__)
    yield (
        "where",
        [f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}:{line}" for frame, line in frames],
    )
