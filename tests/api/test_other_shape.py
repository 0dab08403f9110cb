"""The service with a model of another shape: 48 high, 64 wide, one channel, four classes."""

import base64
import io
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from conftest import encode
from fake_model import CARD, CLASSES, MEAN, STD, FakeModel, logits_of, relevance_of
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings

PNG = {"Content-Type": "image/png"}
RED, NEUTRAL = (103, 0, 31), (247, 247, 247)
V1, V2 = "/v1/models/quadrants", "/v2/models/quadrants"


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(), FakeModel())


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        ready = (client.get("/readyz").status_code == 200 for _ in range(10_000))
        assert any(ready), "the warm-up failed"
        yield client


@pytest.fixture(scope="module")
def grey(cat: Image.Image) -> np.ndarray:
    """What the model sees of the cat, (48, 64): the largest centred rectangle of 4:3."""
    crop = cat.crop((25, 0, 425, 300)).resize((64, 48), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(crop.convert("L"))


@pytest.fixture(scope="module")
def white() -> bytes:
    """Every pixel of its quadrant is as relevant as the others."""
    return encode(Image.new("RGB", (640, 480), "white"))


def normalised(grey: np.ndarray) -> np.ndarray:
    """(48, 64) -> (1, 48, 64)."""
    return ((grey / 255 - MEAN) / STD)[None]


def post(client: TestClient, path: str, content: bytes, **query: Any) -> Any:
    response = client.post(path, params=query, content=content, headers=PNG)
    assert response.status_code == 200, response.text
    return response.json()


def image(png: bytes | str) -> np.ndarray:
    content = base64.b64decode(png) if isinstance(png, str) else png
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)


def logits(answer: Mapping[str, Any]) -> list[float]:
    return [score["logit"] for score in sorted(answer["scores"], key=lambda score: score["index"])]


# Pictures


@pytest.mark.parametrize(
    ("fit", "size", "crop"),
    [
        ("crop", (451, 300), (25, 0, 400, 300)),
        ("crop", (300, 451), (0, 113, 300, 225)),
        ("pad", (451, 300), (0, -19, 451, 338)),
        ("pad", (300, 451), (-151, 0, 601, 451)),
        ("stretch", (451, 300), (0, 0, 451, 300)),
    ],
)
def test_the_crop_has_the_shape_of_the_model(
    client: TestClient, cat: Image.Image, fit: str, size: tuple[int, int], crop: tuple[int, ...]
) -> None:
    answer = post(client, "/predict", encode(cat.resize(size)), fit=fit)
    assert tuple(answer["input"]["crop"].values()) == crop


def test_scores_are_those_of_the_grey_picture(client: TestClient, cat_png: bytes, grey: np.ndarray) -> None:
    answer = post(client, "/predict", cat_png)
    assert logits(answer) == pytest.approx(logits_of(normalised(grey)).tolist(), rel=1e-5)
    assert answer["model"] == {"name": "quadrants", "version": "0123456789ab"}
    assert {score["label"] for score in answer["scores"]} == set(CLASSES)


def test_padding_is_of_the_mean_and_without_relevance(client: TestClient) -> None:
    answer = post(client, "/explain", encode(Image.new("L", (64, 24), 255)), fit="pad", values="true")
    pixels = np.array(answer["input"]["pixels"])
    assert (pixels[:10] == round(255 * MEAN)).all()
    assert (pixels[14:34] == 255).all()
    assert (pixels[38:] == round(255 * MEAN)).all()
    relevance = np.array(answer["relevance"]["values"])
    assert np.abs(relevance[:, :10]).max() < 1e-9 < relevance[:, 14:34].max()


def test_a_much_larger_picture_is_warned_of_in_the_models_terms(client: TestClient) -> None:
    answer = post(client, "/predict", encode(Image.new("RGB", (1000, 500), "white")))
    assert answer["warnings"][0].startswith("The model sees 64×48 pixels of the upload's 667×500")


# Explanations


def test_an_explanation_has_the_relevance_of_each_pixel(
    client: TestClient, cat_png: bytes, grey: np.ndarray
) -> None:
    answer = post(client, "/explain", cat_png, target="top-right", values="true", verify="true")
    expected = relevance_of(normalised(grey), np.array([0.0, 1.0, 0.0, 0.0]))
    assert np.array(answer["input"]["pixels"]).tolist() == grey[..., None].tolist()
    np.testing.assert_allclose(answer["relevance"]["values"], expected, rtol=1e-4, atol=1e-7)
    assert answer["relevance"]["sum"] == pytest.approx(1)
    assert answer["relevance"]["verify"]["difference"] == 0
    assert [layer["name"] for layer in answer["relevance"]["layers"]] == [
        "encoder.scan",
        "encoder.pool",
        "vote",
    ]
    assert (answer["heatmap"]["width"], answer["heatmap"]["height"]) == (256, 192)


