"""Requests to ``/evaluate``, most of them with a model whose curves can be computed in a few lines."""

import io
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import encode, serving
from fake_model import CLASSES, MEAN, STD, FakeModel, logits_of, relevance_of
from PIL import Image
from starlette.testclient import TestClient

from app.lrp.composites import COMPOSITES
from app.main import create_app
from app.models.protocol import Job, JobResult
from app.serving.evaluation import IN_FLIGHT
from app.settings import Settings

PNG = {"Content-Type": "image/png"}
LIMIT_S = 60
ATTEMPTS = 100_000
HEIGHT, WIDTH, PATCH = 48, 64, 16
PATCHES = 12
Floats = np.ndarray[Any, Any]


class GatedModel(FakeModel):
    """Counts jobs, and holds them while the gate is closed."""

    def __init__(self) -> None:
        self.jobs = 0
        self.arrived = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        self.jobs += len(jobs)
        self.arrived.set()
        assert self.gate.wait(LIMIT_S)
        return super().run(jobs)


@contextmanager
def client_of(model: FakeModel, settings: Settings | None = None) -> Iterator[TestClient]:
    with TestClient(create_app(settings or Settings(), model)) as client:
        assert any(client.get("/readyz").status_code == 200 for _ in range(ATTEMPTS))
        yield client


@pytest.fixture(scope="module")
def quadrants() -> Iterator[TestClient]:
    with client_of(FakeModel()) as client:
        yield client


@pytest.fixture(scope="module")
def picture() -> bytes:
    """Random pixels of the fake model's size, brighter at the top left."""
    pixels = np.random.default_rng(0).integers(0, 120, (HEIGHT, WIDTH)).astype(np.uint8)
    pixels[:24, :32] += 100
    return encode(Image.fromarray(pixels))


def evaluate(client: TestClient, picture: bytes, **query: Any) -> Any:
    response = client.post("/evaluate", params=query, content=picture, headers=PNG)
    assert response.status_code == 200, response.text
    return response.json()


def network_input(picture: bytes) -> Floats:
    with Image.open(io.BytesIO(picture)) as image:
        return ((np.asarray(image) / np.float64(255) - MEAN) / STD)[None]


def probability(x: Floats, target: int) -> float:
    exponentials = np.exp(logits_of(x))
    return float(exponentials[target] / exponentials.sum())


def patches(x: Floats) -> list[Floats]:
    """Views of the patches, row by row."""
    corners = [(top, left) for top in range(0, HEIGHT, PATCH) for left in range(0, WIDTH, PATCH)]
    return [x[:, top : top + PATCH, left : left + PATCH] for top, left in corners]


def curve(x: Floats, order: Sequence[int], target: int) -> list[float]:
    """The definition, flip by flip."""
    x, found = x.copy(), []
    for patch in order:
        patches(x)[patch][:] = 0
        found.append(probability(x, target))
    return found


