"""The Open Inference Protocol, tested against its definition and with Triton's client."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest
import tritonclient.http as triton
from conftest import Server, encode
from PIL import Image
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings

NETWORK, EXPLAINED = "minivgg-cifar10", "minivgg-cifar10-lrp"

# JSON schemas of answers, written from the protocol's REST definition.
# https://github.com/kserve/open-inference-protocol (Apache-2.0), specification/protocol/open_inference_rest.yaml
TEXT, NAMES, SHAPE = (
    {"type": "string"},
    {"type": "array", "items": {"type": "string"}},
    {"$ref": "#/$defs/shape"},
)


def described(required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
        "$defs": {
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {
                "type": "array",
                "items": {"anyOf": [{"$ref": "#/$defs/data"}, {"type": ["number", "string", "boolean"]}]},
            },
            "tensor": {
                "type": "object",
                "required": ["name", "datatype", "shape"],
                "properties": {"name": TEXT, "datatype": TEXT, "shape": SHAPE},
            },
            "output": {
                "type": "object",
                "required": ["name", "datatype", "shape", "data"],
                "properties": {
                    "name": TEXT,
                    "datatype": TEXT,
                    "shape": SHAPE,
                    "parameters": {"type": "object"},
                    "data": {"$ref": "#/$defs/data"},
                },
                "additionalProperties": False,
            },
        },
    }


TENSORS = {"type": "array", "items": {"$ref": "#/$defs/tensor"}}
SERVER_METADATA = described("name version extensions", name=TEXT, version=TEXT, extensions=NAMES)
MODEL_METADATA = described(
    "name platform", name=TEXT, versions=NAMES, platform=TEXT, inputs=TENSORS, outputs=TENSORS
)
RESPONSE = described(
    "model_name outputs",
    model_name=TEXT,
    model_version=TEXT,
    id=TEXT,
    parameters={"type": "object"},
    outputs={"type": "array", "items": {"$ref": "#/$defs/output"}},
)
ERROR = described("error", error=TEXT)


@pytest.fixture(scope="session")
def pixels(cat: Image.Image) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Two pictures of the model's size, (2, 3, 32, 32) in 0…1."""
    small = cat.crop((75, 0, 375, 300)).resize((32, 32))
    both = np.stack([np.asarray(small), np.asarray(small.transpose(Image.Transpose.FLIP_LEFT_RIGHT))])
    return np.asarray(both.transpose(0, 3, 1, 2) / 255, np.float32)


@pytest.fixture(scope="module")
def triton_client(server: Server) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}", network_timeout=60)
    yield client
    client.close()


def infer(client: TestClient, model: str, given: dict[str, Any], **rest: Any) -> httpx.Response:
    body = {"inputs": [{"name": "image", **given}], **rest}
    response: httpx.Response = client.post(f"/v2/models/{model}/infer", json=body)
    return response


def files(*pictures: bytes) -> dict[str, Any]:
    data = [base64.b64encode(picture).decode() for picture in pictures]
    return {"datatype": "BYTES", "shape": [len(data)], "data": data}


