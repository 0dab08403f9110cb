"""Requests to the service on a Ray cluster, with the answers that they should have."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image
from skimage import data

from benchmarks.ray_nodes import Nodes

REQUEST_S = 60.0
PICTURES = 8
CORNERS = np.linspace(0, 150, PICTURES, dtype=int)
TEXTS = ("a gorgeous, witty film", "dull, and far too long")
MIXTURE = {
    "Cement": 540, "Blast-Furnace-Slag": 0, "Fly-Ash": 0, "Water": 173, "Superplasticizer": 0,
    "Coarse-Aggregate": 1125, "Fine-Aggregate": 613, "Age": 270,
}  # fmt: skip
VOLATILE = {"timings", "seconds", "ms", "request_id"}


@dataclass(frozen=True)
class Exchange:
    """A request, and what the service answers to it while nothing else happens."""

    path: str
    options: Mapping[str, Any]
    answer: httpx.Response


def exchanges(nodes: Nodes) -> list[Exchange]:
    """Return requests with pictures of different content, texts and a row of a table, and the answers to them."""
    requests: list[tuple[str, dict[str, Any]]] = [
        (path, {"content": picture, "headers": {"Content-Type": "image/png", "Accept": accept}})
        for picture in _pictures()
        for path, accept in (("/predict", "application/json"), ("/explain", "application/x-npy"))
    ]
    requests += [("/predict/text", {"json": {"text": text}}) for text in TEXTS]
    requests += [("/explain/table", {"json": {"features": MIXTURE}})]
    with client_of(nodes) as client:
        return [
            Exchange(path, options, client.post(path, **options).raise_for_status())
            for path, options in requests
        ]


def client_of(nodes: Nodes) -> httpx.Client:
    """Return a client with the service's key."""
    return httpx.Client(base_url=nodes.url, headers={"X-API-Key": nodes.key}, timeout=REQUEST_S)


def _pictures() -> list[bytes]:
    cat = Image.fromarray(data.chelsea())  # type: ignore[no-untyped-call] # it has no types
    crops = [cat.crop((int(left), 0, int(left) + 300, 300)).resize((48, 48)) for left in CORNERS]
    return [_png(one) for one in crops]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def alike(one: httpx.Response, other: httpx.Response) -> bool:
    """Return whether two answers are the same up to rounding."""
    if one.headers["Content-Type"] != other.headers["Content-Type"]:
        return False
    if one.headers["Content-Type"].startswith("application/json"):
        return _alike(one.json(), other.json())
    ours, theirs = (np.load(io.BytesIO(answer.content)) for answer in (one, other))
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max())


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _alike(one[name], other[name]) for name in one.keys() - VOLATILE
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return bool(np.isclose(one, other, rtol=1e-3, atol=1e-4))
    return bool(one == other)
