"""One line an event, and nothing in it that it must not say."""

import io
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.errors import InternalError
from app.main import create_app
from app.runtime.model_process import ModelProcess
from app.settings import LogFormat, Settings
from app.telemetry.logs import JSONLine, TextLine, Unhurried, configure, fields


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


def test_a_crash_is_found_by_its_id_and_tells_where_but_not_what(lines: Lines, model: ModelProcess) -> None:
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


def test_our_own_errors_say_what_happened(lines: Lines, model: ModelProcess) -> None:
    app = create_app(Settings(), model)

    @app.get("/fault")
    def fault() -> None:
        raise InternalError("relevance is not finite")

    with TestClient(app) as client:
        assert "finite" not in client.get("/fault").text
    assert '"detail": "relevance is not finite"' in "".join(lines.written)


def test_start_and_stop_are_lines_too(lines: Lines, model: ModelProcess) -> None:
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
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    while "hello" not in stream.getvalue():
        time.sleep(0.01)
    assert stream.getvalue().count("\n") == 1
    if formatter is TextLine:
        assert stream.getvalue().endswith("info    hello id=x ms={'total': 1.5}\n")


def test_lines_are_written_together_in_their_order_by_somebody_else() -> None:
    writes: list[tuple[str, str]] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            writes.append((threading.current_thread().name, text))
            return len(text)

    stream = Unhurried(Stream())
    for number in range(100):
        stream.write(f"{number}\n")
    while sum(text.count("\n") for _, text in writes) < 100:
        time.sleep(0.01)
    assert "".join(text for _, text in writes) == "".join(f"{number}\n" for number in range(100))
    assert len(writes) < 100
    assert {name for name, _ in writes} == {"log"}


def test_a_stream_that_nobody_reads_any_more_costs_no_memory_and_no_thread() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    stream = Unhurried(Closed())
    for _ in range(2):
        stream.write("line\n")
        while stream.waiting:
            time.sleep(0.01)
