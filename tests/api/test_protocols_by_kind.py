"""KServe V1 and Open Inference with models of text and of tables, beside one of pictures."""

import base64
import io
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from conftest import serving
from fake_model import FakeModel
from fake_text_model import CLASSES, MAX_TOKENS, FakeTextModel, ids_of, logits_of, relevance_of
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from table_model import BIASES, ROW, SHARES, WEIGHTS, columns_of, table_model

from app.main import create_app
from app.settings import Settings

PYTHON = Path(sys.prefix, "kserve", "bin", "python")
SCRIPT = Path(__file__).with_name("ask_with_kserve_by_kind.py")
COLUMNS = ["a", "b", "c", "kind=coarse", "kind=fine"]
ROWS: list[dict[str, float | str]] = [ROW, {"a": 1.5, "b": 3, "c": 0.25, "kind": "fine"}]
TENSOR = np.array([[2, 1, 5, 1, 0], [1.5, 3, 0.25, 0, 1]], np.float32)
TEXTS = ["Not a good film", "bad, bad film: really bad"]


def predictions() -> Any:
    """What the network predicts of the rows, (2,)."""
    return np.array([columns_of(row) for row in ROWS]) @ WEIGHTS[0] + BIASES[0]


def relevance_of_rows() -> Any:
    """What each column of the rows adds to the prediction of the mean of the training data, (2, 5)."""
    mean = np.concatenate([np.zeros(3), SHARES])
    return WEIGHTS[0] * (np.array([columns_of(row) for row in ROWS]) - mean)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(), [FakeModel(), FakeTextModel(), table_model("value", "strength")])


@pytest.fixture(scope="module")
def address(app: FastAPI) -> Iterator[str]:
    with serving(Settings(), app) as server:
        address = f"127.0.0.1:{server.port}"
        while httpx.get(f"http://{address}/readyz", timeout=60).status_code == 503:
            pass  # the warm-up runs between the requests
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        yield client


def v1(client: httpx.Client, model: str, verb: str, *instances: Any, status: int = 200, **beside: Any) -> Any:
    response = client.post(f"/v1/models/{model}:{verb}", json={"instances": instances, **beside})
    assert response.status_code == status, response.text
    return response.json()


def v2(client: httpx.Client, model: str, tensor: dict[str, Any], status: int = 200, **rest: Any) -> Any:
    response = client.post(f"/v2/models/{model}/infer", content=json.dumps({"inputs": [tensor], **rest}))
    assert response.status_code == status, response.text
    return response.json()


def outputs(answer: Any) -> dict[str, Any]:
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answer["outputs"]}


def alone(client: httpx.Client, path: str, body: Any, **query: Any) -> Any:
    response = client.post(path, json=body, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def text_tensor(*texts: str) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}


def table_tensor(rows: Any = TENSOR) -> dict[str, Any]:
    rows = np.asarray(rows, np.float32)
    return {"name": "features", "datatype": "FP32", "shape": list(rows.shape), "data": rows.tolist()}


# KServe V1


@pytest.mark.parametrize("form", [{"text": TEXTS[0]}, TEXTS[0]], ids=["object", "string"])
def test_v1_answers_about_a_text_as_the_routes_of_text(client: httpx.Client, form: Any) -> None:
    predicted = alone(client, "/predict/text", {"text": TEXTS[0]})
    explained = alone(client, "/explain/text", {"text": TEXTS[0]})
    assert v1(client, "words", "predict", form) == {"predictions": [predicted]}
    assert v1(client, "words", "explain", form) == {"predictions": [predicted], "explanations": [explained]}


@pytest.mark.parametrize("form", [{"features": ROW}, ROW], ids=["object", "bare"])
def test_v1_answers_about_a_row_as_the_routes_of_tables(client: httpx.Client, form: Any) -> None:
    predicted = alone(client, "/predict/table", {"features": ROW})
    explained = alone(client, "/explain/table", {"features": ROW})
    assert v1(client, "strength", "predict", form) == {"predictions": [predicted]}
    answer = v1(client, "strength", "explain", form)
    assert answer["explanations"] == [explained]
    assert answer["predictions"] == [{name: explained[name] for name in predicted}]
    assert predicted["prediction"]["value"] == pytest.approx(predictions()[0])


