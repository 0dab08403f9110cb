"""The examples in OpenAPI equal the answers of the service.

``PYTHONPATH=tests .venv/bin/python tests/api/test_examples.py`` records them again.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import encode
from fastapi import FastAPI
from PIL import Image
from skimage import data
from starlette.testclient import TestClient

from app.api.openapi import ANY_MODEL, RECORDED, recorded_answers
from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings, shipped_model, shipped_models

MAX_ITEMS = 12
"""Longer lists are cut to their first three items, and long texts such as base64 to their first characters."""
MACHINE_DEPENDENT = {"device"}
MODEL = "minivgg-cifar10"
OF_ANY_MODEL = tuple(
    f"GET {path}"
    for path in (
        *("/rules", "/colormaps", "/livez", "/readyz", "/health", "/healthz", "/ping"),
        *("/v2", "/v2/health/live", "/v2/health/ready"),
    )
)
GETS = (*OF_ANY_MODEL, "GET /model", "GET /models", "GET /v1/models")
POSTS = {
    "/predict": {"top_k": 3},
    "/explain": {"top_k": 3, "size": "model"},
    "/compare": {"rule": ["epsilon_plus_flat", "gamma"], "target": "cat", "top_k": 3, "size": "model"},
    "/evaluate": {"rule": ["epsilon_plus_flat", "gamma"], "top_k": 3, "patch": 8},
    "/explain/batch": {"top_k": 3, "size": "model"},
}


TEXT = {"text": "a gorgeous, witty film"}
MIX = {
    "features": {
        **{"Cement": 540.0, "Blast-Furnace-Slag": 0.0, "Fly-Ash": 0.0, "Water": 162.0},
        **{"Superplasticizer": 2.5, "Coarse-Aggregate": 1040.0, "Fine-Aggregate": 676.0, "Age": 28.0},
    }
}
OF_OTHER_KINDS: dict[str, dict[str, Any]] = {
    "words-lstm": {
        **{f"/{verb}/text": TEXT for verb in ("predict", "explain", "compare", "evaluate")},
        "/explain/batch/text": {"texts": [TEXT["text"], "not bad at all"]},
    },
    "concrete": {
        **{f"/{verb}/table": MIX for verb in ("predict", "explain", "compare", "evaluate")},
        "/explain/batch/table": {"rows": [MIX["features"]]},
    },
}
"""Requests for the answers of models that take no pictures, by the model."""
OF_SEVERAL_RULES = [f"/{verb}/{kind}" for verb in ("compare", "evaluate") for kind in ("text", "table")]


def answers_of_other_kinds(model: str) -> tuple[str, dict[str, Any]]:
    """Return the version of a model, and its shortened answer for each operation."""
    with TestClient(create_app(Settings(model=shipped_models() / model))) as client:
        while client.get("/readyz").status_code == 503:
            pass  # the warm-up runs between the requests
        found = {
            path: client.post(path, json=body, params={"rule": "zero"} if path in OF_SEVERAL_RULES else {})
            for path, body in OF_OTHER_KINDS[model].items()
        }
        assert all(response.status_code == 200 for response in found.values()), found
        version = client.get("/model").json()["version"]
        return version, {f"POST {path}": shortened(response.json()) for path, response in found.items()}


def answers(client: TestClient, picture: bytes) -> dict[str, Any]:
    """Return the shortened answer of the service for each operation."""
    found = {operation: client.get(operation.removeprefix("GET ")) for operation in GETS}
    for path, query in POSTS.items():
        found[f"POST {path}"] = client.post(path, params=query, files={"file": ("cat.png", picture)})
    instances = {"instances": [base64.b64encode(picture).decode()]}
    for verb in ("predict", "explain"):
        found[f"POST /v1/models/{{model}}:{verb}"] = client.post(f"/v1/models/{MODEL}:{verb}", json=instances)
    image = {"name": "image", "shape": [1], "datatype": "BYTES", "data": instances["instances"]}
    inferred = client.post(
        f"/v2/models/{MODEL}/infer",
        json={"id": "1", "inputs": [image], "outputs": [{"name": "probabilities"}]},
    )
    found |= {
        "GET /models/{model}": client.get(f"/models/{MODEL}"),
        "POST /v2/repository/index": client.post("/v2/repository/index"),
        "GET /v1/models/{model}": client.get(f"/v1/models/{MODEL}"),
        "GET /v2/models/{model}": client.get(f"/v2/models/{MODEL}"),
        "GET /v2/models/{model}/ready": client.get(f"/v2/models/{MODEL}/ready"),
        "POST /v2/models/{model}/infer": inferred,
    }
    for method, tail in (("GET", ""), ("GET", "/ready"), ("POST", "/infer")):
        of_model = f"{method} /v2/models/{{model}}"
        found[f"{of_model}/versions/{{version}}{tail}"] = found[of_model + tail]
    for operation, response in found.items():
        assert response.status_code == 200, (operation, response.text)
    return {operation: shortened(response.json()) for operation, response in found.items()}


def shortened(answer: Any) -> Any:
    match answer:
        case dict():
            return {name: shortened(value) for name, value in answer.items()}
        case list():
            return [shortened(value) for value in (answer[:3] if len(answer) > MAX_ITEMS else answer)]
        case str() if len(answer) > 400:
            return answer[:48] + "…"
        case float():
            return float(f"{answer:.6g}")
    return answer


def assert_nearly_equal(found: Any, recorded: Any) -> None:
    """Assert equality, except for the last digits of numbers and machine-dependent fields."""
    match found:
        case dict():
            assert found.keys() == recorded.keys()
            for name in found.keys() - MACHINE_DEPENDENT:
                assert_nearly_equal(found[name], recorded[name])
        case list():
            for one, other in zip(found, recorded, strict=True):
                assert_nearly_equal(one, other)
        case float():
            assert found == pytest.approx(recorded, rel=1e-3, abs=1e-5)
        case _:
            assert found == recorded


def small_cat() -> bytes:
    """Return a picture of 64×64 pixels."""
    return encode(Image.fromarray(data.chelsea()).crop((75, 0, 375, 300)).resize((64, 64)))  # type: ignore[no-untyped-call] # skimage has no types


def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def test_examples_equal_the_answers(client: TestClient) -> None:
    version = client.get("/model").json()["version"]
    assert_nearly_equal(answers(client, small_cat()), recorded_answers(version))


@pytest.mark.parametrize("model", OF_OTHER_KINDS)
def test_examples_of_other_kinds_equal_the_answers(model: str) -> None:
    version, found = answers_of_other_kinds(model)
    of_any_model = json.loads(RECORDED.read_text())[ANY_MODEL]
    recorded = {name: one for name, one in recorded_answers(version).items() if name not in of_any_model}
    assert_nearly_equal(found, recorded)


def test_every_json_answer_has_an_example(app: FastAPI) -> None:
    for name, operation in operations(app).items():
        for content in operation["responses"]["200"]["content"].items():
            if content[0] == "application/json":
                assert "example" in content[1], name


def test_every_parameter_has_a_description_an_example_and_a_range(app: FastAPI) -> None:
    bounds = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    for name, operation in operations(app).items():
        for parameter in operation.get("parameters", []):
            schema = parameter["schema"]
            assert parameter["description"], (name, parameter["name"])
            assert "example" in parameter or schema.get("examples"), (name, parameter["name"])
            numbers = [
                part
                for part in (schema, *schema.get("anyOf", []))
                if part.get("type") in ("number", "integer")
            ]
            if numbers:
                assert any(bounds & part.keys() for part in (schema, *numbers)), (name, parameter["name"])


def documented(app: FastAPI, operation: str, status: int) -> Any:
    content = operations(app)[operation]["responses"][str(status)]["content"]
    return next(iter(content.values()))["example"]


@pytest.mark.parametrize(
    ("status", "request_options"),
    [
        (400, {"content": b"", "headers": {"Content-Type": "image/png"}}),
        (406, {"content": b"x", "headers": {"Content-Type": "image/png", "Accept": "text/html"}}),
        (413, {"content": b"x", "headers": {"Content-Type": "image/png", "Content-Length": "9999999"}}),
        (415, {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        (
            422,
            {"params": {"target": "tiger"}, "content": small_cat(), "headers": {"Content-Type": "image/png"}},
        ),
    ],
)
def test_examples_of_errors_equal_the_answers(
    app: FastAPI, client: TestClient, status: int, request_options: dict[str, Any]
) -> None:
    problem = client.post("/explain", **request_options).json()
    example = documented(app, "POST /explain", status)
    assert problem | {"instance": ""} == example | {"instance": ""}


def test_the_example_of_a_missing_key_equals_the_answer(tmp_path: Path, model: Model) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-that-is-long-enough-to-be-taken\n")
    app = create_app(Settings(api_keys_file=keys), model)
    with TestClient(app) as client:
        problem = client.get("/model").json()
    assert problem | {"instance": ""} == documented(app, "GET /model", 401) | {"instance": ""}


def test_the_example_of_an_unknown_model_equals_the_answer(app: FastAPI, client: TestClient) -> None:
    assert client.get("/v1/models/vgg16").json() == documented(app, "GET /v1/models/{model}", 404)


if __name__ == "__main__":
    with TestClient(create_app(Settings(model=shipped_model()))) as client:
        while client.get("/readyz").status_code == 503:
            pass  # the warm-up runs between the requests
        found = answers(client, small_cat())
    of_any_model = {operation: found.pop(operation) for operation in OF_ANY_MODEL}
    recorded = {ANY_MODEL: of_any_model, found["GET /model"]["version"]: found}
    recorded |= dict(map(answers_of_other_kinds, OF_OTHER_KINDS))
    RECORDED.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")
