"""The OpenAPI schema: valid, and good for Swagger UI and for generators of clients."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fake_model import FakeModel
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.schema_style import FIRST_PARAMETERS, readable
from app.main import create_app
from app.serving.representations import MAX_SCORES_IN_HEADER
from app.settings import Settings

UPLOADS = ("/predict", "/explain", "/explain/batch", "/compare")


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all operations by path; no path has two."""
    return {path: operation for path, methods in schema["paths"].items() for operation in methods.values()}


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects in a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from schemas(item)


def test_a_validator_finds_nothing(schema: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(schema).iter_errors()] == []


def test_a_validator_finds_nothing_with_keys_and_another_model(tmp_path: Any) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret")
    schema = create_app(Settings(api_keys_file=keys), FakeModel()).openapi()
    assert [error.message for error in OpenAPIV31SpecValidator(schema).iter_errors()] == []


def test_every_operation_has_an_id_that_is_the_name_of_a_function(schema: dict[str, Any]) -> None:
    ids = {path: operation["operationId"] for path, operation in operations(schema).items()}
    assert len(set(ids.values())) == len(ids)
    for path, name in ids.items():
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+){0,3}", name)
        assert name.startswith("v1_") == path.startswith("/v1")
        assert name.startswith("v2_") == path.startswith("/v2")
        assert not name.endswith(("_get", "_post"))
    assert [ids[path] for path in UPLOADS] == ["predict", "explain", "explain_batch", "compare"]
    assert ids["/model"] == "get_model"
    assert ids["/v2/models/{model}/infer"] == "v2_model_infer"


def test_important_parameters_come_first(schema: dict[str, Any]) -> None:
    for path in ("/explain", "/explain/batch"):
        names = [parameter["name"] for parameter in operations(schema)[path]["parameters"]]
        assert tuple(names[:4]) == FIRST_PARAMETERS
    names = [parameter["name"] for parameter in operations(schema)["/compare"]["parameters"]]
    assert names[:3] == ["rule", "target", "versus"]


def test_parameters_have_one_type_and_are_never_null(schema: dict[str, Any]) -> None:
    for operation in operations(schema).values():
        for parameter in operation.get("parameters", []):
            described = parameter["schema"]
            assert "anyOf" not in described
            assert isinstance(described["type"], str) if "$ref" not in described else True
            assert described.get("default", "") is not None
    (top_k,) = [one for one in operations(schema)["/predict"]["parameters"] if one["name"] == "top_k"]
    assert (top_k["schema"]["type"], top_k["schema"]["minimum"]) == ("integer", 1)


def test_null_is_one_of_two_types_only_beside_a_reference(schema: dict[str, Any]) -> None:
    for one in schemas(schema["components"]):
        if {"type": "null"} in one.get("anyOf", []) and len(one["anyOf"]) == 2:
            (other,) = [choice for choice in one["anyOf"] if choice != {"type": "null"}]
            assert list(other) == ["$ref"]
    report = schema["components"]["schemas"]["RelevanceReport"]["properties"]
    assert report["leak"]["type"] == ["number", "null"]


def test_enumerations_keep_their_null() -> None:
    choice = {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}], "default": None}
    schema = {
        "paths": {"/": {"get": {"parameters": [{"name": "x", "schema": choice}]}}},
        "components": {"schemas": {"X": choice}},
    }
    found = readable(schema)
    assert found["components"]["schemas"]["X"] == {"type": ["string", "null"], "enum": ["a", None]}
    assert found["paths"]["/"]["get"]["parameters"][0]["schema"] == {"type": "string", "enum": ["a"]}


def test_examples_are_of_the_model_that_is_served(schema: dict[str, Any]) -> None:
    other = create_app(Settings(), FakeModel())
    classes = set(FakeModel().description.card.classes)
    shipped = {"airplane", "cat", "dog", "minivgg-cifar10"}

    def named(found: dict[str, Any]) -> set[str]:
        examples = [one[key] for one in schemas(found) for key in ("example", "examples") if key in one]
        return set(re.findall(r"[\w.-]+", str(examples)))

    assert shipped <= named(schema)
    assert not shipped & named(other.openapi())
    assert classes & named(other.openapi())


def test_the_limit_of_the_scores_in_a_header_is_described(schema: dict[str, Any]) -> None:
    header = operations(schema)["/explain"]["responses"]["200"]["headers"]["X-Scores"]
    assert f"the {MAX_SCORES_IN_HEADER} most probable classes" in header["description"]
