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
import torch
import tritonclient.http as triton
from conftest import serving
from fake_model import FakeModel
from fake_text_model import CLASSES, MAX_TOKENS, FakeTextModel, ids_of, logits_of, relevance_of
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from torch import nn
from tracing import traced

from app.main import create_app
from app.models.local import LocalModel
from app.models.table_card import TableCard
from app.settings import Settings

PYTHON = Path(sys.prefix, "kserve", "bin", "python")
SCRIPT = Path(__file__).with_name("ask_with_kserve_by_kind.py")
MEANS, DEVIATIONS = np.array([300.0, 28.0]), np.array([100.0, 16.0])
SHARES = np.array([0.25, 0.75])
WEIGHTS, BIAS = np.array([8.0, 4.0, -2.0, 1.0]), 35.0
TABLE = TableCard.model_validate(
    {
        "kind": "table",
        "name": "strength",
        "architecture": "linear",
        "output": "value",
        "classes": ["strength"],
        "unit": "MPa",
        "table": {
            "features": [
                {"name": "Cement", "unit": "kg/m³", "mean": 300, "std": 100, "min": 100, "max": 550},
                {"name": "Age", "unit": "d", "mean": 28, "std": 16, "min": 1, "max": 365},
                {"name": "Sand", "categories": ["coarse", "fine"], "shares": SHARES.tolist()},
            ]
        },
        "files": {"weights.safetensors": "0" * 64},
    }
)
COLUMNS = ["Cement", "Age", "Sand=coarse", "Sand=fine"]
ROWS = [{"Cement": 500, "Age": 28, "Sand": "fine"}, {"Cement": 250.5, "Age": 7, "Sand": "coarse"}]
TENSOR = np.array([[500, 28, 0, 1], [250.5, 7, 1, 0]], np.float32)
TEXTS = ["Not a good film", "bad, bad film: really bad"]


def standardised(rows: Any) -> Any:
    """Columns as the network takes them, (N, 4)."""
    return np.concatenate([(rows[:, :2] - MEANS) / DEVIATIONS, rows[:, 2:]], axis=1)


def predictions_of(rows: Any) -> Any:
    """(N, 4) in the units of the features -> (N,)."""
    return standardised(rows) @ WEIGHTS + BIAS


def relevance_of_rows(rows: Any) -> Any:
    """What each column adds to the prediction of the mean of the training data, (N, 4)."""
    return WEIGHTS * (standardised(rows) - np.concatenate([[0.0, 0.0], SHARES]))


@pytest.fixture(scope="module")
def app() -> FastAPI:
    network = nn.Linear(4, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor(WEIGHTS)[None])
        network.bias.fill_(BIAS)
    table = LocalModel(traced(network.eval(), 4), TABLE, torch.device("cpu"))
    return create_app(Settings(), [FakeModel(), FakeTextModel(), table])


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


@pytest.mark.parametrize("form", [{"features": ROWS[0]}, ROWS[0]], ids=["object", "bare"])
def test_v1_answers_about_a_row_as_the_routes_of_tables(client: httpx.Client, form: Any) -> None:
    predicted = alone(client, "/predict/table", {"features": ROWS[0]})
    explained = alone(client, "/explain/table", {"features": ROWS[0]})
    assert v1(client, "strength", "predict", form) == {"predictions": [predicted]}
    answer = v1(client, "strength", "explain", form)
    assert answer["explanations"] == [explained]
    assert answer["predictions"] == [{name: explained[name] for name in predicted}]
    assert predicted["prediction"]["value"] == pytest.approx(predictions_of(TENSOR)[0])


def test_v1_takes_the_options_of_the_kind(client: httpx.Client) -> None:
    options = {"unit": "token", "target": "negative", "rule": "zero", "values": True}
    (explained,) = v1(client, "words", "explain", {"text": TEXTS[0], **options})["explanations"]
    assert explained == alone(client, "/explain/text", {"text": TEXTS[0]}, **options)
    ids = ids_of(TEXTS[0])
    expected = relevance_of(ids, np.array([np.sign(logits_of(ids)[0]), 0.0]))
    np.testing.assert_allclose(explained["relevance"]["values"], expected, rtol=1e-6)

    row = {"Cement": 200, "Age": 14, "Sand": "coarse"}
    options = {"baseline": json.dumps(row), "start": "logit"}
    (explained,) = v1(client, "strength", "explain", {"features": ROWS[0], **options})["explanations"]
    assert explained == alone(client, "/explain/table", {"features": ROWS[0]}, **options)
    relevance = {feature["name"]: feature["relevance"] for feature in explained["features"]}
    assert relevance == pytest.approx({"Cement": 24, "Age": 3.5, "Sand": 3}, rel=1e-5)


