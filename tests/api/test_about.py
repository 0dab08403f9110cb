"""Descriptions of the model, rules and colour maps, probes, errors and the OpenAPI schema."""

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Server
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from app.main import create_app
from app.models.protocol import Model
from app.serving.kinds.image_schemas import ExplainAnswer
from app.settings import Settings


def test_model_gives_what_is_needed_to_reproduce_an_answer(client: TestClient) -> None:
    about = client.get("/model").json()
    assert about["name"] == "minivgg-cifar10"
    assert about["version"] == about["sha256"][:12]
    assert len(about["classes"]) == 10
    assert len(about["normalisation"]["mean"]) == len(about["normalisation"]["std"]) == 3
    assert about["input_size"] == [3, 32, 32]
    assert about["preprocessing"] is None
    assert about["accuracy"] == about["training"]["test"]["accuracy"] >= 0.89
    assert about["limits"] == {"max_body_bytes": 8 * 2**20, "max_pixels": 25_000_000, "max_pictures": 32}
    assert next(layer["name"] for layer in about["layers"]) == "features.0"


def test_each_listed_rule_can_be_used(client: TestClient, cat_png: bytes) -> None:
    rules = client.get("/rules").json()
    assert "epsilon_plus_flat" in {rule["name"] for rule in rules}
    for rule in rules:
        assert rule["formula"]
        assert rule["source"]
        response = client.post(
            "/explain", params={"rule": rule["name"]}, content=cat_png, headers={"Content-Type": "image/png"}
        )
        assert response.status_code == 200, (rule["name"], response.text)


def test_each_rule_accepts_the_parameters_that_it_lists(client: TestClient, cat_png: bytes) -> None:
    for rule in client.get("/rules").json():
        query = {"rule": rule["name"], **{p["name"]: p["default"] for p in rule["parameters"]}}
        response = client.post(
            "/explain", params=query, content=cat_png, headers={"Content-Type": "image/png"}
        )
        assert response.status_code == 200, (rule["name"], response.text)


def test_each_listed_colormap_can_be_used(client: TestClient, cat_png: bytes) -> None:
    for colormap in client.get("/colormaps").json():
        response = client.post(
            "/explain",
            params={"colormap": colormap["name"]},
            content=cat_png,
            headers={"Content-Type": "image/png"},
        )
        assert response.json()["heatmap"]["colormap"] == colormap["name"]


def test_a_colormap_lists_the_colours_of_a_legend(client: TestClient, cat_png: bytes) -> None:
    legend = next(c for c in client.get("/colormaps").json() if c["name"] == "RdBu_r")["colours"]
    drawn = client.post(
        "/explain?normalize=minmax&size=model&format=png",
        content=cat_png,
        headers={"Content-Type": "image/png"},
    )
    with Image.open(io.BytesIO(drawn.content)) as image:
        colours = {"#{:02x}{:02x}{:02x}".format(*pixel) for pixel in np.asarray(image).reshape(-1, 3)}
    assert len(legend) == 33
    assert {legend[0], legend[-1]} <= colours


def test_probes_report_alive_and_ready(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


PROBES_AND_PAGE = [
    "/livez",
    "/readyz",
    "/health",
    "/healthz",
    "/ping",
    "/v2/health/live",
    "/v2/health/ready",
    "/",
]


@pytest.mark.parametrize("path", PROBES_AND_PAGE)
def test_probes_and_page_ignore_query_parameters(client: TestClient, path: str) -> None:
    assert client.get(path, params={"x": 1}).status_code == 200


@pytest.mark.parametrize("path", ["/model", "/rules", "/colormaps", "/metrics", "/v1/models", "/v2"])
def test_routes_without_parameters_refuse_them_as_documented(
    client: TestClient, app: FastAPI, path: str
) -> None:
    assert client.get(path, params={"x": 1}).status_code == 422
    assert "422" in app.openapi()["paths"][path]["get"]["responses"]


@pytest.mark.parametrize(
    "path", [*PROBES_AND_PAGE, "/model", "/metrics", "/v1/models", "/v2", "/openapi.json"]
)
def test_head_gives_the_headers_of_get_without_the_body(server: Server, path: str) -> None:
    address = f"http://127.0.0.1:{server.port}{path}"
    got, head = httpx.get(address), httpx.head(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert int(head.headers["Content-Length"]) > 0


def test_the_application_itself_omits_the_body_of_head(client: TestClient) -> None:
    assert client.head("/model").content == b""
    assert client.head("/explain").status_code == 405


def test_every_media_type_of_an_answer_is_in_openapi(client: TestClient, app: FastAPI) -> None:
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    media_type = client.get("/metrics", headers=headers).headers["Content-Type"].partition(";")[0]
    assert media_type == "application/openmetrics-text"
    paths = app.openapi()["paths"]
    assert set(paths["/metrics"]["get"]["responses"]["200"]["content"]) == {"text/plain", media_type}
    infer = paths["/v2/models/{model}/infer"]["post"]
    both = {"application/json", "application/octet-stream"}
    assert set(infer["requestBody"]["content"]) == set(infer["responses"]["200"]["content"]) == both
    assert "Inference-Header-Content-Length" in infer["responses"]["200"]["headers"]
    assert [one["name"] for one in infer["parameters"]] == ["model", "Inference-Header-Content-Length"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/explain", 405),
        ("DELETE", "/model", 405),
        ("GET", "/model?x=1", 422),
    ],
)
def test_errors_of_fastapi_are_problems(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["instance"] == response.headers["X-Request-ID"]


def test_a_crash_reveals_only_the_request_id(model: Model) -> None:
    app = create_app(Settings(), model)

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("a secret")

    with TestClient(app) as client:
        response = client.get("/crash")
    assert response.status_code == 500
    assert response.json()["instance"] == response.headers["X-Request-ID"]
    assert "secret" not in response.text


def test_docs_load_nothing_from_other_hosts(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "//" not in page.replace("http://testserver", "").split("<script>")[0]
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def openapi_operations(app: FastAPI) -> list[tuple[str, dict[str, Any]]]:
    paths = app.openapi()["paths"].items()
    return [(path, operation) for path, operations in paths for operation in operations.values()]


def test_openapi_describes_every_parameter_and_error(app: FastAPI) -> None:
    for path, operation in openapi_operations(app):
        assert operation["summary"]
        for parameter in operation.get("parameters", []):
            assert parameter["description"], parameter["name"]
        protocol = path.startswith(("/v1", "/v2"))
        media_type, field = (
            ("application/json", "error") if protocol else ("application/problem+json", "detail")
        )
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                assert list(response["content"]) == [media_type]
                assert response["content"][media_type]["example"][field]


def test_openapi_describes_a_file_upload_and_three_media_types(app: FastAPI) -> None:
    explain = app.openapi()["paths"]["/explain"]["post"]
    form = explain["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["file"]["format"] == "binary"
    assert set(explain["responses"]["200"]["content"]) == {
        "application/json",
        "image/png",
        "application/x-npy",
    }


def test_openapi_references_resolve(app: FastAPI) -> None:
    schema = app.openapi()
    names = {part.split('"')[0] for part in json.dumps(schema).split("#/components/schemas/")[1:]}
    assert names <= set(schema["components"]["schemas"])


def test_the_answer_matches_its_schema(client: TestClient, cat_png: bytes) -> None:
    answer = client.post(
        "/explain?values=true", content=cat_png, headers={"Content-Type": "image/png"}
    ).json()
    ExplainAnswer.model_validate(answer)