def test_npy_has_the_shape_of_the_input(client: TestClient, cat_png: bytes, grey: np.ndarray) -> None:
    response = client.post("/explain?target=1&format=npy", content=cat_png, headers=PNG)
    relevance = np.load(io.BytesIO(response.content))
    assert (relevance.shape, str(relevance.dtype)) == ((1, 48, 64), "float32")
    expected = relevance_of(normalised(grey), np.array([0.0, 1.0, 0.0, 0.0]))
    np.testing.assert_allclose(relevance, expected, rtol=1e-4, atol=1e-7)


def test_a_map_of_the_models_size_has_a_pixel_for_each_of_the_models(
    client: TestClient, white: bytes
) -> None:
    response = client.post("/explain?target=top-left&size=model&format=png", content=white, headers=PNG)
    pixels = image(response.content)
    assert pixels.shape == (48, 64, 3)
    assert (pixels[:24, :32] == RED).all()
    assert (pixels[24:] == NEUTRAL).all()
    assert (pixels[:, 32:] == NEUTRAL).all()


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ({"size": "model"}, (64, 48)),
        ({"size": "100"}, (100, 75)),
        ({"size": "input"}, (451, 300)),
        ({"size": "model", "view": "overlay"}, (64, 43)),  # the whole upload is 451×300
        ({"size": "100", "view": "overlay"}, (100, 67)),
        ({"size": "input", "view": "overlay"}, (451, 300)),
        ({"size": "model", "layer": "vote"}, (2, 2)),
    ],
)
def test_the_size_is_that_of_the_longest_side(
    client: TestClient, cat_png: bytes, query: dict[str, str], size: tuple[int, int]
) -> None:
    heatmap = post(client, "/explain", cat_png, **query)["heatmap"]
    assert (heatmap["width"], heatmap["height"]) == size
    assert image(heatmap["data"]).shape == (size[1], size[0], 3)


def test_an_overlay_lies_where_the_model_looked(client: TestClient, cat_png: bytes) -> None:
    def drawn(target: str) -> np.ndarray:
        query = {"view": "overlay", "size": "input", "target": target}
        return image(post(client, "/explain", cat_png, **query)["heatmap"]["data"])

    changed = (drawn("top-left") != drawn("bottom-right")).any(axis=2)
    assert changed[:150, 25:225].mean() > 0.9
    assert changed[150:, 225:425].mean() > 0.9
    assert not changed[:, :25].any()
    assert not changed[:, 425:].any()
    assert not changed[:149, 227:].any()


def test_the_map_beside_the_picture_has_the_models_shape(client: TestClient, white: bytes) -> None:
    query = {"view": "side_by_side", "size": "256", "target": "top-left"}
    pixels = image(post(client, "/explain", white, **query)["heatmap"]["data"])
    red = (pixels == RED).all(axis=2)
    quadrant = red[:, red.sum(axis=0) == 96]  # the colour bar is red in a few rows only
    assert quadrant.shape[1] == 128


def test_a_contact_sheet_has_tiles_of_the_models_shape(
    client: TestClient, cat_png: bytes, grey: np.ndarray
) -> None:
    query: dict[str, Any] = {"rule": ["gamma", "zero"], "target": "all", "size": "model", "values": "true"}
    answer = post(client, "/compare", cat_png, **query)
    assert [one["target"]["label"] for one in answer["explanations"]] == [*CLASSES, *CLASSES]
    for index, one in enumerate(answer["explanations"]):
        assert (one["heatmap"]["width"], one["heatmap"]["height"]) == (64, 48)
        output_relevance = np.zeros(4)
        output_relevance[index % 4] = logits(answer)[index % 4]  # /compare starts with the logit
        expected = relevance_of(normalised(grey), output_relevance)
        np.testing.assert_allclose(one["relevance"]["values"], expected, rtol=1e-4, atol=1e-6)
    sheet = image(answer["sheet"]["data"])
    assert (sheet[16:64, 16:80] == grey[..., None]).all()  # what the model saw, in grey
    tiles = [image(one["heatmap"]["data"]) for one in answer["explanations"]]
    for bottom, row in ((-80, tiles[:4]), (-16, tiles[4:])):  # 48 high, 16 apart
        strip = sheet[bottom - 48 : bottom]
        lefts = [next(x for x in range(900) if (strip[:, x : x + 64] == tile).all()) for tile in row]
        assert np.diff(lefts).tolist() == [80, 80, 80]  # 64 wide, 16 apart


