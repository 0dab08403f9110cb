"""Several models side by side: which one answers, and what one may do to another."""

import base64
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Server, encode, serving
from fake_model import DESCRIPTION, FakeModel
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from app.api.http.early_refusal import named_model
from app.errors import RefusedToStartError
from app.lrp.request import ExplanationRequest
from app.main import create_app
from app.models.protocol import Description, Job, JobResult, NoMemoryError
from app.settings import Settings

PNG = {"Content-Type": "image/png"}
LIMIT_S = 60
SETTINGS = Settings(default_model="compass")
COMPASS = ("north-west", "north-east", "south-west", "south-east")
MANY = (*COMPASS, *(f"thing {number}" for number in range(4, 1000)))


def described(name: str, classes: Sequence[str], sha256: str) -> Description:
    return replace(
        DESCRIPTION,
        card=DESCRIPTION.card.model_copy(
            update={"name": name, "classes": classes, "files": {"weights.safetensors": sha256}}
        ),
    )


class Named(FakeModel):
    """A fake model with another name and other classes, of which all but four have the logit 0.

    Attributes:
        fault: Raised by `run` if it is set.
        is_finite: Whether logits are finite numbers.
        batches: Number of jobs in each batch.

    """

    def __init__(self, name: str, classes: Sequence[str], sha256: str) -> None:
        self.description = described(name, classes, sha256)
        self.fault: BaseException | None = None
        self.is_finite = True
        self.batches: list[int] = []
        self._started, self._open = threading.Semaphore(0), threading.Event()
        self._open.set()

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        self.batches.append(len(jobs))
        self._started.release()
        assert self._open.wait(LIMIT_S)
        if self.fault:
            raise self.fault
        rest = [0.0 if self.is_finite else np.nan] * (len(self.description.card.classes) - 4)
        results = super().run([replace(job, requests=tuple(map(_known, job.requests))) for job in jobs])
        return [replace(result, logits=result.logits + rest) for result in results]

    def close(self) -> None:
        """Let batches wait until `open` is called."""
        self._started = threading.Semaphore(0)
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def wait_for_batch(self) -> None:
        assert self._started.acquire(timeout=LIMIT_S)


def _known(request: ExplanationRequest) -> ExplanationRequest:
    """Explain one of the four classes that the fake model knows."""
    index = request.target.index
    return request if index is None else replace(request, target=replace(request.target, index=index % 4))


def models() -> tuple[Named, Named]:
    return Named("compass", COMPASS, "1" * 64), Named("many", MANY, "2" * 64)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(SETTINGS, models())


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        until_ready(client)
        yield client


def until_ready(client: TestClient) -> None:
    assert any(client.get("/readyz").status_code == 200 for _ in range(10_000)), "the warm-up failed"


@pytest.fixture(scope="module")
def corner() -> bytes:
    """Black but for its upper left quarter."""
    picture = Image.new("L", (64, 48))
    picture.paste(255, (0, 0, 32, 24))
    return encode(picture)


def post(client: TestClient, path: str, content: bytes, **query: Any) -> Any:
    response = client.post(path, params=query, content=content, headers=PNG)
    assert response.status_code == 200, response.text
    return response.json()


# Which one answers


@pytest.mark.parametrize("path", ["/predict", "/explain", "/compare", "/evaluate"])
@pytest.mark.parametrize(
    ("query", "name", "version"),
    [
        ({}, "compass", "1" * 12),
        ({"model": "compass"}, "compass", "1" * 12),
        ({"model": "many"}, "many", "2" * 12),
    ],
)
def test_the_model_that_is_named_answers_and_the_first_one_where_none_is(
    client: TestClient, corner: bytes, path: str, query: dict[str, str], name: str, version: str
) -> None:
    options = {"rule": "zero", "patch": "8"} if path == "/evaluate" else {}
    answer = post(client, path, corner, **query, **options)
    assert answer["model"] == {"name": name, "version": version}
    assert answer["prediction"]["label"] == "north-west"