def numbers(response: httpx.Response, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    (output,) = [output for output in response.json()["outputs"] if output["name"] == name]
    return np.array(output["data"]).reshape(output["shape"])


def test_metadata_match_the_definition(client: TestClient) -> None:
    version = client.get("/model").json()["version"]
    jsonschema.validate(client.get("/v2").json(), SERVER_METADATA)
    assert client.get("/v2/").json()["name"] == "lrpserve"
    for model in (NETWORK, EXPLAINED):
        metadata = client.get(f"/v2/models/{model}").json()
        jsonschema.validate(metadata, MODEL_METADATA)
        assert metadata == client.get(f"/v2/models/{model}/versions/{version}").json()
        (image,) = metadata["inputs"]
        assert image.pop("parameters") == {
            "alternatives": "BYTES [-1]; UINT8 [-1,3,-1,-1]; UINT8 [-1,-1,-1,3]"
        }
        assert image == {"name": "image", "datatype": "FP32", "shape": [-1, 3, 32, 32]}


def test_health_and_readiness_match_the_definition(client: TestClient) -> None:
    version = client.get("/model").json()["version"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in (f"/v2/models/{EXPLAINED}/ready", f"/v2/models/{EXPLAINED}/versions/{version}/ready"):
        assert client.get(path).json() == {"name": EXPLAINED, "ready": True}


def test_answers_match_the_definition_and_repeat_the_id(
    client: TestClient, cat_png: bytes, pixels: np.ndarray[Any, Any]
) -> None:
    tensor = {"datatype": "FP32", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    for model in (NETWORK, EXPLAINED):
        for given in (files(cat_png), tensor):
            response = infer(client, model, given, id="42")
            jsonschema.validate(response.json(), RESPONSE)
            assert response.json()["id"] == "42"
            assert response.json()["model_name"] == model
            metadata = client.get(f"/v2/models/{model}").json()["outputs"]
            for output, meta in zip(response.json()["outputs"], metadata, strict=True):
                assert (output["name"], output["datatype"]) == (meta["name"], meta["datatype"])
                assert output["shape"] == [given["shape"][0], *meta["shape"][1:]]
                assert np.size(output["data"]) == np.prod(output["shape"])


def assert_nearly_equal_pngs(*pngs: bytes) -> None:
    """Assert that pictures are equal but for the last bits, which depend on the other inputs of the batch."""
    first, second = (np.asarray(Image.open(io.BytesIO(png)), np.int16) for png in pngs)
    assert np.abs(first - second).max() <= 2


def test_files_get_the_same_results_as_from_the_explain_route(client: TestClient, cat_png: bytes) -> None:
    options = {"rule": "gamma", "gamma": 0.5, "target": "dog"}
    response = infer(client, EXPLAINED, files(cat_png, cat_png), parameters=options)
    headers = {"Content-Type": "image/png"}
    alone = client.post("/explain", params=options, content=cat_png, headers=headers).json()
    npy = client.post("/explain", params={**options, "format": "npy"}, content=cat_png, headers=headers)
    for row in range(2):
        np.testing.assert_allclose(
            numbers(response, "relevance")[row], np.load(io.BytesIO(npy.content)), atol=1e-6
        )
        assert_nearly_equal_pngs(
            *map(base64.b64decode, (numbers(response, "heatmap_png")[row], alone["heatmap"]["data"]))
        )
    by_class = sorted(alone["scores"], key=lambda score: int(score["index"]))
    np.testing.assert_allclose(
        numbers(response, "logits")[0], [score["logit"] for score in by_class], rtol=1e-5, atol=1e-6
    )


def test_a_tensor_and_a_file_of_the_same_pixels_give_equal_results(
    client: TestClient, pixels: np.ndarray[Any, Any]
) -> None:
    tensor = {"datatype": "FP32", "shape": list(pixels.shape), "data": pixels.tolist()}
    same = [
        encode(Image.fromarray((255 * one).round().astype(np.uint8).transpose(1, 2, 0))) for one in pixels
    ]
    from_tensor, from_files = (infer(client, EXPLAINED, given) for given in (tensor, files(*same)))
    for name in ("logits", "probabilities", "relevance"):
        np.testing.assert_allclose(numbers(from_tensor, name), numbers(from_files, name), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "listed"),
    [(EXPLAINED, "priority, timeout"), (NETWORK, "rule, priority, timeout")],
)
def test_members_that_are_not_known_are_ignored_and_parameters_listed(
    client: TestClient, cat_png: bytes, name: str, listed: str
) -> None:
    plain = infer(client, name, files(cat_png), parameters={"rule": "zero"} if name == EXPLAINED else {})
    tensor = {**files(cat_png), "parameters": {"content_type": "base64"}, "layout": {"a": [1]}}
    parameters = {"rule": "zero", "priority": 1, "timeout": None}
    rest = {"model_name": name, "outputs": None, "id": None, "content_type": None}
    response = infer(client, name, tensor, parameters=parameters, **rest)
    assert "parameters" not in plain.json()
    assert response.json()["parameters"] == {"ignored": listed}
    for output in plain.json()["outputs"]:
        if output["datatype"] == "FP32":
            got, expected = (numbers(one, output["name"]) for one in (response, plain))
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_null_for_a_known_member_is_as_if_it_were_not_there(client: TestClient, cat_png: bytes) -> None:
    tensor = {**files(cat_png), "parameters": None}
    response = infer(client, NETWORK, tensor, parameters=None, outputs=None, id=None)
    assert numbers(response, "logits").shape == (1, 10)


def test_only_the_requested_outputs_are_returned_in_their_order(client: TestClient, cat_png: bytes) -> None:
    requested = [{"name": "relevance"}, {"name": "logits"}]
    outputs = infer(client, EXPLAINED, files(cat_png), outputs=requested).json()["outputs"]
    assert [output["name"] for output in outputs] == ["relevance", "logits"]


def test_the_version_may_be_in_the_path(client: TestClient, cat_png: bytes) -> None:
    version = client.get("/model").json()["version"]
    body = {"inputs": [{"name": "image", **files(cat_png)}]}
    response = client.post(f"/v2/models/{NETWORK}/versions/{version}/infer", json=body)
    assert response.json()["model_version"] == version
    other = client.post(f"/v2/models/{NETWORK}/versions/1/infer", json=body)
    assert (other.status_code, list(other.json())) == (404, ["error"])


TENSOR = {"datatype": "FP32", "shape": [1, 3, 32, 32]}


@pytest.mark.parametrize(
    ("given", "rest", "status", "message"),
    [
        ({"datatype": "FP32", "shape": [1, 3, 32, 31], "data": [0]}, {}, 400, "[N, 3, 32, 32]"),
        ({"datatype": "FP32", "shape": [3, 32, 32], "data": [0]}, {}, 400, "[N, 3, 32, 32]"),
        ({"datatype": "FP32", "shape": [-1, 3, 32, 32], "data": [0]}, {}, 400, "shape"),
        ({"datatype": "FP32", "shape": [10**30, 3, 32, 32], "data": [0]}, {}, 400, "shape"),
        ({"datatype": "INT8", "shape": [1, 3, 32, 32], "data": [0]}, {}, 400, "UINT8"),
        ({"datatype": "UINT8", "shape": [1, 3, 2, 2], "data": [0]}, {}, 400, "whole numbers from 0 to 255"),
        ({"datatype": "UINT8", "shape": [1, 3, 1, 1], "data": [0, 1, 256]}, {}, 400, "from 0 to 255"),
        ({"datatype": "UINT8", "shape": [1, 3, 1, 1], "data": [0, 1, -1]}, {}, 400, "from 0 to 255"),
        ({"datatype": "UINT8", "shape": [1, 3, 1, 1], "data": [0, 1, 0.5]}, {}, 400, "from 0 to 255"),
        ({"datatype": "UINT8", "shape": [1, 3, 1, 1], "data": [0, 1, True]}, {}, 400, "from 0 to 255"),
        ({"datatype": "UINT8", "shape": [1, 4, 5, 5], "data": [0]}, {}, 400, "[N, 3, H, W] or [N, H, W, 3]"),
        ({"datatype": "UINT8", "shape": [1, 3, 0, 5], "data": []}, {}, 400, "[N, 3, H, W]"),
        ({"datatype": "UINT8", "shape": [3, 5, 5], "data": [0]}, {}, 400, "[N, 3, H, W]"),
        ({**TENSOR, "data": [0] * 3071}, {}, 400, "FP32 numbers"),
        ({**TENSOR, "data": [[0, 1], [2]]}, {}, 400, "FP32 numbers"),
        ({**TENSOR, "data": [{}] * 3072}, {}, 400, "FP32 numbers"),
        ({**TENSOR, "data": [10**400] * 3072}, {}, 400, "FP32 numbers"),
        ({**TENSOR, "data": ["0.5"] * 3072}, {}, 400, "FP32 numbers"),
        ({**TENSOR, "data": [True] + [0.5] * 3071}, {}, 400, "FP32 numbers"),
        ({**TENSOR, "data": [None] * 3072}, {}, 400, "FP32 numbers"),
        ({"datatype": "BYTES", "shape": [], "data": ["a"]}, {}, 400, "inputs[0].shape"),
        (
            {"datatype": "BYTES", "shape": ["1"], "data": ["a"]},
            {},
            400,
            "inputs[0].shape[0]: must be a whole",
        ),
        ({"datatype": "BYTES", "shape": [1] * 10_000, "data": ["a"]}, {}, 400, "10000 entries"),
        ({**TENSOR, "data": [255] * 3072}, {}, 422, "0 to 1"),
        ({**TENSOR, "data": [float("nan")] * 3072}, {}, 422, "0 to 1"),
        ({**TENSOR, "data": [-1e-3] * 3072}, {}, 422, "0 to 1"),
        ({**TENSOR, "parameters": {"binary_data_size": 12288}}, {}, 400, "behind the JSON"),
        (TENSOR, {}, 400, "data"),
        ({"datatype": "FP32", "shape": [0, 3, 32, 32], "data": []}, {}, 400, "empty"),
        ({"datatype": "BYTES", "shape": [2], "data": ["a"]}, {}, 400, "1 elements"),
        ({"datatype": "BYTES", "shape": [1], "data": [7]}, {}, 400, "base64"),
        ({"datatype": "BYTES", "shape": [1], "data": [["a"]]}, {}, 400, "base64"),
        ({"datatype": "BYTES", "shape": [1], "data": ["bm8gcGljdHVyZQ=="]}, {}, 422, "image[0]"),
        ({"datatype": "BYTES", "shape": [33], "data": ["a"] * 33}, {}, 413, "32"),
        (files(b"x"), {"parameters": {"rule": "nonsense"}}, 422, "nonsense"),
        (files(b"x"), {"parameters": {"epsilon": "x"}}, 422, "epsilon"),
        (files(b"x"), {"parameters": {"top_k": 3}}, 422, "top_k"),
        (files(b"x"), {"parameters": {"gama": 3}}, 422, "gama: no such option; did you mean gamma?"),
        (files(b"x"), {"parameters": {f"u{number}": 3 for number in range(21)}}, 422, "20 others"),
        (files(b"x"), {"parameters": {"target": ["cat"]}}, 400, "target"),
        (files(b"x"), {"parameters": {"target": "9" * 5000}}, 422, "longer than 200 characters"),
        (files(b"x"), {"parameters": {"binary_data_output": "yes"}}, 400, "true or false"),
        (files(b"x"), {"outputs": [{"name": "logits"}] * 5}, 400, "outputs: has 5 entries"),
        (files(b"x"), {"outputs": [{"name": "surprise"}]}, 422, "surprise"),
        (
            files(b"x"),
            {"outputs": [{"name": "logits", "parameters": {"classification": 3}}]},
            400,
            "classific",
        ),
        (files(b"x"), {"inputs": []}, 400, "inputs"),
        (
            files(b"x"),
            {"outputs": [{"name": "logits", "parameters": {"shared_memory_region": "a"}}]},
            400,
            "shared_memory_region is not supported",
        ),
    ],
)
def test_errors_have_the_form_of_the_protocol(
    client: TestClient, given: dict[str, Any], rest: dict[str, Any], status: int, message: str
) -> None:
    body = {"inputs": [{"name": "image", **given}], **rest}
    response = client.post(f"/v2/models/{EXPLAINED}/infer", content=json.dumps(body))
    jsonschema.validate(response.json(), ERROR)
    assert response.status_code == status
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Inference-Header-Content-Length": "7"}, b"{}"),
        ({"Inference-Header-Content-Length": "-1"}, b"{}"),
        ({"Inference-Header-Content-Length": "x"}, b"{}"),
        ({"Inference-Header-Content-Length": "1" * 5000}, b"{}"),
        ({}, b""),
        ({}, b"\xff"),
    ],
)
def test_malformed_bodies_are_400(client: TestClient, headers: dict[str, str], body: bytes) -> None:
    response = client.post(f"/v2/models/{NETWORK}/infer", content=body, headers=headers)
    assert (response.status_code, list(response.json())) == (400, ["error"])


