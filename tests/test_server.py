"""The real thing: the command, as a process, asked over TCP."""

import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "LRP_QUEUE_DEADLINE_S": "60"},  # the warm-up comes first
    )
    assert process.stdout is not None
    url = next(
        (m[0] for line in process.stdout if (m := re.search(r"http://127\.0\.0\.1:[1-9]\d*", line))), None
    )
    assert url is not None, "the server ended without printing its URL"
    # Without a reader the pipe fills up after some hundred lines, and the server waits for ever.
    reader = threading.Thread(target=process.stdout.read)
    reader.start()
    yield process, url
    process.terminate()
    process.wait(timeout=30)
    reader.join()
    process.stdout.close()


def test_the_command_prints_its_url_and_explains_over_tcp(
    server: tuple[subprocess.Popen[str], str], cat_jpeg: bytes
) -> None:
    _, url = server
    with httpx.Client(base_url=url, timeout=60) as client:
        answer = client.post("/explain", files={"file": cat_jpeg}, headers={"Accept": "image/png"})
        statuses = (client.get("/readyz").status_code for _ in range(10_000))
        assert 200 in statuses  # the other models have a warm-up, too
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["X-Prediction"]


def test_the_process_ends_in_order_when_it_is_told_to(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    process, _ = server
    process.terminate()
    assert process.wait(timeout=30) in (0, -15)


def test_a_spoilt_model_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0"],
        env={**os.environ, "LRP_MODEL": str(tmp_path / "card.json")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "card.json" in done.stderr
    assert "Traceback" not in done.stderr


SIGNATURES = {
    uvicorn.Server: {"run": [], "capture_signals": [], "handle_exit": ["sig", "frame"]},
    HttpToolsProtocol: {
        "__init__": ["config", "server_state", "app_state", "_loop"],
        "connection_made": ["transport"],
        "data_received": ["data"],
        "on_headers_complete": [],
        "on_body": ["body"],
        "on_message_complete": [],
        "on_response_complete": [],
        "connection_lost": ["exc"],
    },
}
"""Methods of uvicorn that `app.server` extends or calls, and their parameters."""
ATTRIBUTES = {
    uvicorn.Server: ["started", "should_exit"],
    HttpToolsProtocol: [
        *["parser", "transport", "loop", "app_state"],
        *["url", "headers", "expect_100_continue", "scope", "cycle", "pipeline"],
        *["client", "config", "root_path", "flow"],
    ],
    RequestResponseCycle: [
        *["scope", "response_complete", "message_event"],
        *["keep_alive", "disconnected", "more_body", "body"],
    ],
}
"""Attributes of uvicorn's objects that `app.server` uses."""
CHANGED = (
    f"uvicorn {uvicorn.__version__} differs from what app/server.py extends: adapt it, or lower the bound"
)


async def application(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Answers nothing."""


@pytest.mark.parametrize(
    ("kind", "method"), [(kind, method) for kind, methods in SIGNATURES.items() for method in methods]
)
def test_uvicorn_has_the_methods_that_the_server_extends(kind: type, method: str) -> None:
    assert hasattr(kind, method), CHANGED
    found = list(inspect.signature(getattr(kind, method)).parameters)
    assert found[1 : 1 + len(SIGNATURES[kind][method])] == SIGNATURES[kind][method], CHANGED


def test_uvicorns_objects_have_the_attributes_that_the_server_uses() -> None:
    async def objects() -> tuple[object, ...]:
        config = uvicorn.Config(application, interface="asgi3", log_config=None)
        state = ServerState()
        protocol = HttpToolsProtocol(config, state, {})
        protocol.connection_made(asyncio.Transport())
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n")
        protocol.data_received(b"Content-Length: 1\r\n\r\n")
        protocol.connection_lost(ConnectionResetError())
        await asyncio.gather(*state.tasks)
        return uvicorn.Server(config), protocol, protocol.cycle

    for found in asyncio.run(objects()):
        missing = [name for name in ATTRIBUTES[type(found)] if not hasattr(found, name)]
        assert not missing, CHANGED