def test_a_batch_of_files_is_of_the_model_that_is_named(client: TestClient, corner: bytes) -> None:
    files = [("file", ("a.png", corner)), ("file", ("b.png", corner))]
    answer = client.post("/explain/batch", params={"model": "many"}, files=files).json()
    assert [result["explanation"]["model"]["name"] for result in answer["results"]] == ["many"] * 2


def test_targets_are_classes_of_the_model_that_is_named(client: TestClient, corner: bytes) -> None:
    answer = post(client, "/explain", corner, model="many", target="thing 999")
    assert answer["target"] == {"index": 999, "label": "thing 999"}
    refused = client.post("/explain", params={"target": "thing 999"}, content=corner, headers=PNG)
    assert refused.status_code == 422
    assert "north-west" in refused.json()["detail"]


@pytest.mark.parametrize(
    "path", ["/predict", "/explain", "/explain/batch", "/compare", "/evaluate", "/rules", "/models"]
)
def test_an_unknown_model_is_404_with_those_that_there_are(
    client: TestClient, corner: bytes, path: str
) -> None:
    if path == "/models":
        response = client.get("/models/vgg16")
    elif path == "/rules":
        response = client.get("/rules?model=vgg16")
    else:
        response = client.post(path, params={"model": "vgg16"}, content=corner, headers=PNG)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "urn:lrpserve:problem:not-found"
    assert "compass" in response.json()["detail"]
    assert "many" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/explain"])
