"""The relevance put in at the output: its sign, its default, and what answers say about it."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient
from test_cli import run

PNG = {"Content-Type": "image/png"}
NAME = "minivgg-cifar10"
CONTRAST = {"target": "cat", "versus": "dog"}
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def logits(client: TestClient, cat_png: bytes) -> dict[str, float]:
    scores = client.post("/predict", content=cat_png, headers=PNG).json()["scores"]
    return {score["label"]: score["logit"] for score in scores}


@pytest.fixture(scope="module")
def negative(logits: dict[str, float]) -> str:
    return min(logits, key=logits.__getitem__)


def explain(client: TestClient, picture: bytes, **query: Any) -> Answer:
    response = client.post("/explain", params={"values": True, **query}, content=picture, headers=PNG)
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


def values(answer: Answer) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(answer["relevance"]["values"])


@pytest.mark.parametrize("rule", ["epsilon_plus_flat", "gamma", "zero"])
def test_one_is_minus_one_for_a_class_whose_logit_is_negative(
    client: TestClient, cat_png: bytes, logits: dict[str, float], negative: str, rule: str
) -> None:
    one, of_logit = (explain(client, cat_png, rule=rule, target=negative, start=s) for s in ("one", "logit"))
    assert logits[negative] < 0
    assert one["relevance"]["start"] == -1
    assert of_logit["relevance"]["start"] == pytest.approx(logits[negative], rel=1e-5)
    expected = values(of_logit) / -logits[negative]
    assert np.linalg.norm(values(one) - expected) < 1e-4 * np.linalg.norm(expected)
    probability = explain(client, cat_png, rule=rule, target=negative, start="probability")
    share = next(s["probability"] for s in probability["scores"] if s["label"] == negative)
    assert probability["relevance"]["start"] == pytest.approx(-share, rel=1e-4)


def test_one_is_one_where_the_output_layers_rule_has_no_sign(
    client: TestClient, cat_png: bytes, negative: str
) -> None:
    for query in ({"rule": "z_plus"}, {"layers": "classifier.4:z_plus"}):
        assert explain(client, cat_png, target=negative, **query)["relevance"]["start"] == 1
    assert explain(client, cat_png, target=negative, layers="features.*:z_plus")["relevance"]["start"] == -1


@pytest.mark.parametrize(
    ("query", "warned"),
    [
        ({"rule": "z_plus", "start": "logit"}, True),
        ({"rule": "z_plus", "start": "logit", "top_k": 1}, True),
        ({"rule": "alpha_beta", "versus": "cat"}, True),
        ({"rule": "flat", "versus": "cat", "start": "one"}, True),
        ({"layers": "classifier.4:w_square", "start": "logit"}, True),
        ({"rule": "z_plus"}, False),
        ({"rule": "z_plus", "start": "probability"}, False),
        ({"start": "logit"}, False),
        ({"versus": "cat"}, False),
        ({"rule": "z_plus", "layers": "classifier.4:epsilon", "start": "logit"}, False),
    ],
)
def test_a_negative_logit_under_a_rule_without_its_sign_carries_a_warning(
    client: TestClient, cat_png: bytes, negative: str, query: Answer, *, warned: bool
) -> None:
    answer = explain(client, cat_png, target=negative, **query)
    warnings = [
        text for text in answer["warnings"] if text.startswith(f"the logit of {negative} is negative")
    ]
    assert len(warnings) == warned


def test_positive_logits_carry_no_such_warning(
    client: TestClient, cat_png: bytes, logits: dict[str, float]
) -> None:
    other = max(logits.keys() - {"cat"}, key=logits.__getitem__)
    assert logits[other] > 0
    answer = explain(client, cat_png, rule="z_plus", target="cat", versus=other)
    assert not [text for text in answer["warnings"] if text.startswith("the logit of")]


def test_rules_say_what_red_means_and_for_which_starts(client: TestClient) -> None:
    said = {rule["name"]: rule["meaning"] for rule in client.get("/rules").json()}
    assert len(said) == 13
    unsigned = {name for name, text in said.items() if "exchanges red and blue" in text}
    assert unsigned == {"z_plus", "alpha_beta", "z_box", "w_square", "flat"}
    assert all("speaks for the class" in text for text in said.values())


def test_openapi_says_the_defaults(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    for path in ("/explain", "/explain/batch"):
        (start,) = (p for p in paths[path]["post"]["parameters"] if p["name"] == "start")
        assert "default: `one`; with `versus`: `logit`" in start["description"]
    (start,) = (p for p in paths["/compare"]["post"]["parameters"] if p["name"] == "start")
    assert start["schema"]["default"] == "logit"


# The default with `versus`, everywhere


def through_explain(client: TestClient, picture: bytes, **query: Any) -> float:
    return float(explain(client, picture, **query)["relevance"]["start"])


def through_batch(client: TestClient, picture: bytes, **query: Any) -> float:
    answer = client.post("/explain/batch", params=query, files={"file": ("cat.png", picture)}).json()
    return float(answer["results"][0]["explanation"]["relevance"]["start"])


def through_compare(client: TestClient, picture: bytes, **query: Any) -> float:
    answer = client.post("/compare", params={"rule": "gamma", **query}, content=picture, headers=PNG).json()
    return float(answer["explanations"][0]["relevance"]["start"])


def through_kserve(client: TestClient, picture: bytes, **query: Any) -> float:
    instance = {"b64": base64.b64encode(picture).decode(), **query}
    answer = client.post(f"/v1/models/{NAME}:explain", json={"instances": [instance]}).json()
    return float(answer["explanations"][0]["relevance"]["start"])


def through_open_inference(client: TestClient, picture: bytes, **query: Any) -> float:
    data = [base64.b64encode(picture).decode()]
    body = {
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}],
        "outputs": [{"name": "heatmap_png"}],
        "parameters": query,
    }
    (output,) = client.post(f"/v2/models/{NAME}-lrp/infer", json=body).json()["outputs"]
    return start_of(base64.b64decode(output["data"][0]))


def start_of(heatmap: bytes) -> float:
    """What the metadata of a heatmap says."""
    with Image.open(io.BytesIO(heatmap)) as image:
        return float(json.loads(image.info["lrp"])["relevance"]["start"])


@pytest.mark.parametrize(
    "start_through",
    [through_explain, through_batch, through_compare, through_kserve, through_open_inference],
)
def test_with_versus_the_logits_are_put_in_unless_another_start_is_given(
    client: TestClient, cat_png: bytes, logits: dict[str, float], start_through: Callable[..., float]
) -> None:
    assert start_through(client, cat_png, **CONTRAST) == pytest.approx(
        logits["cat"] - logits["dog"], rel=1e-4
    )
    assert start_through(client, cat_png, **CONTRAST, start="one") == 1 - np.sign(logits["dog"])


def test_the_command_line_has_the_same_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cat_png: bytes, logits: dict[str, float]
) -> None:
    photo, heatmap = tmp_path / "cat.png", tmp_path / "heatmap.png"
    photo.write_bytes(cat_png)
    for options, expected in (((), 1), (("--versus", "dog"), logits["cat"] - logits["dog"])):
        arguments = ["explain", str(photo), "--target", "cat", *options, "-o", str(heatmap)]
        assert run(monkeypatch, *arguments) == 0
        assert start_of(heatmap.read_bytes()) == pytest.approx(expected, rel=1e-4)