@pytest.mark.parametrize(
    "binary", [b"", b"\x05", b"\x05\0\0\0abcd", b"\x01\0\0\0a\xff\xff\xff\xff", bytes(4)]
)
def test_binary_elements_must_have_the_lengths_that_they_declare(client: TestClient, binary: bytes) -> None:
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(binary)},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post(f"/v2/models/{NETWORK}/infer", content=head + binary, headers=headers)
    assert (response.status_code, list(response.json())) == (400, ["error"])


def test_too_many_values_are_refused_without_being_parsed(client: TestClient) -> None:
    body = b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": ['
    response = client.post(f"/v2/models/{NETWORK}/infer", content=body + b"[]," * 200_000 + b"[]]}]}")
    assert (response.status_code, list(response.json())) == (413, ["error"])
    data = np.full((32, 3, 32, 32), 0.5).tolist()
    tensor = {"datatype": "FP32", "shape": [32, 3, 32, 32], "data": data}
    assert numbers(infer(client, NETWORK, tensor), "logits").shape == (32, 10)


def test_too_many_names_are_refused_without_being_parsed(client: TestClient) -> None:
    parameters = {f"u{number}": None for number in range(4000)}
    response = infer(client, NETWORK, files(b"x"), parameters=parameters)
    assert response.status_code == 413
    assert "names" in response.json()["error"]