def test_v1_takes_the_options_of_the_kind(client: httpx.Client) -> None:
    options = {"unit": "token", "target": "negative", "rule": "zero", "values": True}
    (explained,) = v1(client, "words", "explain", {"text": TEXTS[0], **options})["explanations"]
    assert explained == alone(client, "/explain/text", {"text": TEXTS[0]}, **options)
    ids = ids_of(TEXTS[0])
    expected = relevance_of(ids, np.array([np.sign(logits_of(ids)[0]), 0.0]))
    np.testing.assert_allclose(explained["relevance"]["values"], expected, rtol=1e-6)

    baseline: dict[str, float | str] = {"a": 1, "b": 2, "c": 4, "kind": "fine"}
    options = {"baseline": json.dumps(baseline), "start": "logit"}
    (explained,) = v1(client, "strength", "explain", {"features": ROW, **options})["explanations"]
    assert explained == alone(client, "/explain/table", {"features": ROW}, **options)
    columns = WEIGHTS[0] * (columns_of(ROW) - columns_of(baseline))
    features = [*columns[:3], columns[3:].sum()]
    assert [one["relevance"] for one in explained["features"]] == pytest.approx(features, rel=1e-5)


def test_v1_lists_what_it_ignores(client: httpx.Client) -> None:
    for model, instance in (("words", {"text": "good"}), ("strength", {"features": ROW})):
        answer = v1(client, model, "predict", {**instance, "content_type": "x", "fit": "pad"}, rule="zero")
        assert answer["predictions"][0]["warnings"][-2:] == [
            "ignored, belongs into an instance: rule",
            "ignored, no option: content_type, fit",
        ]


def test_as_many_inputs_are_taken_as_over_http(client: httpx.Client) -> None:
    answer = v1(client, "strength", "predict", *[ROW] * 40)
    assert len(answer["predictions"]) == 40
    message = v1(client, "strength", "predict", *[ROW] * 1001, status=413)["error"]
    assert message == "instances has 1001 rows; send at most 1000 at once"
    message = v1(client, "words", "predict", *["good"] * 33, status=413)["error"]
    assert message == "instances has 33 texts; send at most 32 at once"


def test_a_text_may_have_many_commas_and_colons(client: httpx.Client) -> None:
    texts = ["good" + ",:[{" * 2000] * 32
    assert len(v1(client, "words", "predict", *texts)["predictions"]) == 32