def test_curves_and_gap_are_those_of_the_definition(quadrants: TestClient, picture: bytes) -> None:
    answer = evaluate(quadrants, picture, rule="zero", patch=PATCH, target="bottom-right")
    x, target = network_input(picture), CLASSES.index("bottom-right")
    start = np.zeros(4)
    start[target] = np.sign(logits_of(x)[target])
    sums = [patch.sum() for patch in patches(relevance_of(x, start))]
    most, least = (curve(x, sorted(range(PATCHES), key=lambda i: sign * sums[i]), target) for sign in (-1, 1))
    (evaluated,) = answer["evaluations"]
    assert answer["patches"] == PATCHES
    assert answer["target"]["probability"] == pytest.approx(probability(x, target), abs=1e-6)
    assert evaluated["curves"]["most_relevant_first"] == pytest.approx(most, abs=1e-5)
    assert evaluated["curves"]["least_relevant_first"] == pytest.approx(least, abs=1e-5)
    assert evaluated["gap"] == pytest.approx(np.mean(np.subtract(least, most)[: PATCHES // 2]), abs=1e-5)


def test_occlusion_flips_by_the_fall_of_the_probability(quadrants: TestClient, picture: bytes) -> None:
    answer = evaluate(quadrants, picture, rule="zero", patch=PATCH)
    x = network_input(picture)
    after = [curve(x, [patch], 0)[0] for patch in range(PATCHES)]
    order = sorted(range(PATCHES), key=lambda patch: after[patch])
    curves = answer["occlusion"]["curves"]
    assert answer["target"]["label"] == "top-left"
    assert curves["most_relevant_first"] == pytest.approx(curve(x, order, 0), abs=1e-5)
    assert curves["least_relevant_first"] == pytest.approx(curve(x, order[::-1], 0), abs=1e-5)
    assert answer["occlusion"]["gap"] >= answer["evaluations"][0]["gap"] - 1e-6


def test_the_first_flip_that_changes_the_class_is_reported(quadrants: TestClient, picture: bytes) -> None:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:24, :32], pixels[:24, 32:] = 204, 158  # 2 and 1.1 after normalisation, in 12 patches each
    (changed,) = evaluate(quadrants, encode(Image.fromarray(pixels)), rule="zero", patch=8)["evaluations"]
    assert changed["flips_after"] == 6  # 2 · 7/12 > 1.1 > 2 · 6/12
    (kept,) = evaluate(quadrants, picture, rule="zero", patch=8)["evaluations"]
    assert kept["flips_after"] is None  # the other quadrants are darker than the mean


def test_the_control_depends_on_the_picture_alone(quadrants: TestClient, picture: bytes) -> None:
    first, again = (evaluate(quadrants, picture, rule=rule)["random"] for rule in ("zero", "gamma"))
    other = evaluate(quadrants, encode(Image.new("L", (WIDTH, HEIGHT), 200)), rule="zero")["random"]
    assert first == again != other


def test_other_measures_are_reported(quadrants: TestClient, picture: bytes) -> None:
    (evaluated,) = evaluate(quadrants, picture, rule="zero")["evaluations"]
    layers = [one["layer"] for one in evaluated["randomization"]]
    assert layers == ["vote", "encoder.scan"]  # from the output to the input
    assert [one["similarity"] for one in evaluated["randomization"]] == pytest.approx(
        [1, 1]
    )  # it has no weights
    assert 0 < evaluated["sensitivity"] < 0.2
    assert 0 < evaluated["sparseness"] < 1
    assert evaluated["leak"] == pytest.approx(0, abs=1e-5)
    assert evaluated["rule"]["name"] == "zero"


def test_defaults_are_all_composites_the_predicted_class_and_an_eighth_of_the_side(
    quadrants: TestClient, picture: bytes
) -> None:
    answer = evaluate(quadrants, picture)
    assert [one["rule"]["name"] for one in answer["evaluations"]] == list(COMPOSITES)
    assert answer["target"] == answer["prediction"]
    assert (answer["patch"], answer["patches"]) == (4, 192)  # 6 divides 48, but not 64
    assert answer["replacement"] == "mean"


def test_a_blur_keeps_a_constant_picture(quadrants: TestClient) -> None:
    grey = encode(Image.new("L", (WIDTH, HEIGHT), 200))
    (evaluated,) = evaluate(quadrants, grey, rule="zero", patch=PATCH, replacement="blur")["evaluations"]
    assert evaluated["curves"]["most_relevant_first"] == pytest.approx([0.25] * PATCHES)


def test_png_is_a_chart(quadrants: TestClient, picture: bytes) -> None:
    query = {"rule": ["zero", "gamma"], "patch": PATCH}
    response = quadrants.post(
        "/evaluate", params=query, content=picture, headers={**PNG, "Accept": "image/png"}
    )
    assert response.headers["content-type"] == "image/png"
    assert response.headers["vary"] == "Accept"
    with Image.open(io.BytesIO(response.content)) as chart:
        colours = {colour for _, colour in chart.convert("RGB").getcolors(2**24) or []}
    assert {(178, 24, 43), (33, 102, 172)} <= colours


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("patch", 5),
        ("patch", 32),  # divides the width alone
        ("patch", 0),
        ("patch", "four"),
        ("rule", "nope"),
        ("rule", ["gamma", "gamma"]),
        ("target", "tiger"),
        ("target", 4),
        ("target", "all"),
        ("target", ["top-left", "top-right"]),
        ("replacement", "black"),
        ("epsilon", 0.1),
        ("samples", 3),
    ],
)
def test_bad_parameters_are_refused_by_name(
    quadrants: TestClient, picture: bytes, parameter: str, value: object
) -> None:
    response = quadrants.post("/evaluate", params={parameter: value}, content=picture, headers=PNG)
    assert response.status_code == 422
    assert parameter in [error["loc"][-1] for error in response.json()["errors"]]


