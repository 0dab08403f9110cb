"""One line an event, and nothing in it that it must not say."""

import io
import json
import logging
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.errors import InternalError
from app.main import create_app
from app.models.protocol import Model
from app.settings import LogFormat, Settings
from app.telemetry.logs import JSONLine, LineHandler, TextLine, configure, fields


class Lines(logging.Handler):
    """Everything that is logged, as the formatter writes it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.addFilter(lambda record: not record.name.startswith("httpx"))  # the tests' own client
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[Lines]:
    root, handler = logging.getLogger(), Lines(JSONLine())
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def of_requests(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, lines.written) if line["message"] == "request"]


def test_a_request_is_one_line(lines: Lines, client: TestClient, cat_png: bytes) -> None:
    response = client.post(
        "/explain", content=cat_png, headers={"Content-Type": "image/png", "X-Request-ID": "mine-1"}
    )
    (line,) = of_requests(lines)
    assert line["id"] == "mine-1"
    assert (line["route"], line["status"], line["level"]) == ("/explain", 200, "info")
    assert (line["bytes_in"], line["bytes_out"]) == (len(cat_png), len(response.content))
    assert list(line["ms"]) == ["decode", "queue", "model", "render", "total"]
    assert sum(line["ms"].values()) <= 2 * line["ms"]["total"]


def test_nothing_that_a_user_sent_is_in_a_line(lines: Lines, client: TestClient) -> None:
    client.post(
        "/explain?rule=SECRET&SECRET=1",
        files={"file": ("SECRET.png", b"SECRET", "image/SECRET")},
        headers={"Authorization": "Bearer SECRET", "X-API-Key": "SECRET", "X-Request-ID": "no SECRET"},
    )
    client.post("/predict", files={"file": ("SECRET.png", b"SECRET")})
    client.get("/SECRET", headers={"Cookie": "SECRET", "User-Agent": "SECRET", "Referer": "SECRET"})
    client.request("SECRET", "/model")
    assert [line["status"] for line in of_requests(lines)] == [422, 422, 404, 405]
    assert "SECRET" not in "".join(lines.written)


def test_a_crash_is_found_by_its_id_and_tells_where_but_not_what(lines: Lines, model: Model) -> None:
    app = create_app(Settings(), model)

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("SECRET in /a/path")

    with TestClient(app) as client:
        request_id = client.get("/crash").json()["instance"]
    (line,) = [line for line in map(json.loads, lines.written) if line["message"] == "failed"]
    assert (line["id"], line["error"], line["level"]) == (request_id, "RuntimeError", "error")
    assert line["where"][-1].startswith("test_logs.crash:")
    assert not {"SECRET", "Traceback", ".py"} & set("".join(lines.written).split())
    assert "/a/path" not in "".join(lines.written)


def test_our_own_errors_say_what_happened(lines: Lines, model: Model) -> None:
    app = create_app(Settings(), model)

    @app.get("/fault")
    def fault() -> None:
        raise InternalError("relevance is not finite")

    with TestClient(app) as client:
        assert "finite" not in client.get("/fault").text
    assert '"detail": "relevance is not finite"' in "".join(lines.written)


def test_start_and_stop_are_lines_too(lines: Lines, model: Model) -> None:
    with TestClient(create_app(Settings(), model)):
        pass
    said = [json.loads(line) for line in lines.written]
    assert [line["message"] for line in said if line["message"] in ("started", "stopped")] == [
        "started",
        "stopped",
    ]
    assert said[0]["model"] == "minivgg-cifar10"


@pytest.mark.parametrize(
    ("form", "terminal", "formatter"),
    [
        ("auto", True, TextLine),
        ("auto", False, JSONLine),
        ("json", True, JSONLine),
        ("text", False, TextLine),
    ],
)
def test_a_terminal_gets_words_and_a_machine_json(
    monkeypatch: pytest.MonkeyPatch, form: LogFormat, terminal: bool, formatter: type[logging.Formatter]
) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", stream := Stream())
    monkeypatch.setattr(root, "handlers", [])
    try:
        configure(form)
        assert isinstance(root.handlers[0].formatter, formatter)
        logging.getLogger("app").info("hello", extra=fields(id="x", ms={"total": 1.5}))
        root.handlers[0].close()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    assert stream.getvalue().count("\n") == 1
    if formatter is TextLine:
        assert stream.getvalue().endswith("info    hello id=x ms={'total': 1.5}\n")


class SlowStream(io.StringIO):
    """Blocks the first write until it is released; records who writes what."""

    def __init__(self, *, blocked: bool = False) -> None:
        super().__init__()
        self.writes: list[tuple[str, str]] = []
        self.entered, self.released = threading.Event(), threading.Event()
        if not blocked:
            self.released.set()

    def write(self, text: str) -> int:
        self.entered.set()
        self.released.wait()
        self.writes.append((threading.current_thread().name, text))
        return len(text)

    @property
    def lines(self) -> list[str]:
        return "".join(text for _, text in self.writes).splitlines()


def message(text: object) -> logging.LogRecord:
    return logging.LogRecord("app", logging.INFO, "", 0, str(text), None, None)


def test_lines_are_written_together_in_their_order_by_another_thread() -> None:
    stream = SlowStream()
    handler = LineHandler(stream)
    for number in range(100):
        handler.handle(message(number))
    while len(stream.lines) < 100:
        time.sleep(0.01)
    assert stream.lines == [str(number) for number in range(100)]
    assert len(stream.writes) < 100
    assert threading.current_thread().name not in {name for name, _ in stream.writes}
    handler.close()


def test_all_lines_are_written_when_the_handler_is_closed() -> None:
    stream = SlowStream()
    handler = LineHandler(stream)
    for number in range(1000):
        handler.handle(message(number))
    handler.close()
    assert stream.lines == [str(number) for number in range(1000)]
    handler.close()  # as `logging.shutdown` does again at exit


@pytest.mark.parametrize("at_close", [False, True])
def test_lines_beyond_the_bound_are_dropped_and_their_number_is_logged(at_close: bool) -> None:
    stream = SlowStream(blocked=True)
    handler = LineHandler(stream, max_lines=10)
    handler.setFormatter(TextLine())
    handler.handle(message("first"))
    assert stream.entered.wait(60)
    for number in range(25):
        handler.handle(message(number))
    assert handler.queue.qsize() == 10
    stream.released.set()
    if not at_close:
        while handler.queue.qsize():
            time.sleep(0.01)
        handler.handle(message("last"))
    handler.close()
    written = [line.split(maxsplit=2)[2] for line in stream.lines]
    last = [] if at_close else ["last"]
    assert written == ["first", *map(str, range(10)), "log lines dropped lines=15", *last]


def test_a_waiting_line_keeps_nothing_alive_that_its_record_refers_to() -> None:
    class Upload:
        pass

    stream = SlowStream(blocked=True)
    handler = LineHandler(stream)
    upload = Upload()
    left = weakref.ref(upload)
    handler.handle(logging.LogRecord("app", logging.INFO, "", 0, "got %s", (upload,), None))
    del upload
    assert left() is None
    stream.released.set()
    handler.close()


def test_a_closed_stream_costs_no_memory_and_does_not_end_the_thread() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    handler = LineHandler(Closed())
    for _ in range(2):
        handler.handle(message("line"))
        while handler.queue.qsize():
            time.sleep(0.01)
    handler.close()