@pytest.mark.parametrize(
    ("model", "instance", "status", "message"),
    [
        ("words", {}, 400, 'instances[1]: send a text, as {"text": "…"} or "…"'),
        ("words", {"b64": "Z29vZA=="}, 400, "instances[1]: send a text"),
        ("words", 7, 400, "instances[1]: send a text"),
        ("words", {"text": 7}, 400, "instances[1].text: must be text"),
        ("words", {"text": " "}, 422, "instances[1]: text: is empty"),
        ("words", "x" * 10_001, 413, "instances[1]: the text has over 10000 characters"),
        ("words", {"text": "a", "unit": "letter"}, 422, "instances[1]: unit: must be 'word' or 'token'"),
        ("words", {"text": "a", "unt": "word"}, 422, "instances[1]: unt: no such option; did you mean unit?"),
        ("words", {"text": "a", "unit": None}, 400, "instances[1].unit: must be text, a number"),
        ("words", {"text": "a", "format": "html"}, 422, "instances[1]: format: no such"),
        (
            "words",
            {"text": "a", "layer": "vote"},
            422,
            "instances[1]: layer: its input has no values for each",
        ),
        ("strength", "row", 400, 'instances[1]: send a row, as {"features": {"NAME": VALUE, …}}'),
        ("strength", {"features": [1]}, 400, "instances[1].features: must be an object"),
        ("strength", {**ROW, "b": "old"}, 422, "instances[1]: b: is text; a number without"),
        ("strength", {"a": 1, "c": 1, "kind": "fine"}, 422, "instances[1]: b: is missing; a number is"),
        ("strength", {**ROW, "B": 1}, 422, "instances[1]: B: no such feature"),
        (
            "strength",
            {"features": ROW, "baseline": "mode"},
            422,
            "instances[1]: baseline: must be mean, zero",
        ),
        (
            "strength",
            {"features": ROW, "baseline": '{"\\ud800": 1}'},
            422,
            "instances[1]: baseline: must be mean",
        ),
        ("strength", {"features": ROW, "targt": 1}, 422, "instances[1]: targt: no such option; did"),
    ],
)
def test_v1_says_which_instance_is_wrong(
    client: httpx.Client, model: str, instance: Any, status: int, message: str
) -> None:
    first = {"words": "good", "strength": ROW}[model]
    assert v1(client, model, "explain", first, instance, status=status)["error"].startswith(message)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"a": 1, "b": 2, "b": 3, "c": 4, "kind": "fine"}', "instances[0]: b: is given twice"),
        ('{"a": NaN, "b": 2, "c": 4, "kind": "fine"}', "instances[0]: a: is not finite"),
        ('{"features": {"a": 1e999, "b": 2, "c": 4, "kind": "fine"}}', "instances[0]: a: is not finite"),
        ('{"\\ud800": 1}', "the body is not valid JSON"),
    ],
)
def test_v1_refuses_features_that_json_makes_ambiguous(client: httpx.Client, row: str, message: str) -> None:
    response = client.post("/v1/models/strength:predict", content=f'{{"instances": [{row}]}}')
    assert response.json()["error"].startswith(message)
    assert response.status_code in (400, 422)


# Open Inference


def test_metadata_describe_texts_and_columns(client: httpx.Client) -> None:
    described = client.get("/v2/models/words-lrp").json()
    assert described["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert {one["name"]: (one["datatype"], one["shape"]) for one in described["outputs"]} == {
        "logits": ("FP32", [-1, 2]),
        "probabilities": ("FP32", [-1, 2]),
        "relevance": ("FP32", [-1, -1]),
        "tokens": ("BYTES", [-1]),
        "heatmap_png": ("BYTES", [-1]),
    }
    described = client.get("/v2/models/strength-lrp").json()
    (features,) = described["inputs"]
    parameters = {name: json.loads(value) for name, value in features.pop("parameters").items()}
    assert parameters == {"columns": COLUMNS, "units": [None] * 5}
    assert features == {"name": "features", "datatype": "FP32", "shape": [-1, 5]}
    assert {one["name"]: (one["datatype"], one["shape"]) for one in described["outputs"]} == {
        "prediction": ("FP32", [-1, 1]),
        "logits": ("FP32", [-1, 1]),
        "relevance": ("FP32", [-1, 5]),
        "heatmap_png": ("BYTES", [-1]),
    }
    of_network = client.get("/v2/models/strength").json()["outputs"]
    assert of_network == described["outputs"][:2]


def test_texts_get_scores_relevance_and_tokens(client: httpx.Client) -> None:
    answer = outputs(v2(client, "words-lrp", text_tensor(*TEXTS), parameters={"target": "positive"}))
    assert answer["relevance"].shape == (2, 5)
    for row, text in enumerate(TEXTS):
        ids = ids_of(text)
        logits = logits_of(ids)
        np.testing.assert_allclose(answer["logits"][row], logits, rtol=1e-6)
        np.testing.assert_allclose(
            answer["probabilities"][row], np.exp(logits) / np.exp(logits).sum(), rtol=1e-6
        )
        relevance = np.zeros(5)
        relevance[: len(ids)] = relevance_of(ids, np.array([0.0, np.sign(logits[1])]))
        np.testing.assert_allclose(answer["relevance"][row], relevance, rtol=1e-6)
        tokens = json.loads(answer["tokens"][row])
        assert [token["text"] for token in tokens] == text.split()
        assert [text[token["start"] : token["end"]] for token in tokens] == text.split()
        assert [token["known"] for token in tokens] == [number > 0 for number in ids]
        with Image.open(io.BytesIO(base64.b64decode(answer["heatmap_png"][row]))) as drawn:
            assert drawn.format == "PNG"