def test_unknown_models_are_404_in_the_form_of_the_protocol(client: TestClient) -> None:
    for path in (
        "/v2/models/vgg16",
        "/v2/models/vgg16/ready",
        "/v2/nothing",
        f"/v2/models/{NETWORK}/versions/1",
    ):
        response = client.get(path)
        jsonschema.validate(response.json(), ERROR)
        assert response.status_code == 404


def test_a_missing_key_is_401_in_the_form_of_the_protocol(tmp_path: Path, model: Model) -> None:
    (tmp_path / "keys").write_text("a-key")
    with TestClient(create_app(Settings(api_keys_file=tmp_path / "keys"), model)) as locked:
        response = locked.get("/v2")
        assert locked.get("/v2", headers={"Authorization": "Bearer a-key"}).status_code == 200
    jsonschema.validate(response.json(), ERROR)
    assert response.status_code == 401


def test_triton_client_finds_server_and_models(triton_client: triton.InferenceServerClient) -> None:
    assert triton_client.is_server_live()
    assert triton_client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton_client.get_model_metadata(EXPLAINED)
    assert triton_client.is_model_ready(EXPLAINED, metadata["versions"][0])
    with pytest.raises(InferenceServerException, match="no such model"):
        triton_client.get_model_metadata("vgg16")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_client_gets_the_same_results_with_binary_and_json_tensors(
    triton_client: triton.InferenceServerClient,
    client: TestClient,
    pixels: np.ndarray[Any, Any],
    binary_in: bool,
    binary_out: bool,
) -> None:
    image = triton.InferInput("image", list(pixels.shape), "FP32")
    image.set_data_from_numpy(pixels, binary_data=binary_in)
    outputs = [
        triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("heatmap_png", "relevance")
    ]
    result = triton_client.infer(
        EXPLAINED, [image], outputs=outputs, request_id="7", parameters={"target": "cat"}
    )
    tensor = {"datatype": "FP32", "shape": list(pixels.shape), "data": pixels.tolist()}
    expected = infer(client, EXPLAINED, tensor, parameters={"target": "cat"})
    assert result.get_response()["id"] == "7"
    np.testing.assert_allclose(result.as_numpy("relevance"), numbers(expected, "relevance"), atol=1e-6)
    png = result.as_numpy("heatmap_png")[1]
    png = png if binary_out else base64.b64decode(png)
    assert_nearly_equal_pngs(png, base64.b64decode(numbers(expected, "heatmap_png")[1]))


