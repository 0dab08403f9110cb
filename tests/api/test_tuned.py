"""The composite that was tuned for a model is offered like any other."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import encode
from PIL import Image
from starlette.testclient import TestClient

from app.errors import RefusedToStartError
from app.lrp.composites import COMPOSITES, MEANING_WITH_SIGN, MEANING_WITHOUT_SIGN
from app.main import create_app
from app.models.card_file import read_card
from app.models.checkpoint import write_card
from app.models.local import LocalModel
from app.models.records import TunedComposite
from app.settings import Settings, shipped_model

LAYERS = (
    "features.0:z_plus",
    "features.3:gamma(gamma=0.5)",
    "features.6:gamma(gamma=0.5)",
    "features.9:alpha_beta(alpha=1.5, beta=0.5)",
    "classifier.1:epsilon(epsilon=0.3)",
    "classifier.4:zero",
)
PNG = {"Content-Type": "image/png"}


def tuned(*layers: str) -> TunedComposite:
    return TunedComposite(
        layers=layers,
        gap=0.4,
        default_gap=0.35,
        occlusion_gap=0.5,
        share_of_occlusion=0.8,
        interval=(0.75, 0.85),
        pictures=500,
        searched_on=200,
        tried=77,
        seed=0,
        data="train.zip",
        date="2026-11-25",
    )


def write_model(folder: Path, *layers: str) -> Path:
    """Write the shipped model with a tuned composite to ``folder``; return its card."""
    shipped = shipped_model()
    shutil.copy(shipped.with_name("weights.safetensors"), folder)
    write_card(read_card(shipped).model_copy(update={"tuned": tuned(*layers)}), folder / shipped.name)
    return folder / shipped.name


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    card = write_model(tmp_path_factory.mktemp("tuned"), *LAYERS)
    settings = Settings(model=card, picture_processes=1)
    with TestClient(create_app(settings, LocalModel.load(card, "cpu", None))) as client:
        while client.get("/readyz").status_code == 503:
            pass
        yield client


@pytest.fixture(scope="module")
def picture(cat: Image.Image) -> bytes:
    return encode(cat.crop((75, 0, 375, 300)).resize((32, 32)))


def relevance(client: TestClient, picture: bytes, **query: object) -> np.ndarray:
    answer = client.post("/explain", params={"values": True, **query}, content=picture, headers=PNG)
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["relevance"]["values"])


def test_it_is_listed_after_the_composites_for_any_network(client: TestClient) -> None:
    listed = {one["name"]: one for one in client.get("/rules").json()}
    assert list(listed)[: len(COMPOSITES) + 1] == [*COMPOSITES, "tuned"]
    entry = listed["tuned"]
    assert (entry["kind"], entry["parameters"]) == ("composite", [])
    assert entry["meaning"] == MEANING_WITH_SIGN
    assert "features.3: gamma(gamma=0.5)" in entry["formula"]
    assert "0.80 of occlusion's (95 % interval 0.75 to 0.85)" in entry["when"]
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/explain", "/explain/batch", "/compare"):
        (schema,) = [one["schema"] for one in paths[path]["post"]["parameters"] if one["name"] == "rule"]
        assert "tuned" in schema.get("items", schema)["enum"]
    assert client.get("/model").json()["name"] == "minivgg-cifar10"


def test_it_is_the_rules_of_its_layers(client: TestClient, picture: bytes) -> None:
    found = relevance(client, picture, rule="tuned", target="cat")
    expected = relevance(client, picture, rule="zero", target="cat", layers=list(LAYERS))
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert not np.allclose(found, relevance(client, picture, target="cat"), rtol=0.1)


def test_overrides_and_verification_go_on_from_it(client: TestClient, picture: bytes) -> None:
    query = {"rule": "tuned", "layers": "features.0:flat", "verify": True}
    answer = client.post("/explain", params=query, content=picture, headers=PNG).json()
    rules = {one["name"]: one["rule"] for one in answer["rule"]["layers"]}
    assert (rules["features.0"], rules["features.3"], rules["classifier.4"]) == ("flat", "gamma", "zero")
    assert answer["relevance"]["verify"]["difference"] < 1e-4


def test_it_takes_no_parameters(client: TestClient, picture: bytes) -> None:
    refused = client.post("/explain", params={"rule": "tuned", "gamma": 1}, content=picture, headers=PNG)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == ["query", "gamma"]


def test_a_comparison_contains_it(client: TestClient, picture: bytes) -> None:
    answer = client.post("/compare", content=picture, headers=PNG).json()
    assert [one["rule"]["name"] for one in answer["explanations"]] == [*COMPOSITES, "tuned"]


def test_the_protocols_offer_it(client: TestClient, picture: bytes) -> None:
    expected = relevance(client, picture, rule="tuned")
    encoded = base64.b64encode(picture).decode()
    instances = [{"b64": encoded, "rule": "tuned", "values": True}]
    answer = client.post("/v1/models/minivgg-cifar10:explain", json={"instances": instances}).json()
    assert np.allclose(answer["explanations"][0]["relevance"]["values"], expected, rtol=1e-5, atol=1e-7)
    body = {
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}],
        "outputs": [{"name": "relevance"}],
        "parameters": {"rule": "tuned"},
    }
    (output,) = client.post("/v2/models/minivgg-cifar10-lrp/infer", json=body).json()["outputs"]
    assert np.allclose(np.reshape(output["data"], output["shape"][1:]), expected, rtol=1e-5, atol=1e-7)


def test_its_meaning_follows_the_rule_of_the_output_layer(tmp_path: Path) -> None:
    card = write_model(tmp_path, *LAYERS[:-1], "classifier.4:z_plus")
    settings = Settings(model=card, picture_processes=1)
    with TestClient(create_app(settings, LocalModel.load(card, "cpu", None))) as client:
        (entry,) = [one for one in client.get("/rules").json() if one["name"] == "tuned"]
    assert entry["meaning"] == MEANING_WITHOUT_SIGN


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("features.1:gamma", "no layer with weights matches"),
        ("features.3:flatter", "there is no rule 'flatter'"),
        ("features.3:gamma(gamma=-1)", "-1 is not allowed"),
        ("features.3", "write LAYER:RULE"),
    ],
)
def test_a_composite_that_does_not_fit_the_network_is_refused_at_load(
    tmp_path: Path, layer: str, message: str
) -> None:
    card = write_model(tmp_path, *LAYERS, layer)
    with pytest.raises(
        RefusedToStartError, match=rf"minivgg-cifar10: composite 'tuned' of its card.*{message}"
    ):
        LocalModel.load(card, "cpu", None)