def test_rows_get_predictions_and_the_relevance_of_columns(client: httpx.Client) -> None:
    answer = outputs(v2(client, "strength-lrp", table_tensor()))
    np.testing.assert_allclose(answer["prediction"], predictions()[:, None], rtol=1e-6)
    np.testing.assert_allclose(answer["logits"], answer["prediction"])
    np.testing.assert_allclose(answer["relevance"], relevance_of_rows(), rtol=1e-4, atol=1e-4)
    assert base64.b64decode(answer["heatmap_png"][0]).startswith(b"\x89PNG")
    predicted = outputs(v2(client, "strength", table_tensor(), outputs=[{"name": "prediction"}]))
    np.testing.assert_allclose(predicted["prediction"], answer["prediction"], rtol=1e-6)


def test_a_network_lists_options_of_explanations_as_ignored(client: httpx.Client) -> None:
    answer = v2(client, "strength", table_tensor(), parameters={"baseline": "zero", "priority": 1})
    assert answer["parameters"] == {"ignored": "baseline, priority"}


def test_binary_texts_are_utf_8_and_long_ones_are_cut(client: httpx.Client) -> None:
    text = ("né " + "good " * MAX_TOKENS).encode()
    binary = struct.pack("<I", len(text)) + text
    parameters = {"binary_data_size": len(binary)}
    head = json.dumps(
        {
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1, 1], "parameters": parameters}],
            "outputs": [{"name": "tokens", "parameters": {"binary_data": True}}, {"name": "relevance"}],
        }
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post("/v2/models/words-lrp/infer", content=head + binary, headers=headers)
    assert response.status_code == 200, response.text
    length = int(response.headers["Inference-Header-Content-Length"])
    tokens = json.loads(response.content[length + 4 :])
    assert [token["text"] for token in tokens] == ["né", *["good"] * (MAX_TOKENS - 1)]
    (_, relevance) = json.loads(response.content[:length])["outputs"]
    assert relevance["shape"] == [1, MAX_TOKENS]


@pytest.mark.parametrize(
    ("model", "tensor", "status", "message"),
    [
        ("words", {"name": "image"}, 400, "inputs[0].name: must be 'text'"),
        ("words", {"datatype": "FP32"}, 400, "inputs[0].datatype: must be 'BYTES'"),
        ("words", {"shape": [1, 2]}, 400, "text: BYTES of shape [1, 2]; [N] is expected"),
        ("words", {"shape": [2]}, 400, "text: 1 elements for the shape [2]"),
        ("words", {"data": [7]}, 400, "text: BYTES are given as a flat list of strings"),
        ("words", {"data": []}, 400, "text: 0 elements"),
        ("words", {"shape": [0], "data": []}, 400, "text is empty; send at least one text"),
        ("words", {"shape": [33], "data": ["a"] * 33}, 413, "text has 33 texts; send at most 32 at once"),
        ("words", {"data": ["\n"]}, 422, "text[0]: text: is empty"),
        ("strength", {"name": "text"}, 400, "inputs[0].name: must be 'features'"),
        ("strength", {"datatype": "INT64"}, 400, "inputs[0].datatype: must be 'FP32'"),
        ("strength", {"shape": [2, 3]}, 400, "features: FP32 of shape [2, 3]; [N, 5] is expected"),
        ("strength", {"shape": [8]}, 400, "features: FP32 of shape [8]; [N, 5] is expected"),
        (
            "strength",
            {"data": [1, 2, 3]},
            400,
            "features: the data are not FP32 numbers for the shape [2, 5]",
        ),
        (
            "strength",
            {"data": [[2, 1, 5, 1, 0], [2, float("nan"), 5, 1, 0]]},
            422,
            "features[1]: b: is not finite",
        ),
        (
            "strength",
            {"data": [[2, 1, 5, 1, 0], [2, 1, 5, 1, 1]]},
            422,
            "features[1]: kind: one of its 2 columns",
        ),
        ("strength", {"data": None}, 400, "features: send either data, or binary_data_size"),
        ("strength", {"shape": [0, 5], "data": []}, 400, "features is empty; send at least one row"),
    ],
)
def test_open_inference_says_what_is_wrong_with_a_tensor(
    client: httpx.Client, model: str, tensor: dict[str, Any], status: int, message: str
) -> None:
    given = text_tensor("good") if model == "words" else table_tensor()
    assert v2(client, f"{model}-lrp", {**given, **tensor}, status)["error"].startswith(message)