@pytest.mark.parametrize("form", ["files", "base64"])
def test_triton_client_sends_files_with_its_defaults(
    triton_client: triton.InferenceServerClient, client: TestClient, cat_jpeg: bytes, form: str
) -> None:
    element = cat_jpeg if form == "files" else base64.b64encode(cat_jpeg)
    image = triton.InferInput("image", [2], "BYTES")
    image.set_data_from_numpy(np.array([element, element], dtype=np.object_))
    result = triton_client.infer(NETWORK, [image])
    expected = infer(client, NETWORK, files(cat_jpeg))
    assert result.as_numpy("probabilities").shape == (2, 10)
    np.testing.assert_allclose(
        result.as_numpy("logits")[1], numbers(expected, "logits")[0], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_sends_pixels_as_bytes_of_any_size(
    triton_client: triton.InferenceServerClient,
    client: TestClient,
    cat: Image.Image,
    channels_first: bool,
    binary: bool,
) -> None:
    picture = cat.resize((120, 80))
    pixels = np.stack([np.asarray(picture), np.asarray(picture.rotate(180))])  # (N, H, W, C)
    sent = pixels.transpose(0, 3, 1, 2) if channels_first else pixels
    image = triton.InferInput("image", list(sent.shape), "UINT8")
    image.set_data_from_numpy(np.ascontiguousarray(sent), binary_data=binary)
    result = triton_client.infer(EXPLAINED, [image], parameters={"fit": "pad", "target": "cat"})
    same = files(*(encode(Image.fromarray(one)) for one in pixels))
    expected = infer(client, EXPLAINED, same, parameters={"fit": "pad", "target": "cat"})
    for name in ("logits", "relevance"):
        np.testing.assert_allclose(result.as_numpy(name), numbers(expected, name), atol=1e-5)


def test_where_both_orders_are_possible_the_channels_are_first(client: TestClient) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 3), np.uint8)
    given = {"datatype": "UINT8", "shape": [1, 3, 32, 3], "data": pixels.tolist()}
    same = files(encode(Image.fromarray(pixels[0].transpose(1, 2, 0))))
    logits, expected = (numbers(infer(client, NETWORK, one), "logits") for one in (given, same))
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_statistics_and_configuration_are_404_and_say_what_there_is(
    triton_client: triton.InferenceServerClient, client: TestClient
) -> None:
    version = client.get("/model").json()["version"]
    for arguments in ((), (NETWORK,), (NETWORK, version)):
        with pytest.raises(InferenceServerException, match="GET /metrics") as raised:
            triton_client.get_inference_statistics(*arguments)
        assert raised.value.status() == "404"
    for arguments in ((NETWORK,), (NETWORK, version)):
        with pytest.raises(InferenceServerException, match="GET /v2/models/MODEL") as raised:
            triton_client.get_model_config(*arguments)
        assert raised.value.status() == "404"


def test_triton_client_reports_errors(triton_client: triton.InferenceServerClient) -> None:
    image = triton.InferInput("image", [1, 3, 32, 32], "FP32")
    image.set_data_from_numpy(np.full((1, 3, 32, 32), 255, np.float32))
    with pytest.raises(InferenceServerException, match="from 0 to 1") as raised:
        triton_client.infer(NETWORK, [image])
    assert raised.value.status() == "422"
