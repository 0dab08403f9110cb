"""A rule is one row: a test adds a made-up one and finds it everywhere."""

import base64
import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import encode
from PIL import Image
from starlette.testclient import TestClient
from test_cli import run
from torch import Tensor, nn

from app.lrp.definition import Parameter
from app.lrp.rules import RULES, Rule
from app.lrp.terms import Part, Source, Term
from app.main import create_app
from app.models.checkpoint import load_image, load_module
from app.models.image_card import ImageCard
from app.models.local import LocalModel
from app.settings import Settings, shipped_model
from docs import make_tables

TILT = Parameter(
    "tilt",
    default=2.0,
    minimum=0.0,
    maximum=8.0,
    description="τ, how much weights are tilted towards positive ones.",
    query="τ, the tilt, for rules that have it.",
    example=0.75,
)
CAT = 3
STABILIZER = 0.1  # large enough for float32


def tilted(w: Tensor, b: Tensor | None, tilt: float) -> tuple[Term, ...]:
    return (Term((Part(Source.INPUT, w + tilt * w.abs()),), b, epsilon=STABILIZER),)


def zennit_tilted(zennit: Any, _: object, tilt: float) -> Any:
    stabilizer = zennit.Stabilizer(STABILIZER)
    return zennit.BasicHook(
        input_modifiers=[lambda x: x],
        param_modifiers=[
            zennit.ParamMod(lambda p, name: p + tilt * p.abs() if name == "weight" else p),
        ],
        output_modifiers=[lambda z: z],
        gradient_mapper=lambda R, outputs: R / stabilizer(outputs[0]),
        reducer=lambda inputs, gradients: inputs[0] * gradients[0],
    )


def test_a_new_row_is_a_new_rule_everywhere(
    monkeypatch: pytest.MonkeyPatch, cat: Image.Image, tmp_path: Path
) -> None:
    row = Rule(
        name="tilted",
        title="LRP-τ",
        formula="x · vᵀ(R / s(vx + b)), v = w + τ|w|",
        parameters=(TILT,),
        when="Never: it is made up.",
        source="tests/test_new_rule.py",
        terms=tilted,
        reference=zennit_tilted,
        signed_denominator=True,
    )
    monkeypatch.setitem(RULES, row.name, row)

    picture = encode(cat.crop((75, 0, 375, 300)).resize((32, 32)))
    settings = Settings(picture_processes=1)
    with TestClient(create_app(settings, LocalModel.load(shipped_model(), "cpu", None))) as client:
        while client.get("/readyz").status_code == 503:
            pass
        check_rules(client)
        check_openapi(client)
        check_explain(client, picture)
        check_errors(client, picture)
        check_compare(client, picture)
        check_overrides(client, picture)
        check_kserve(client, picture)
        check_open_inference(client, picture)
    check_command_line(monkeypatch, picture, tmp_path)
    check_documentation()


def check_rules(client: TestClient) -> None:
    """The page builds its choice of rules and their sliders from this; see tests/api/test_page.py."""
    listed = client.get("/rules").json()[-1]
    assert (listed["name"], listed["kind"], listed["title"]) == ("tilted", "rule", "LRP-τ")
    assert listed["parameters"] == [
        {
            "name": "tilt",
            "default": 2.0,
            "minimum": 0.0,
            "maximum": 8.0,
            "exclusive_minimum": False,
            "description": TILT.description,
        }
    ]


