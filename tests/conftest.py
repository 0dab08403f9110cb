"""What several tests need: pictures and the service with the shipped weights."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from skimage import data
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings


def encode(image: Image.Image, form: str = "PNG") -> bytes:
    """The picture as a file of this format."""
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def cat() -> Image.Image:
    """Chelsea, 451×300, RGB; CC0, by Stefan van der Walt."""
    return Image.fromarray(np.asarray(data.chelsea()))  # type: ignore[no-untyped-call] # it has no types


@pytest.fixture(scope="session")
def cat_png(cat: Image.Image) -> bytes:
    return encode(cat)


@pytest.fixture(scope="session")
def cat_jpeg(cat: Image.Image) -> bytes:
    return encode(cat, "JPEG")


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """The service as it ships."""
    return create_app(Settings())


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        while client.get("/readyz").status_code == 503:
            pass  # the warm-up goes on between the requests
        yield client