def test_a_contrast_sums_to_nothing(client: TestClient, white: bytes) -> None:
    query = {"target": "top-left", "versus": "3", "start": "one", "values": "true"}
    answer = post(client, "/explain", white, **query)
    values = np.array(answer["relevance"]["values"])[0]
    assert values[:24, :32].sum() == pytest.approx(1)
    assert values[24:, 32:].sum() == pytest.approx(-1)
    assert answer["relevance"]["leak"] is None


def test_a_batch_is_answered(client: TestClient, cat_png: bytes, white: bytes) -> None:
    files = [("file", ("cat.png", cat_png)), ("file", ("white.png", white)), ("file", ("x.png", b"noise"))]
    response = client.post("/explain/batch", params={"size": "model"}, files=files)
    results = response.json()["results"]
    assert [(one["explanation"] or {}).get("heatmap", {}).get("height") for one in results] == [48, 48, None]
    assert results[2]["problem"]["status"] == 422


# Protocols


def test_kserve_v1_predicts_and_explains(client: TestClient, cat_png: bytes) -> None:
    assert client.get("/v1/models").json() == {"models": ["quadrants"]}
    assert client.get(V1).json() == {"name": "quadrants", "ready": True}
    instances = {"instances": [{"b64": base64.b64encode(cat_png).decode(), "target": "bottom-left"}]}
    predicted = client.post(f"{V1}:predict", json=instances).json()["predictions"]
    assert predicted == [post(client, "/predict", cat_png)]
    explained = client.post(f"{V1}:explain", json=instances).json()["explanations"]
    assert explained == [post(client, "/explain", cat_png, target="bottom-left")]


def test_open_inference_tells_the_shapes(client: TestClient) -> None:
    described = client.get(f"{V2}-lrp").json()
    assert [tensor["shape"] for tensor in described["inputs"]] == [[-1, 1, 48, 64]]
    assert {tensor["name"]: tensor["shape"] for tensor in described["outputs"]} == {
        "logits": [-1, 4],
        "probabilities": [-1, 4],
        "relevance": [-1, 1, 48, 64],
        "heatmap_png": [-1],
    }


def infer(client: TestClient, tensor: dict[str, Any], **parameters: str) -> dict[str, Any]:
    body = {"inputs": [{"name": "image", **tensor}], "parameters": parameters}
    response = client.post(f"{V2}-lrp/infer", json=body)
    assert response.status_code == 200, response.text
    outputs = response.json()["outputs"]
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}


def test_open_inference_takes_pixels(client: TestClient) -> None:
    pixels = np.random.default_rng(0).random((2, 1, 48, 64), np.float32)
    tensor = {"datatype": "FP32", "shape": [2, 1, 48, 64], "data": pixels.ravel().tolist()}
    answer = infer(client, tensor, target="top-left", size="model")
    for number, one in enumerate((pixels - MEAN) / STD):
        np.testing.assert_allclose(answer["logits"][number], logits_of(one), rtol=1e-5, atol=1e-6)
        expected = relevance_of(one, np.array([1.0, 0, 0, 0]))
        np.testing.assert_allclose(answer["relevance"][number], expected, rtol=1e-4, atol=1e-7)
        assert image(answer["heatmap_png"][number]).shape == (48, 64, 3)


def test_open_inference_takes_files(client: TestClient, cat_png: bytes, grey: np.ndarray) -> None:
    data = [base64.b64encode(cat_png).decode()]
    answer = infer(client, {"datatype": "BYTES", "shape": [1], "data": data})
    np.testing.assert_allclose(answer["logits"][0], logits_of(normalised(grey)), rtol=1e-5)
    assert answer["relevance"].shape == (1, 1, 48, 64)


def test_open_inference_takes_binary_tensors(client: TestClient, white: bytes) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    binary = struct.pack("<I", len(white)) + white
    head = json.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": len(binary)}}],
            "outputs": [{"name": "relevance"}],
            "parameters": {"binary_data_output": True, "target": "top-left"},
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post(f"{V2}-lrp/infer", content=head + binary, headers=headers)
    length = int(response.headers["Inference-Header-Content-Length"])
    relevance = np.frombuffer(response.content[length:], "<f4").reshape(48, 64)
    np.testing.assert_allclose(relevance[:24, :32], 1 / (24 * 32), rtol=1e-6)
    assert not relevance[24:].any()