@pytest.mark.parametrize(("asked", "count"), [({}, 10), ({"top_k": 3}, 3), ({"top_k": 1000}, 1000)])
def test_of_a_thousand_classes_ten_are_answered_unless_told_otherwise(
    client: TestClient, corner: bytes, path: str, asked: dict[str, int], count: int
) -> None:
    answer = post(client, path, corner, model="many", **asked)
    assert len(answer["scores"]) == count
    probabilities = [score["probability"] for score in answer["scores"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert answer["scores"][0]["label"] == answer["prediction"]["label"] == "north-west"
    assert len(post(client, path, corner, **(asked if count < 4 else {}))["scores"]) == min(count, 4)


# What there is


def test_the_models_are_listed_and_each_is_described(client: TestClient) -> None:
    entry = {"kind": "image", "architecture": "Quadrants", "input": [1, 48, 64]}
    assert client.get("/models").json() == {
        "models": [
            {"name": "compass", "version": "1" * 12, "classes": 4, "default": True, **entry},
            {"name": "many", "version": "2" * 12, "classes": 1000, "default": False, **entry},
        ],
        "reports": False,
    }
    assert client.get("/models/compass").json() == client.get("/model").json()
    assert client.get("/models/many").json()["classes"] == list(MANY)
    assert client.get("/models/many").json()["limits"] == client.get("/model").json()["limits"]


def test_openapi_is_of_the_default_model_and_accepts_every_model(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/predict", "/explain", "/explain/batch", "/compare", "/evaluate"):
        (parameter,) = (one for one in paths[path]["post"]["parameters"] if one["name"] == "model")
        assert parameter["schema"]["enum"] == ["compass", "many"]
        assert "Default: `compass`" in parameter["schema"]["description"]
        assert "404" in paths[path]["post"]["responses"]


def test_kserve_v1_lists_all_models_and_serves_each_under_its_name(client: TestClient, corner: bytes) -> None:
    assert client.get("/v1/models").json() == {"models": ["compass", "many"]}
    instances = {"instances": [base64.b64encode(corner).decode()]}
    for name in ("compass", "many"):
        assert client.get(f"/v1/models/{name}").json() == {"name": name, "ready": True}
        predicted = client.post(f"/v1/models/{name}:predict", json=instances).json()
        explained = client.post(f"/v1/models/{name}:explain", json=instances).json()
        for answer in (*predicted["predictions"], *explained["explanations"]):
            assert answer["model"]["name"] == name


def test_open_inference_lists_each_model_with_the_one_that_explains_it(client: TestClient) -> None:
    assert client.post("/v2/repository/index").json() == [
        {"name": "compass", "version": "1" * 12, "state": "READY", "reason": ""},
        {"name": "compass-lrp", "version": "1" * 12, "state": "READY", "reason": ""},
        {"name": "many", "version": "2" * 12, "state": "READY", "reason": ""},
        {"name": "many-lrp", "version": "2" * 12, "state": "READY", "reason": ""},
    ]
    assert len(client.post("/v2/repository/index", json={"ready": True}).json()) == 4
    assert client.post("/v2/repository/index", content=b"ready").status_code == 400
    assert client.post("/v2/repository/index", content=b" " * 10_000).status_code == 413


def test_open_inference_serves_each_model_with_all_its_classes(client: TestClient) -> None:
    image = {"name": "image", "datatype": "FP32", "shape": [1, 1, 48, 64], "data": [0.5] * 48 * 64}
    for name, classes in (("compass", 4), ("many", 1000)):
        for model in (name, f"{name}-lrp"):
            outputs = client.get(f"/v2/models/{model}").json()["outputs"]
            assert outputs[0]["shape"] == [-1, classes]
            answer = client.post(f"/v2/models/{model}/infer", json={"inputs": [image]}).json()
            assert answer["model_name"] == model
            assert answer["outputs"][0]["shape"] == [1, classes]
    assert client.get(f"/v2/models/many/versions/{'2' * 12}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/vgg16",
        "/v2/models/vgg16",
        "/v2/models/many-lrp-lrp",
        f"/v2/models/many/versions/{'1' * 12}",
    ],
)
def test_an_unknown_model_or_version_is_404_in_the_form_of_the_protocols(
    client: TestClient, path: str
) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert list(response.json()) == ["error"]
    assert ("many" in response.json()["error"]) != ("versions" in path)


def test_metrics_have_the_name_of_the_model(corner: bytes) -> None:
    with TestClient(create_app(SETTINGS, models())) as client:
        until_ready(client)
        for query in ({"model": "many"}, {"model": "many"}, {}):
            post(client, "/explain", corner, **query)
        client.post("/predict", params={"model": "many"}, content=b"no picture", headers=PNG)
        text = client.get("/metrics").text
    for line in (
        'stage_duration_seconds_count{model="many",stage="model"} 2.0',
        'stage_duration_seconds_count{model="compass",stage="model"} 1.0',
        'batch_size_count{model="many"} 3.0',  # and the warm-up
        'bad_pictures_total{model="many",reason="unreadable-image"} 1.0',
        'model_info{device="cpu",name="many",version="222222222222"} 1.0',
    ):
        assert f"lrpserve_{line}" in text


# What one may do to another


def test_results_that_cannot_be_used_are_of_one_model_and_named_by_readyz(corner: bytes) -> None:
    compass, many = models()
    with TestClient(create_app(SETTINGS, (compass, many)), raise_server_exceptions=False) as client:
        until_ready(client)
        assert client.get("/readyz").json() == {"status": "ready"}
        many.is_finite = False
        assert client.post("/predict?model=many", content=corner, headers=PNG).status_code == 500
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json() == {
            "status": "ready", "faults": {"many": "scores or relevance are not finite"}
        }  # fmt: skip
        states = {one["name"]: one for one in client.post("/v2/repository/index").json()}
        assert states["many"]["reason"] == "scores or relevance are not finite"
        assert states["many"]["state"] == states["compass"]["state"] == "READY"
        assert client.post("/predict", content=corner, headers=PNG).status_code == 200
        many.is_finite, many.fault = True, NoMemoryError()
        assert client.post("/predict?model=many", content=corner, headers=PNG).status_code == 503
        assert "memory" in client.get("/readyz").json()["faults"]["many"]
        many.fault = None
        assert client.post("/predict?model=many", content=corner, headers=PNG).status_code == 200
        assert client.get("/readyz").json() == {"status": "ready"}


class Service:
    """A service over TCP whose model ``many`` is busy with a batch."""

    def __init__(self, server: Server, compass: Named, many: Named, picture: bytes) -> None:
        self.compass, self.many = compass, many
        self._address = f"http://127.0.0.1:{server.port}"
        self._picture = picture
        self._pool = ThreadPoolExecutor(32)

    def post(self, path: str) -> "Future[httpx.Response]":
        url = self._address + path
        return self._pool.submit(httpx.post, url, content=self._picture, headers=PNG, timeout=LIMIT_S)

    def counted(self, sample: str) -> float:
        lines = httpx.get(f"{self._address}/metrics", timeout=LIMIT_S).text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"lrpserve_{sample} "))

    def until(self, sample: str, value: float) -> None:
        assert any(self.counted(sample) == value for _ in range(100_000))

    def until_ready(self) -> None:
        assert any(
            httpx.get(f"{self._address}/readyz", timeout=LIMIT_S).status_code == 200 for _ in range(100_000)
        )


