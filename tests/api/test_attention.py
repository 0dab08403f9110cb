"""``attention=`` chooses the rule of attention, for models that have it."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import encode
from fastapi.testclient import TestClient
from PIL import Image
from small_networks import VisionTransformer

from app.lrp.graph.trace import trace
from app.main import create_app
from app.models.checkpoint import save_traced
from app.models.image_card import Normalisation
from app.models.local import LocalModel
from app.settings import Settings, shipped_model

SIDE = 8
PICTURE = encode(Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB"), "PNG")
HEADERS = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    torch.manual_seed(0)
    network = VisionTransformer().float()
    model = trace(network, torch.randn(2, 3, SIDE, SIDE))
    card = save_traced(
        model,
        tmp_path_factory.mktemp("models"),
        name="tokens",
        architecture="VisionTransformer",
        classes=tuple("abcde"),
        normalisation=Normalisation(mean=(0.5,) * 3, std=(0.25,) * 3),
        input_size=(3, SIDE, SIDE),
    )
    models = [LocalModel.load(path, "cpu", 1) for path in (shipped_model(), card)]
    with TestClient(create_app(Settings(), models)) as client:
        yield client


def explained(client: TestClient, query: str) -> Any:
    answer = client.post(f"/explain?values=true&model=tokens&{query}", content=PICTURE, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rules_of(answer: Any) -> set[str]:
    return {layer["rule"] for layer in answer["rule"]["layers"]}


def test_models_say_which_rules_of_attention_they_have(client: TestClient) -> None:
    assert client.get("/models/tokens").json()["attention"] == ["cp", "attnlrp"]
    assert client.get("/model").json()["attention"] == []


def test_the_rule_of_attention_is_chosen(client: TestClient) -> None:
    default, cp, attnlrp = (explained(client, query) for query in ("", "attention=cp", "attention=attnlrp"))
    assert default["relevance"]["values"] == cp["relevance"]["values"]
    assert attnlrp["relevance"]["values"] != cp["relevance"]["values"]
    assert "cp" in rules_of(cp)
    assert "attnlrp" in rules_of(attnlrp)


@pytest.mark.parametrize(
    ("layer", "shape"), [("patches", [3, 8, 8]), ("layers.0.qkv", [5, 8]), ("layers.0.matmul_2", [2, 5, 5])]
)
def test_the_shape_of_a_map_is_that_of_its_layer(client: TestClient, layer: str, shape: list[int]) -> None:
    """Pixels; tokens and features; weights of each head of attention."""
    relevance = explained(client, f"layer={layer}")["relevance"]
    assert relevance["shape"] == shape == list(np.shape(relevance["values"]))


@pytest.mark.parametrize("attention", ["cp", "attnlrp"])
def test_the_reference_verifies_attention(client: TestClient, attention: str) -> None:
    verified = explained(client, f"verify=true&attention={attention}")["relevance"]["verify"]
    assert verified["difference"] < 1e-3
    assert "autograd" in verified["reference"]


def test_attention_is_refused_for_a_model_without_it(client: TestClient) -> None:
    answer = client.post("/explain?attention=cp", content=PICTURE, headers=HEADERS)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", "attention"]
    assert "no attention" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/compare?rule=epsilon&", "/evaluate?rule=epsilon&"])
def test_several_rules_share_the_rule_of_attention(client: TestClient, path: str) -> None:
    answers = [
        client.post(f"{path}model=tokens&attention={attention}", content=PICTURE, headers=HEADERS).json()
        for attention in ("cp", "attnlrp")
    ]
    assert str(answers[0]) != str(answers[1])


def test_kserve_takes_the_rule_of_attention(client: TestClient) -> None:
    instance = {"image": {"b64": base64.b64encode(PICTURE).decode()}, "attention": "attnlrp"}
    answer = client.post("/v1/models/tokens:explain", json={"instances": [instance]})
    assert answer.status_code == 200, answer.text
    assert "attnlrp" in rules_of(answer.json()["explanations"][0])