def check_openapi(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/explain", "/explain/batch", "/compare"):
        parameters = {one["name"]: one for one in paths[path]["post"]["parameters"]}
        names = parameters["rule"]["schema"]
        assert "tilted" in names.get("items", names)["enum"]
        schema = parameters["tilt"]["schema"]
        assert (schema["minimum"], schema["maximum"], schema["examples"]) == (0.0, 8.0, [0.75])
        assert parameters["tilt"]["description"] == TILT.query


def check_explain(client: TestClient, picture: bytes) -> None:
    for tilt in (1.5, 4.0):
        query = {"rule": "tilted", "tilt": tilt, "target": "cat", "values": True, "verify": True}
        answer = explained(client, picture, **query)
        assert answer["rule"]["parameters"] == {"tilt": tilt}
        expected = propagated(picture, tilt)
        assert distance(answer["relevance"]["values"], expected) < 1e-4
        assert answer["relevance"]["verify"]["difference"] < 1e-4
    default = explained(client, picture, rule="tilted", target="cat", values=True)
    assert distance(default["relevance"]["values"], propagated(picture, 2)) < 1e-4


def check_errors(client: TestClient, picture: bytes) -> None:
    for query, culprit in (
        ({"rule": "tilted", "tilt": 8.5}, "tilt"),
        ({"rule": "tilted", "tilt": "steep"}, "tilt"),
        ({"rule": "tilted", "gamma": 1}, "gamma"),
        ({"rule": "gamma", "tilt": 1}, "tilt"),
    ):
        refused = client.post("/explain", params=query, content=picture, headers=PNG)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["loc"] == ["query", culprit]
    assert (
        "from 0 up to 8"
        in client.post("/explain", params={"rule": "tilted", "tilt": 9}, content=picture, headers=PNG).json()[
            "detail"
        ]
    )


def check_compare(client: TestClient, picture: bytes) -> None:
    query = {"rule": ["gamma", "tilted"], "gamma": 1, "tilt": 2, "target": "cat"}
    answer = client.post("/compare", params=query, content=picture, headers=PNG).json()
    assert [one["rule"]["parameters"] for one in answer["explanations"]] == [{"gamma": 1}, {"tilt": 2}]


def check_overrides(client: TestClient, picture: bytes) -> None:
    layers = "features.*:tilted(tilt=2)"
    rules = explained(client, picture, layers=layers, verify=True)
    assert rules["relevance"]["verify"]["difference"] < 1e-4
    assigned = {one["name"]: one for one in rules["rule"]["layers"]}
    assert assigned["features.3"] == {"name": "features.3", "rule": "tilted", "parameters": {"tilt": 2}}
    assert assigned["classifier.1"]["rule"] == "epsilon"


def check_kserve(client: TestClient, picture: bytes) -> None:
    instance = {"b64": base64_of(picture), "rule": "tilted", "tilt": 2, "target": "cat", "values": True}
    model = f"/v1/models/{card().name}:explain"
    answer = client.post(model, json={"instances": [instance]}).json()["explanations"][0]
    assert distance(answer["relevance"]["values"], propagated(picture, 2)) < 1e-4
    refused = client.post(model, json={"instances": [{**instance, "tilt": 9}]})
    assert (refused.status_code, "tilt" in refused.json()["error"]) == (422, True)


def check_open_inference(client: TestClient, picture: bytes) -> None:
    body = {
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64_of(picture)]}],
        "outputs": [{"name": "relevance"}],
        "parameters": {"rule": "tilted", "tilt": 2, "target": "cat"},
    }
    (output,) = client.post(f"/v2/models/{card().name}-lrp/infer", json=body).json()["outputs"]
    assert distance(np.reshape(output["data"], output["shape"][1:]), propagated(picture, 2)) < 1e-4


def check_command_line(monkeypatch: pytest.MonkeyPatch, picture: bytes, folder: Path) -> None:
    (folder / "cat.png").write_bytes(picture)
    for tilt, code in (("0", 0), ("8", 0), ("9", 2)):
        options = ["--rule", "tilted", "-p", f"tilt={tilt}", "--layers", "features.0:tilted(tilt=1)"]
        output = folder / f"{tilt}.png"
        arguments = ["explain", str(folder / "cat.png"), *options, "-o", str(output)]
        assert (run(monkeypatch, *arguments), output.exists()) == (code, code == 0)
    assert (folder / "0.png").read_bytes() != (folder / "8.png").read_bytes()


def check_documentation() -> None:
    assert "`tilted`" in make_tables.tables()["which-rule-when.md"]["rules"]


# The same, computed here

PNG = {"Content-Type": "image/png"}


def explained(client: TestClient, picture: bytes, **query: Any) -> Any:
    answer = client.post("/explain", params=query, content=picture, headers=PNG)
    assert answer.status_code == 200, answer.text
    return answer.json()


def base64_of(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def card() -> ImageCard:
    return load_image(shipped_model())[1]


def network_input(picture: bytes) -> Tensor:
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(picture)))).double() / 255  # (H, W, C)
    normalisation = card().normalisation
    mean, std = (torch.tensor(numbers).double() for numbers in (normalisation.mean, normalisation.std))
    return ((pixels - mean) / std).permute(2, 0, 1)[None]  # (1, C, H, W)


def propagated(picture: bytes, tilt: float) -> Tensor:
    """Relevance (C, H, W) of the class cat, each layer's by autograd."""
    network, _ = load_module(shipped_model())
    layers = [*network.double().features, *network.classifier]
    inputs = [network_input(picture)]
    for layer in layers:
        inputs.append(layer(inputs[-1].clone()).detach())  # some of them work in place
    R = torch.zeros_like(inputs.pop())
    R[0, CAT] = 1
    for layer, x in zip(reversed(layers), reversed(inputs), strict=True):
        R = propagated_through(layer, x.requires_grad_(), R, tilt)
    return R[0]


def propagated_through(layer: nn.Module, x: Tensor, R: Tensor, tilt: float) -> Tensor:
    if isinstance(layer, nn.ReLU | nn.Dropout):
        return R
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return torch.autograd.grad(layer(x), x, R)[0]
    layer = copy.deepcopy(layer)
    layer.weight.data += tilt * layer.weight.data.abs()
    z = layer(x)
    return (x * torch.autograd.grad(z, x, R / (z + STABILIZER * torch.where(z < 0, -1, 1)))[0]).detach()


def distance(found: Any, expected: Tensor) -> float:
    return float((torch.as_tensor(np.asarray(found)).double() - expected).norm() / expected.norm())