# Official clients


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_sends_texts_and_rows(address: str, binary: bool) -> None:
    client = triton.InferenceServerClient(address, network_timeout=60)
    texts = triton.InferInput("text", [2], "BYTES")
    texts.set_data_from_numpy(np.array(TEXTS, object), binary_data=binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("tokens", "relevance")]
    result = client.infer("words-lrp", [texts], outputs=wanted)
    rows = triton.InferInput("features", [2, 5], "FP32")
    rows.set_data_from_numpy(TENSOR, binary_data=binary)
    predicted = client.infer("strength", [rows])
    client.close()
    assert [token["text"] for token in json.loads(result.as_numpy("tokens")[0])] == TEXTS[0].split()
    ids = ids_of(TEXTS[1])
    expected = relevance_of(ids, np.where(np.arange(2) == logits_of(ids).argmax(), 1.0, 0.0))
    np.testing.assert_allclose(result.as_numpy("relevance")[1], expected, rtol=1e-6)
    np.testing.assert_allclose(predicted.as_numpy("prediction")[:, 0], predictions(), rtol=1e-6)


def test_kserves_sdk_sends_texts_and_rows(address: str, client: httpx.Client) -> None:
    if not PYTHON.exists():
        pytest.skip("KServe's SDK is not installed; `make test` does it")
    sent = json.dumps({"texts": TEXTS, "rows": TENSOR.tolist()}).encode()
    asked = subprocess.run(
        [PYTHON, SCRIPT, f"http://{address}"], input=sent, capture_output=True, timeout=300, check=False
    )
    assert asked.returncode == 0, asked.stderr.decode()
    answers = json.loads(asked.stdout)
    explained = answers["explained"]["explanations"]
    assert explained == [alone(client, "/explain/text", {"text": text}, rule="zero") for text in TEXTS]
    for binary in (False, True):
        logits = [logits_of(ids_of(text)) for text in TEXTS]
        np.testing.assert_allclose(answers[f"words {binary}"], logits, rtol=1e-6)
        np.testing.assert_allclose(answers[f"strength {binary}"], predictions()[:, None], rtol=1e-6)


# What the service says


def test_openapi_describes_the_bodies_of_the_kinds_that_are_served(app: FastAPI) -> None:
    schema = app.openapi()
    assert [error.message for error in OpenAPIV31SpecValidator(schema).iter_errors()] == []

    def bodies(schema: dict[str, Any], path: str) -> list[str]:
        body = schema["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        names = [one["$ref"].rpartition("/")[2] for one in body.get("anyOf", [body])]
        assert set(names) <= set(schema["components"]["schemas"])
        return names

    v1_path, v2_path = "/v1/models/{model}:explain", "/v2/models/{model}/infer"
    assert bodies(schema, v1_path) == ["Instances", "TextInstances", "RowInstances"]
    assert bodies(schema, v2_path) == ["InferenceRequest", "TextInferenceRequest", "RowsInferenceRequest"]
    of_text = create_app(Settings(), FakeTextModel()).openapi()
    assert [error.message for error in OpenAPIV31SpecValidator(of_text).iter_errors()] == []
    assert bodies(of_text, v1_path) == ["TextInstances"]
    assert "Instances" not in of_text["components"]["schemas"]
    predictions = of_text["components"]["schemas"]["Predictions"]["properties"]["predictions"]
    assert predictions["items"] == {"$ref": "#/components/schemas/PredictTextAnswer"}
    assert CLASSES[0] in json.dumps(of_text)
