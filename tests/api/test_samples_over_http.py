"""``samples=`` over HTTP: what is returned, what is reported and what is refused."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import encode
from fake_model import CARD, CLASSES, MEAN, STD, FakeModel, logits_of, noisy_inputs, relevance_of
from PIL import Image
from starlette.testclient import TestClient

from app.lrp.samples import Samples, Sampling
from app.main import create_app
from app.models.protocol import Description
from app.serving.admission import Admission, Ticket
from app.serving.requests import MAX_SAMPLED
from app.settings import Settings

PNG = {"Content-Type": "image/png"}
NAME = "minivgg-cifar10"
ROOM = Settings().max_batch + Settings().max_queue


def post(client: TestClient, picture: bytes, path: str = "/explain", **query: Any) -> Any:
    response = client.post(path, params=query, content=picture, headers=PNG)
    assert response.status_code == 200, response.text
    return response.json()


def values_of(client: TestClient, picture: bytes, **query: Any) -> npt.NDArray[np.float64]:
    return np.array(post(client, picture, values=True, **query)["relevance"]["values"])


def refused(client: TestClient, picture: bytes, path: str = "/explain", **query: Any) -> tuple[str, str]:
    """Name of the parameter and message of a 422."""
    response = client.post(path, params=query, content=picture, headers=PNG)
    assert response.status_code == 422, response.text
    (error,) = response.json()["errors"]
    return error["loc"][1], error["msg"]


# The shipped model


def test_samples_are_reported_beside_the_scores_of_the_plain_pass(client: TestClient, cat_png: bytes) -> None:
    plain, sampled = post(client, cat_png), post(client, cat_png, samples=16, seed=2)
    uncertainty = sampled["prediction"].pop("uncertainty")
    for name in ("target", "rule", "input", "model"):
        assert sampled[name] == plain[name]
    for ours, theirs in zip(
        [sampled["prediction"], *sampled["scores"]], [plain["prediction"], *plain["scores"]], strict=True
    ):
        assert ours["label"] == theirs["label"]
        assert (ours["logit"], ours["probability"]) == pytest.approx(
            (theirs["logit"], theirs["probability"]), rel=1e-4
        )
    assert sampled["relevance"]["start"] == plain["relevance"]["start"] == 1
    report = sampled["relevance"]["samples"]
    spread, agreement = report.pop("spread"), report.pop("sign_agreement")
    assert report == {"count": 16, "sampling": "dropout", "seed": 2, "statistic": "mean"}
    assert 0.05 < spread < 1
    assert 0.5 < agreement <= 1
    assert 0 < uncertainty["mutual_information"] < uncertainty["entropy"] < np.log(10)
    assert uncertainty["votes"] == {"cat": 16}
    assert "samples" not in plain["relevance"]
    assert "uncertainty" not in plain["prediction"]


def test_sums_are_those_of_the_mean(client: TestClient, cat_png: bytes) -> None:
    mean, std = (post(client, cat_png, samples=8, statistic=one, values=True) for one in ("mean", "std"))
    relevance = mean["relevance"]
    assert relevance["sum"] == pytest.approx(np.sum(relevance["values"]), rel=1e-4)
    assert relevance["layers"][0]["sum"] == pytest.approx(relevance["sum"], rel=1e-4)
    assert relevance["leak"] == pytest.approx(1 - relevance["sum"], rel=1e-4, abs=1e-5)
    assert std["relevance"]["layers"] == relevance["layers"]
    assert std["relevance"]["leak"] == relevance["leak"]
    assert std["relevance"]["samples"]["spread"] == relevance["samples"]["spread"]
    assert std["relevance"]["sum"] == pytest.approx(np.sum(std["relevance"]["values"]), rel=1e-4)
    assert std["relevance"]["min"] >= 0


def test_statistics_are_in_their_order(client: TestClient, cat_png: bytes) -> None:
    low, mean, high = (values_of(client, cat_png, samples=20, statistic=one) for one in ("p5", "mean", "p95"))
    assert (low <= high).all()
    assert ((low <= mean) & (mean <= high)).mean() > 0.99
    spread = np.abs(values_of(client, cat_png, samples=20, statistic="std")).mean() / np.abs(mean).mean()
    report = post(client, cat_png, samples=20)["relevance"]["samples"]
    assert report["spread"] == pytest.approx(spread, rel=1e-4)


def test_a_repeated_request_has_the_same_map_and_another_seed_another(
    client: TestClient, cat_png: bytes
) -> None:
    first, again, other = (values_of(client, cat_png, samples=4, seed=seed) for seed in (1, 1, 2))
    assert np.linalg.norm(first - again) <= 1e-5 * np.linalg.norm(first)
    assert np.linalg.norm(first - other) > 1e-3 * np.linalg.norm(first)


@pytest.mark.parametrize("statistic", ["mean", "std"])
@pytest.mark.parametrize("sampling", ["dropout", "noise"])
def test_verify_computes_the_same_samples_by_the_reference(
    client: TestClient, cat_png: bytes, sampling: str, statistic: str
) -> None:
    query: dict[str, Any] = {"samples": 4, "sampling": sampling, "statistic": statistic, "verify": True}
    verify = post(client, cat_png, **query)["relevance"]["verify"]
    assert verify["difference"] < 1e-4
    assert verify["reference"].startswith("zennit")


def test_a_saved_picture_says_what_it_is_a_statistic_of(client: TestClient, cat_png: bytes) -> None:
    query: dict[str, Any] = {
        "samples": 4,
        "sampling": "noise",
        "noise": 0.05,
        "statistic": "p95",
        "format": "png",
        "seed": 9,
    }
    response = client.post("/explain", params={**query, "view": "side_by_side"}, content=cat_png, headers=PNG)
    report = json.loads(Image.open(io.BytesIO(response.content)).info["lrp"])
    said = report["relevance"]["samples"]
    assert (said["count"], said["sampling"], said["noise"], said["seed"]) == (4, "noise", 0.05, 9)
    assert said["statistic"] == "p95"
    assert report["prediction"]["uncertainty"]["entropy"] > 0


def test_explanations_of_a_comparison_share_their_samples(client: TestClient, cat_png: bytes) -> None:
    query: dict[str, Any] = {
        "rule": ["epsilon_plus_flat", "gamma"],
        "target": "cat",
        "samples": 4,
        "start": "one",
    }
    compared = post(client, cat_png, "/compare", **query, values=True)["explanations"]
    for one, rule in zip(compared, query["rule"], strict=True):
        alone = values_of(client, cat_png, rule=rule, target="cat", samples=4)
        together = np.array(one["relevance"]["values"])
        assert np.linalg.norm(together - alone) <= 1e-5 * np.linalg.norm(alone)


def test_batches_and_protocols_take_samples(client: TestClient, cat_png: bytes) -> None:
    alone = values_of(client, cat_png, samples=3, statistic="std")
    query: dict[str, Any] = {"samples": 3, "statistic": "std", "values": True}
    batch = client.post("/explain/batch", params=query, files=[("file", cat_png)] * 2).json()["results"]
    instance = {"b64": base64.b64encode(cat_png).decode(), "samples": 3, "statistic": "std", "values": True}
    kserve = client.post(f"/v1/models/{NAME}:explain", json={"instances": [instance]}).json()
    data = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [instance["b64"]]}
    inferred = client.post(
        f"/v2/models/{NAME}-lrp/infer",
        json={"inputs": [data], "parameters": {"samples": 3, "statistic": "std"}},
    ).json()
    outputs = {output["name"]: output["data"] for output in inferred["outputs"]}
    for found in (
        batch[1]["explanation"]["relevance"]["values"],
        kserve["explanations"][0]["relevance"]["values"],
        np.reshape(outputs["relevance"], (3, 32, 32)),
    ):
        np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-7)
    assert kserve["predictions"][0]["prediction"]["uncertainty"]["votes"] == {"cat": 3}


def test_samples_that_change_the_sign_of_an_explained_logit_are_warned_of(
    client: TestClient, cat_png: bytes
) -> None:
    def warned(**query: Any) -> bool:
        warnings = post(client, cat_png, samples=16, sampling="noise", noise=1, **query)["warnings"]
        return any("has the other sign in " in warning for warning in warnings)

    # Of some class at least, whatever the weights.
    target = next(label for label in post(client, cat_png)["scores"] if warned(target=label["label"]))[
        "label"
    ]
    assert not warned(target=target, rule="z_plus")


# Refused


@pytest.mark.parametrize("name", ["sampling", "noise", "seed", "statistic"])
def test_options_of_samples_need_samples(client: TestClient, cat_png: bytes, name: str) -> None:
    given = {"sampling": "dropout", "noise": 0.1, "seed": 0, "statistic": "mean"}[name]
    for path in ("/explain", "/compare"):
        assert refused(client, cat_png, path, **{name: given})[0] == name


@pytest.mark.parametrize(
    ("query", "name", "message"),
    [
        ({"samples": 1}, "samples", "2 or more"),
        ({"samples": 65}, "samples", "64 or less"),
        ({"samples": "many"}, "samples", "whole number"),
        ({"samples": 2, "sampling": "bootstrap"}, "sampling", "'dropout' or 'noise'"),
        ({"samples": 2, "statistic": "median"}, "statistic", "'mean', 'std', 'p5' or 'p95'"),
        ({"samples": 2, "sampling": "noise", "noise": 0}, "noise", "above 0"),
        ({"samples": 2, "sampling": "noise", "noise": 1.5}, "noise", "1 or less"),
        ({"samples": 2, "sampling": "noise", "noise": "nan"}, "noise", "finite"),
        ({"samples": 2, "noise": 0.1}, "noise", "is for sampling=noise"),
        ({"samples": 2, "seed": -1}, "seed", "0 or more"),
        ({"samples": 2, "seed": 2**32}, "seed", "or less"),
    ],
)
def test_bad_options_are_named(
    client: TestClient, cat_png: bytes, query: dict[str, Any], name: str, message: str
) -> None:
    found, said = refused(client, cat_png, **query)
    assert found == name
    assert message in said


def test_a_request_has_a_bound_on_its_samples(client: TestClient, cat_png: bytes) -> None:
    found, said = refused(client, cat_png, "/compare", target="all", rule="gamma", samples=16)
    assert found == "samples"
    assert f"160 samples of 10 explanations are over {MAX_SAMPLED}" in said
    files = [("file", cat_png)] * 5
    batch = client.post("/explain/batch?samples=32", files=files)
    assert (batch.status_code, batch.json()["errors"][0]["loc"]) == (422, ["query", "samples"])
    instances = [{"b64": base64.b64encode(cat_png).decode(), "samples": 64}] * 3
    kserve = client.post(f"/v1/models/{NAME}:explain", json={"instances": instances})
    assert kserve.status_code == 422
    assert kserve.json()["error"].startswith("samples: 192 samples")


# Admission


@pytest.fixture
def admission(client: TestClient) -> Iterator[Admission]:
    """The counter of the service."""
    admission: Admission = client.app_state["admissions"].of(None)
    assert admission.occupied == 0
    yield admission
    assert admission.occupied == 0


@pytest.mark.parametrize(
    ("path", "query", "places"),
    [
        ("/explain", {"samples": 8}, 8),
        ("/compare", {"samples": 2, "rule": ["gamma", "zero"], "target": ["cat", "dog"]}, 8),
    ],
)
def test_each_sample_takes_a_place(
    client: TestClient, admission: Admission, cat_png: bytes, path: str, query: dict[str, Any], places: int
) -> None:
    others = Ticket(admission)
    others.acquire(ROOM - places)
    assert client.post(path, params=query, content=cat_png, headers=PNG).status_code == 200
    others.acquire(ROOM - places + 1)
    assert client.post(path, params=query, content=cat_png, headers=PNG).status_code == 503
    assert client.post(path, content=cat_png, headers=PNG).status_code == 200
    others.release()


def test_a_service_with_fewer_places_still_takes_samples(cat_png: bytes) -> None:
    settings = Settings(max_batch=2, max_queue=2, max_pictures=2)
    with TestClient(create_app(settings, FakeModel())) as client:
        while client.get("/readyz").status_code == 503:
            pass
        assert post(client, cat_png, samples=32, sampling="noise")["relevance"]["samples"]["count"] == 32


# A model of another shape, whose numbers the test can compute


class FakeModelWith(FakeModel):
    """The fake model with another card."""

    def __init__(self, dropout: tuple[float, ...] | None) -> None:
        described = FakeModel.description
        card = CARD.model_copy(update={"dropout": dropout})
        self.description = Description(
            card, described.device, described.engine, described.reference, described.chain, described.layers
        )


@pytest.fixture(scope="module")
def quadrants() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), FakeModel())) as client:
        while client.get("/readyz").status_code == 503:
            pass
        yield client


def test_the_report_has_the_values_of_the_samples(quadrants: TestClient, cat: Image.Image) -> None:
    crop = cat.crop((25, 0, 425, 300)).resize((64, 48), Image.Resampling.LANCZOS, reducing_gap=3.0)
    x = ((np.asarray(crop.convert("L")) / 255 - MEAN) / STD)[None].astype(np.float32)
    samples = Samples(12, Sampling.NOISE, noise=0.3, seed=6)
    query: dict[str, Any] = {
        "samples": 12,
        "sampling": "noise",
        "noise": 0.3,
        "seed": 6,
        "target": CLASSES[1],
        "start": "logit",
    }
    answer = post(quadrants, encode(cat), values=True, **query)
    inputs = noisy_inputs(x, samples)
    logits = np.stack([logits_of(one) for one in inputs])
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    mean = probabilities.mean(0)
    entropy = -(mean * np.log(mean)).sum()
    within = -(probabilities * np.log(probabilities)).sum(1).mean()
    uncertainty = answer["prediction"]["uncertainty"]
    assert uncertainty["entropy"] == pytest.approx(entropy, rel=1e-4)
    assert uncertainty["mutual_information"] == pytest.approx(entropy - within, rel=1e-2)
    votes = np.bincount(logits.argmax(1), minlength=4)
    assert uncertainty["votes"] == {CLASSES[i]: int(votes[i]) for i in np.argsort(-votes) if votes[i]}
    start = np.zeros(4)
    start[1] = logits_of(x)[1]
    maps = np.stack([relevance_of(one, start) for one in inputs])
    assert answer["relevance"]["start"] == pytest.approx(start.sum(), rel=1e-4)
    np.testing.assert_allclose(answer["relevance"]["values"], maps.mean(0), rtol=1e-2, atol=1e-5)
    report = answer["relevance"]["samples"]
    assert report["spread"] == pytest.approx(maps.std(0).mean() / np.abs(maps.mean(0)).mean(), rel=1e-2)


@pytest.mark.parametrize(
    ("dropout", "message"),
    [
        (None, "does not state the dropout probabilities"),
        ((), "was trained without dropout"),
        ((0.0, 0.0), "was trained without dropout"),
    ],
)
def test_a_model_without_dropout_has_no_samples_by_dropout(
    cat_png: bytes, dropout: tuple[float, ...] | None, message: str
) -> None:
    with TestClient(create_app(Settings(), FakeModelWith(dropout))) as client:
        while client.get("/readyz").status_code == 503:
            pass
        for query in ({"samples": 4}, {"samples": 4, "sampling": "dropout"}):
            for path in ("/explain", "/compare"):
                name, said = refused(client, cat_png, path, **query)
                assert name == "sampling"
                assert message in said
                assert "use sampling=noise" in said
        assert client.get("/model").json()["dropout"] == (None if dropout is None else list(dropout))


def test_openapi_lists_the_options(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/explain", "/explain/batch", "/compare"):
        parameters = {one["name"]: one for one in paths[path]["post"]["parameters"]}
        schema = parameters["samples"]["schema"]
        assert (schema["minimum"], schema["maximum"]) == (2, 64)
        assert {"sampling", "noise", "seed", "statistic"} <= parameters.keys()
