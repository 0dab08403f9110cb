"""Fixtures of several tests: pictures, and the service with the shipped weights."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import settings as hypothesis_settings
from PIL import Image
from skimage import data
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from app.main import create_app
from app.runtime.model_process import ModelProcess, ProcessModel
from app.server import options
from app.settings import Settings, shipped_model

hypothesis_settings.register_profile("soak", max_examples=2000)
pytest.register_assert_rewrite("on_ray")  # its assertions then say what differs


def encode(image: Image.Image, form: str = "PNG") -> bytes:
    """Return the picture as a file in this format of Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def cat() -> Image.Image:
    """The cat Chelsea, 451×300, RGB, by Stefan van der Walt (CC0)."""
    return Image.fromarray(np.asarray(data.chelsea()))  # type: ignore[no-untyped-call] # skimage has no types


@pytest.fixture(scope="session")
def cat_png(cat: Image.Image) -> bytes:
    return encode(cat)


@pytest.fixture(scope="session")
def cat_jpeg(cat: Image.Image) -> bytes:
    return encode(cat, "JPEG")


class SharedProcess(ModelProcess):
    """A process that several services use in turn: one that closes while a batch runs does not end it for all."""

    def kill(self) -> None:
        pass


@pytest.fixture(scope="session")
def model() -> ProcessModel:
    """The shipped model in one process, shared by the services of all tests."""
    return SharedProcess([shipped_model()], "cpu", None).models[0]


@pytest.fixture(scope="session")
def app(model: ProcessModel) -> FastAPI:
    """The application with default settings, except that evaluations may be slow."""
    return create_app(Settings(evaluation_deadline_s=600), model)


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        ready = (client.get("/readyz").status_code == 200 for _ in range(10_000))
        assert any(ready), "the warm-up failed"  # it runs between the requests
        yield client


class Server(uvicorn.Server):
    """A server that sets an event when its startup has finished."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.startup_finished = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.startup_finished.set()

    @property
    def port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])


@contextmanager
def serving(settings: Settings, app: ASGIApp) -> Iterator[Server]:
    """Run the server with ``app`` on a free port of the loopback interface."""
    server = Server(uvicorn.Config(app, **{**options(settings), "port": 0}))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.startup_finished.wait(60)
    yield server
    server.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def server(app: FastAPI) -> Iterator[Server]:
    """The application with default settings, over TCP."""
    with serving(Settings(), app) as server:
        while httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 503:
            pass  # the warm-up runs between the requests
        yield server
