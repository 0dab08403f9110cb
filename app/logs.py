"""One line an event: JSON for machines, words for a terminal. No content, no keys, no paths, no tracebacks."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from traceback import walk_tb
from typing import Any

from app.errors import LRPServeError
from app.settings import LogFormat

FIELDS = "fields"
"""The attribute of a record that holds its structured part: ``log.info("…", extra=fields(id=…))``."""


def fields(**values: object) -> dict[str, Any]:
    """``extra`` of a logging call: ``values`` become the line's own fields."""
    return {FIELDS: values}


def configure(form: LogFormat) -> None:
    """Write every logger's lines, uvicorn's among them, to stderr; ``auto`` is text on a terminal, else JSON."""
    handler = logging.StreamHandler(sys.stderr)
    readable = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLine() if readable else JSONLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


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