def test_open_inference_refuses_another_shape_and_says_its_own(client: TestClient) -> None:
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0.0]}
    response = client.post(f"{V2}/infer", json={"inputs": [tensor]})
    assert response.status_code == 400
    assert "[N, 1, 48, 64] is expected" in response.json()["error"]


# What the service says about the model


def test_model_is_described_as_its_card_says(client: TestClient) -> None:
    about = client.get("/model").json()
    assert about["input_size"] == [1, 48, 64]
    assert about["classes"] == list(CLASSES)
    assert about["normalisation"] == {"mean": [MEAN], "std": [STD]}
    assert [layer["name"] for layer in about["layers"]] == ["encoder.scan", "encoder.pool", "vote"]


def test_a_body_that_is_too_large_is_told_what_the_model_sees(client: TestClient) -> None:
    headers = {**PNG, "Content-Length": "9999999"}
    response = client.post("/explain", content=b"x", headers=headers)
    assert response.status_code == 413
    assert "64×48" in response.json()["detail"]


def parameters(schema: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in schema["paths"][path]["post"]["parameters"]}


def test_openapi_names_nothing_of_another_model(app: FastAPI) -> None:
    text = json.dumps(app.openapi(), ensure_ascii=False)
    for foreign in ("{{", "32×32", "3, 32, 32", "minivgg", "MiniVGG", "CIFAR", "airplane", "features."):
        assert foreign not in text


def test_examples_of_parameters_are_of_the_model_and_are_accepted(
    app: FastAPI, client: TestClient, cat_png: bytes
) -> None:
    schema = app.openapi()
    found = parameters(schema, "/explain")
    assert "`model` (64×48)" in found["size"]["description"]
    assert "the model's 64×48" in found["fit"]["description"]
    examples = {name: found[name]["schema"]["examples"][0] for name in found}
    assert examples["target"] == "top-right"
    assert examples["versus"] == "bottom-left"
    assert examples["layer"] == "encoder.scan"
    assert examples["layers"] == ["encoder.scan:w_square"]
    for name in ("versus", "layer", "layers", "size", "fit", "top_k"):
        post(client, "/explain", cat_png, **{"target": examples["target"], name: examples[name]})
    post(client, "/explain", cat_png, layers="encoder.*:gamma(gamma=0.5)")
    compared = parameters(schema, "/compare")
    assert compared["target"]["schema"]["examples"] == [["top-right", "bottom-left"]]


def test_examples_of_schemas_are_of_the_model(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]

    def example(schema: str, field: str) -> Any:
        return schemas[schema]["properties"][field]["examples"][0]

    assert example("ModelReference", "name") == example("ModelMetadata", "name") == "quadrants"
    assert example("ModelReference", "version") == CARD.version
    assert (example("Score", "index"), example("Score", "label")) == (1, "top-right")
    assert example("TensorMetadata", "shape") == [-1, 1, 48, 64]
    assert example("Models", "models") == ["quadrants"]
    assert example("LayerRule", "name") == example("Layer", "name") == "encoder.scan"
    assert example("Layer", "description") == "Conv2d(1, 1, kernel_size=(1, 1))"
    assert schemas["RequestInput"]["properties"]["shape"]["description"].startswith("[N, 1, 48, 64] of FP32")


@pytest.mark.parametrize(
    ("method", "path", "documented", "status"),
    [
        ("POST", "/explain?target=tiger", "/explain", 422),
        ("POST", "/explain", "/explain", 413),
        ("GET", "/v1/models/vgg16", "/v1/models/{model}", 404),
    ],
)
def test_examples_of_errors_are_what_this_service_says(
    app: FastAPI, client: TestClient, cat_png: bytes, method: str, path: str, documented: str, status: int
) -> None:
    headers = {**PNG, **({"Content-Length": "9999999"} if status == 413 else {})}
    response = client.request(method, path, content=cat_png if method == "POST" else None, headers=headers)
    assert response.status_code == status
    answers = app.openapi()["paths"][documented][method.lower()]["responses"][str(status)]["content"]
    example = next(iter(answers.values()))["example"]
    assert response.json() | {"instance": ""} == example | {"instance": ""}


def test_recorded_answers_of_another_model_are_left_out(app: FastAPI) -> None:
    paths = app.openapi()["paths"]

    def content(path: str, method: str) -> dict[str, Any]:
        answer: dict[str, Any] = paths[path][method]["responses"]["200"]["content"]["application/json"]
        return answer

    assert "example" not in content("/explain", "post")
    assert "example" not in content("/model", "get")
    assert "example" in content("/rules", "get")