@pytest.fixture
def service(corner: bytes) -> Iterator[Service]:
    """Each model has room for a batch of two and for two that wait."""
    settings = Settings(
        default_model="compass", max_batch=2, max_queue=2, max_pictures=2, queue_deadline_s=LIMIT_S
    )
    compass, many = models()
    with serving(settings, create_app(settings, (compass, many))) as server:
        service = Service(server, compass, many, corner)
        service.until_ready()
        yield service
        compass.open()
        many.open()


def test_a_full_model_refuses_and_the_others_answer(service: Service) -> None:
    service.many.close()
    running = [service.post("/predict?model=many")]
    service.many.wait_for_batch()
    running += [service.post("/predict?model=many") for _ in range(3)]
    service.until('queue_depth{model="many"}', 3)
    for path in ("/predict?model=many", "/explain?rule=zero&model=many", "/v2/models/many-lrp/infer"):
        refused = service.post(path).result()
        assert refused.status_code == 503
        assert "too many requests" in refused.text
    answered = service.post("/predict")
    service.until('queue_depth{model="compass"}', 1)  # admitted: it waits for the batch of the other model
    service.many.open()
    assert [future.result().status_code for future in (*running, answered)] == [200] * 5
    assert service.counted('refused_total{model="many",reason="queue_full"}') == 3
    assert service.counted('refused_total{model="compass",reason="queue_full"}') == 0


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/predict", b"", None),
        ("/predict", b"size=model", None),
        ("/predict", b"fit=pad&model=many", "many"),
        ("/explain", b"model=%6Dany", "many"),
        ("/v1/models/many:predict", b"", "many"),
        ("/v2/models/many/infer", b"", "many"),
        ("/v2/models/many-lrp/versions/1/infer", b"model=compass", "many"),
    ],
)
def test_the_model_of_a_request_is_in_its_address(path: str, query: bytes, name: str | None) -> None:
    assert named_model(path, query) == name


def test_a_lone_request_is_answered_after_one_batch_of_a_busy_model(service: Service) -> None:
    service.many.close()
    running = [service.post("/predict?model=many")]
    service.many.wait_for_batch()
    running += [service.post("/predict?model=many") for _ in range(3)]
    service.until('queue_depth{model="many"}', 3)
    before = len(service.many.batches)
    service.compass.close()
    lone = service.post("/predict")
    service.until('queue_depth{model="compass"}', 1)
    service.many.open()
    service.compass.wait_for_batch()  # while three requests to the other model still wait
    assert len(service.many.batches) == before
    service.compass.open()
    assert [future.result().status_code for future in (lone, *running)] == [200] * 5


def test_models_that_do_not_take_turns_run_at_the_same_time(corner: bytes) -> None:
    compass, many = models()
    settings = Settings(default_model="compass", queue_deadline_s=LIMIT_S)
    with serving(settings, create_app(settings, (compass, many), in_turn=False)) as server:
        service = Service(server, compass, many, corner)
        service.until_ready()
        many.close()
        busy = service.post("/predict?model=many")
        many.wait_for_batch()
        assert service.post("/predict").result().status_code == 200
        assert not busy.done()
        many.open()
        assert busy.result().status_code == 200


# Names


def test_several_models_need_a_default_that_is_one_of_them() -> None:
    with pytest.raises(RefusedToStartError, match="LRP_DEFAULT_MODEL"):
        create_app(Settings(), models())
    with pytest.raises(RefusedToStartError, match="no model 'vgg16'; there are compass, many"):
        create_app(Settings(default_model="vgg16"), models())