def test_an_evaluation_beyond_its_deadline_is_504_and_computing_stops(picture: bytes) -> None:
    model = GatedModel()
    with client_of(model, Settings(evaluation_deadline_s=0.05)) as client:
        model.gate.clear()
        opens = threading.Timer(0.5, model.gate.set)
        opens.start()
        response = client.post("/evaluate", content=picture, headers=PNG)
        opens.join()
        assert response.status_code == 504
        assert "0.05 s" in response.json()["detail"]
    assert model.jobs <= 1 + IN_FLIGHT  # the warm-up, and what was submitted by then


def test_more_evaluations_than_allowed_are_503_and_other_requests_are_not(picture: bytes) -> None:
    model = GatedModel()
    with serving_model(model, Settings(max_evaluations=1)) as (address, connection):
        connection.sendall(request(picture))
        assert model.arrived.wait(LIMIT_S)
        response = httpx.post(f"{address}/evaluate", content=picture, headers=PNG)
        assert response.status_code == 503
        assert "evaluations" in response.json()["detail"]
        assert response.headers["retry-after"]
        model.gate.set()
        assert httpx.post(f"{address}/explain", content=picture, headers=PNG, timeout=LIMIT_S).is_success
        assert connection.recv(12).endswith(b"200")


def test_a_client_that_leaves_ends_its_evaluation(picture: bytes) -> None:
    model = GatedModel()
    with serving_model(model, Settings(max_evaluations=1)) as (address, connection):
        connection.sendall(request(picture))
        assert model.arrived.wait(LIMIT_S)
        connection.close()
        waiting = (
            b'lrpserve_queue_depth{model="quadrants"} 0.0' in httpx.get(f"{address}/metrics").content
            for _ in range(ATTEMPTS)
        )
        assert any(waiting)
        model.gate.set()
        assert httpx.post(f"{address}/predict", content=picture, headers=PNG).is_success
    assert model.jobs <= 2 + IN_FLIGHT  # the warm-up, the prediction, and what was submitted by then


@contextmanager
def serving_model(model: GatedModel, settings: Settings) -> Iterator[tuple[str, socket.socket]]:
    """A server with the gate closed after the warm-up, and a connection to it."""
    with serving(settings, create_app(settings, model)) as server:
        address = f"http://127.0.0.1:{server.port}"
        assert any(httpx.get(f"{address}/readyz").is_success for _ in range(ATTEMPTS))
        model.gate.clear()
        model.arrived.clear()
        with socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as connection:
            yield address, connection
        model.gate.set()


def request(picture: bytes) -> bytes:
    head = f"POST /evaluate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(picture)}\r\n\r\n"
    return head.encode() + picture


def test_the_shipped_model_is_better_than_chance_and_randomisation_changes_its_maps(
    client: TestClient, cat_png: bytes
) -> None:
    answer = evaluate(client, cat_png, rule=["epsilon_plus_flat", "z_plus"], patch=8)
    default, z_plus = answer["evaluations"]
    assert default["gap"] > 0.2
    assert len(default["randomization"]) == 6
    assert all(-1 <= one["similarity"] < 0.99 for one in default["randomization"])
    top = z_plus["randomization"][0]
    assert top["layer"] == "classifier.4"
    assert top["similarity"] > 0.9  # Sixt et al. 2020