def test_v1_lists_what_it_ignores(client: httpx.Client) -> None:
    for model, instance in (("words", {"text": "good"}), ("strength", {"features": ROWS[0]})):
        answer = v1(client, model, "predict", {**instance, "content_type": "x", "fit": "pad"}, rule="zero")
        assert answer["predictions"][0]["warnings"][-2:] == [
            "ignored, belongs into an instance: rule",
            "ignored, no option: content_type, fit",
        ]


def test_as_many_inputs_are_taken_as_over_http(client: httpx.Client) -> None:
    answer = v1(client, "strength", "predict", *[ROWS[0]] * 40)
    assert len(answer["predictions"]) == 40
    message = v1(client, "strength", "predict", *[ROWS[0]] * 1001, status=413)["error"]
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
        ("strength", {**ROWS[0], "Age": "old"}, 422, "instances[1]: Age: is text; a number in d without"),
        ("strength", {"Cement": 1, "Sand": "fine"}, 422, "instances[1]: Age: is missing; a number in d is"),
        ("strength", {**ROWS[0], "age": 1}, 422, "instances[1]: age: no such feature"),
        (
            "strength",
            {"features": ROWS[0], "baseline": "mode"},
            422,
            "instances[1]: baseline: must be mean, zero",
        ),
        (
            "strength",
            {"features": ROWS[0], "baseline": '{"\\ud800": 1}'},
            422,
            "instances[1]: baseline: must be mean",
        ),
        ("strength", {"features": ROWS[0], "targt": 1}, 422, "instances[1]: targt: no such option; did"),
    ],
)
def test_v1_says_which_instance_is_wrong(
    client: httpx.Client, model: str, instance: Any, status: int, message: str
) -> None:
    first = {"words": "good", "strength": ROWS[0]}[model]
    assert v1(client, model, "explain", first, instance, status=status)["error"].startswith(message)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"Cement": 1, "Age": 2, "Age": 3, "Sand": "fine"}', "instances[0]: Age: is given twice"),
        ('{"Cement": NaN, "Age": 2, "Sand": "fine"}', "instances[0]: Cement: is not finite"),
        ('{"features": {"Cement": 1e999, "Age": 2, "Sand": "fine"}}', "instances[0]: Cement: is not finite"),
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
    assert parameters == {"columns": COLUMNS, "units": ["kg/m³", "d", None, None]}
    assert features == {"name": "features", "datatype": "FP32", "shape": [-1, 4]}
    assert {one["name"]: (one["datatype"], one["shape"]) for one in described["outputs"]} == {
        "prediction": ("FP32", [-1, 1]),
        "logits": ("FP32", [-1, 1]),
        "relevance": ("FP32", [-1, 4]),
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
    np.testing.assert_allclose(answer["prediction"], predictions_of(TENSOR)[:, None], rtol=1e-6)
    np.testing.assert_allclose(answer["logits"], answer["prediction"])
    np.testing.assert_allclose(answer["relevance"], relevance_of_rows(TENSOR), rtol=1e-4, atol=1e-4)
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
        ("strength", {"shape": [2, 3]}, 400, "features: FP32 of shape [2, 3]; [N, 4] is expected"),
        ("strength", {"shape": [8]}, 400, "features: FP32 of shape [8]; [N, 4] is expected"),
        (
            "strength",
            {"data": [1, 2, 3]},
            400,
            "features: the data are not FP32 numbers for the shape [2, 4]",
        ),
        (
            "strength",
            {"data": [[500, 28, 0, 1], [500, float("nan"), 0, 1]]},
            422,
            "features[1]: Age: is not fin",
        ),
        (
            "strength",
            {"data": [[500, 28, 0, 1], [500, 28, 1, 1]]},
            422,
            "features[1]: Sand: one of its 2 columns",
        ),
        ("strength", {"data": None}, 400, "features: send either data, or binary_data_size"),
        ("strength", {"shape": [0, 4], "data": []}, 400, "features is empty; send at least one row"),
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
    rows = triton.InferInput("features", [2, 4], "FP32")
    rows.set_data_from_numpy(TENSOR, binary_data=binary)
    predicted = client.infer("strength", [rows])
    client.close()
    assert [token["text"] for token in json.loads(result.as_numpy("tokens")[0])] == TEXTS[0].split()
    ids = ids_of(TEXTS[1])
    expected = relevance_of(ids, np.where(np.arange(2) == logits_of(ids).argmax(), 1.0, 0.0))
    np.testing.assert_allclose(result.as_numpy("relevance")[1], expected, rtol=1e-6)
    np.testing.assert_allclose(predicted.as_numpy("prediction")[:, 0], predictions_of(TENSOR), rtol=1e-6)


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
        np.testing.assert_allclose(answers[f"strength {binary}"], predictions_of(TENSOR)[:, None], rtol=1e-6)


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
