"""Requests to ``/predict`` and ``/explain``."""

import base64
import io
import json
import re
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import encode
from PIL import Image
from starlette.testclient import TestClient

from app.modalities.image.decoding import FORMATS

PNG = {"Content-Type": "image/png"}


def explain(
    client: TestClient, picture: bytes, accept: str = "application/json", **query: Any
) -> httpx.Response:
    response: httpx.Response = client.post(
        "/explain", params=query, content=picture, headers={**PNG, "Accept": accept}
    )
    return response


def test_predict_gives_scores_of_all_classes_by_descending_probability(
    client: TestClient, cat_png: bytes
) -> None:
    answer = client.post("/predict", content=cat_png, headers=PNG).json()
    probabilities = [score["probability"] for score in answer["scores"]]
    assert len(probabilities) == 10
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert answer["prediction"] == answer["scores"][0]
    assert answer["input"] == {
        "format": "PNG",
        "width": 451,
        "height": 300,
        "crop": {"left": 75, "top": 0, "width": 300, "height": 300},
    }


def test_predict_gives_the_top_k_classes(client: TestClient, cat_png: bytes) -> None:
    answer = client.post("/predict?top_k=3", content=cat_png, headers=PNG).json()
    assert len(answer["scores"]) == 3


def test_raw_and_multipart_uploads_give_the_same_answer(client: TestClient, cat_jpeg: bytes) -> None:
    raw = client.post("/predict", content=cat_jpeg, headers={"Content-Type": "application/octet-stream"})
    form = client.post("/predict", files={"file": ("any name.txt", cat_jpeg, "text/plain")})
    assert raw.status_code == form.status_code == 200
    assert raw.json() == form.json()
    assert raw.json()["input"]["format"] == "JPEG"


def test_explain_includes_the_answer_of_predict(client: TestClient, cat_png: bytes) -> None:
    predicted = client.post("/predict", content=cat_png, headers=PNG).json()
    explained = explain(client, cat_png).json()
    assert explained.items() >= {k: predicted[k] for k in ("model", "input")}.items()
    assert [s["label"] for s in explained["scores"]] == [s["label"] for s in predicted["scores"]]
    assert explained["target"]["label"] == predicted["prediction"]["label"]


def test_values_add_the_pixels_of_the_models_input(client: TestClient, cat: Image.Image) -> None:
    small = cat.crop((0, 0, 32, 32))
    assert explain(client, encode(small), values=True).json()["input"]["pixels"] == np.asarray(small).tolist()
    assert "pixels" not in explain(client, encode(small)).json()["input"]


def test_explain_gives_the_rule_of_every_layer(client: TestClient, cat_png: bytes) -> None:
    rule = explain(client, cat_png).json()["rule"]
    rules = {layer["name"]: layer["rule"] for layer in rule["layers"]}
    assert rule["name"] == "epsilon_plus_flat"
    assert (rules["features.0"], rules["features.3"], rules["classifier.4"]) == ("flat", "z_plus", "epsilon")


def test_the_heatmap_is_the_same_in_json_and_png(client: TestClient, cat_png: bytes) -> None:
    report = explain(client, cat_png).json()["heatmap"]
    png = Image.open(io.BytesIO(explain(client, cat_png, "image/png").content))
    in_json = Image.open(io.BytesIO(base64.b64decode(report["data"])))
    assert png.size == in_json.size == (report["width"], report["height"]) == (256, 256)
    assert png.convert("RGB").tobytes() == in_json.convert("RGB").tobytes()


def test_a_png_contains_the_report(client: TestClient, cat_png: bytes) -> None:
    answer = explain(client, cat_png).json()
    with Image.open(io.BytesIO(explain(client, cat_png, "image/png").content)) as image:
        image.load()
        report = json.loads(image.info["lrp"])
    assert report["relevance"]["layers"] == answer["relevance"]["layers"]
    assert report["model"] == answer["model"]
    assert report["rule"] == answer["rule"]
    assert {"lrpserve", "torch", "zennit"} <= set(report["versions"])


def test_npy_contains_the_relevance_of_the_report(client: TestClient, cat_png: bytes) -> None:
    report = explain(client, cat_png).json()["relevance"]
    relevance = np.load(io.BytesIO(explain(client, cat_png, "application/x-npy").content))
    assert (relevance.shape, relevance.dtype) == ((3, 32, 32), np.float32)
    assert relevance.sum() == pytest.approx(report["sum"], rel=1e-4)
    assert relevance.max() == pytest.approx(report["max"])
    assert report["leak"] == pytest.approx(1 - report["sum"] / report["start"], abs=1e-5)


def test_values_add_the_relevance_as_numbers(client: TestClient, cat_png: bytes) -> None:
    relevance = np.load(io.BytesIO(explain(client, cat_png, "application/x-npy").content))
    values = explain(client, cat_png, values=True).json()["relevance"]["values"]
    np.testing.assert_array_equal(np.array(values, np.float32), relevance)
    assert "values" not in explain(client, cat_png).json()["relevance"]


def test_headers_give_the_scores_of_a_png(client: TestClient, cat_png: bytes) -> None:
    answer = explain(client, cat_png).json()
    headers = explain(client, cat_png, "image/png", target="dog").headers
    assert headers["X-Prediction"] == answer["prediction"]["label"]
    assert float(headers["X-Probability"]) == pytest.approx(answer["prediction"]["probability"], abs=1e-6)
    assert headers["X-Target"] == "dog"
    assert sum(json.loads(headers["X-Scores"]).values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("image/*", "image/png"),
        ("text/html, image/png;q=0.5, application/x-npy;q=0.8", "application/x-npy"),
        ("application/json;q=0, */*", "image/png"),
    ],
)
def test_accept_selects_the_format(client: TestClient, cat_png: bytes, accept: str, media_type: str) -> None:
    response = explain(client, cat_png, accept)
    assert response.headers["Content-Type"] == media_type
    assert response.headers["Vary"] == "Accept"


def test_format_overrides_accept(client: TestClient, cat_png: bytes) -> None:
    assert explain(client, cat_png, "text/html", format="png").headers["Content-Type"] == "image/png"


def test_an_unavailable_format_is_406(client: TestClient, cat_png: bytes) -> None:
    problem = explain(client, cat_png, "text/html")
    assert problem.status_code == 406
    assert "image/png" in problem.json()["detail"]


def test_versus_gives_the_difference_of_two_relevances(client: TestClient, cat_png: bytes) -> None:
    def relevance(**query: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        content = explain(client, cat_png, "application/x-npy", **query).content
        return np.asarray(np.load(io.BytesIO(content)))

    for start in ("one", "logit"):
        difference = relevance(target="cat", versus="dog", start=start)
        cat, dog = (relevance(target=target, start=start) for target in ("cat", "dog"))
        np.testing.assert_allclose(difference, cat - dog, atol=1e-5)


def test_target_may_be_a_label_or_a_number(client: TestClient, cat_png: bytes) -> None:
    by_label, by_number = (explain(client, cat_png, target=target).json() for target in ("deer", "4"))
    assert by_label["target"] == by_number["target"] == {"index": 4, "label": "deer"}
    assert by_label["relevance"] == by_number["relevance"]


@pytest.mark.parametrize(("start", "field"), [("logit", "logit"), ("probability", "probability")])
def test_start_is_the_relevance_of_the_output(
    client: TestClient, cat_png: bytes, start: str, field: str
) -> None:
    answer = explain(client, cat_png, start=start).json()
    assert answer["relevance"]["start"] == pytest.approx(answer["prediction"][field], rel=1e-5)


def test_layer_gives_the_relevance_of_its_input(client: TestClient, cat_png: bytes) -> None:
    relevance = np.load(io.BytesIO(explain(client, cat_png, "application/x-npy", layer="features.6").content))
    answer = explain(client, cat_png, layer="features.6").json()
    assert answer["relevance"]["shape"] == list(relevance.shape)
    sums = {layer["name"]: layer["sum"] for layer in answer["relevance"]["layers"]}
    assert relevance.shape == (64, 16, 16)
    assert answer["relevance"]["sum"] == pytest.approx(sums["features.6"], rel=1e-4)


def test_layers_override_the_rule_and_the_last_match_counts(client: TestClient, cat_png: bytes) -> None:
    answer = explain(client, cat_png, layers=["features.*:gamma(gamma=0.5)", "features.0:w_square"]).json()
    rules = {layer["name"]: (layer["rule"], layer["parameters"]) for layer in answer["rule"]["layers"]}
    assert rules["features.0"][0] == "w_square"
    assert rules["features.3"] == ("gamma", {"gamma": 0.5})


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_the_answer_gives_the_crop_of_the_models_input(client: TestClient, cat_png: bytes, fit: str) -> None:
    crop = explain(client, cat_png, fit=fit).json()["input"]["crop"]
    assert (crop["width"], crop["height"]) == {"crop": (300, 300), "pad": (451, 451), "stretch": (451, 300)}[
        fit
    ]


def test_size_input_gives_a_picture_of_the_uploads_size(client: TestClient, cat_png: bytes) -> None:
    image = Image.open(
        io.BytesIO(explain(client, cat_png, "image/png", size="input", view="overlay").content)
    )
    assert image.size == (451, 300)


def test_answers_have_request_id_and_timings(client: TestClient, cat_png: bytes) -> None:
    response = explain(client, cat_png)
    stages = re.findall(r"(\w+);dur=[0-9.]+", response.headers["Server-Timing"])
    assert stages == ["decode", "queue", "model", "render", "total"]
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_a_valid_request_id_is_kept_and_an_invalid_one_replaced(client: TestClient) -> None:
    assert client.get("/livez", headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    assert client.get("/livez", headers={"X-Request-ID": "a b"}).headers["X-Request-ID"] != "a b"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"epsilon": "nan"}, "epsilon"),
        ({"epsilon": "inf"}, "epsilon"),
        ({"epsilon": "1e400"}, "epsilon"),
        ({"epsilon": "-1"}, "epsilon"),
        ({"epsilon": "0"}, "epsilon"),
        ({"rule": "flat", "gamma": "0.5"}, "gamma"),
        ({"rule": "alpha_beta", "alpha": "2", "beta": "2"}, "alpha"),
        ({"rule": "nonsense"}, "rule"),
        ({"target": "tiger"}, "target"),
        ({"target": "10"}, "target"),
        ({"target": "1" * 5000}, "target"),
        ({"top_k": "1" * 5000}, "top_k"),
        ({"target": "cat", "versus": "cat"}, "versus"),
        ({"layers": "nothing.*:flat"}, "layers"),
        ({"layers": "features.0:gamma(gamma=nan)"}, "layers"),
        ({"layers": "features.0:gamma(gamma=1,gamma=2)"}, "layers"),
        ({"layers": "[" * 20_000 + ":zero"}, "layers"),
        ({"layers": ["features.0:zero"] * 33}, "layers"),
        ({"layer": "features.99"}, "layer"),
        ({"colormap": "mud"}, "colormap"),
        ({"size": "31"}, "size"),
        ({"size": "1025"}, "size"),
        ({"vmax": "0"}, "vmax"),
        ({"vmax": "nan"}, "vmax"),
        ({"top_k": "0"}, "top_k"),
        ({"view": "hologram"}, "view"),
        ({"surprise": "1"}, "surprise"),
        ({"target": ["cat", "dog"]}, "target"),
    ],
)
def test_an_invalid_parameter_is_422_with_its_name(
    client: TestClient, cat_png: bytes, query: dict[str, str | list[str]], parameter: str
) -> None:
    response = client.post("/explain", params=query, content=cat_png, headers=PNG)
    problem = response.json()
    assert response.status_code == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    assert problem["errors"][0]["loc"][:2] == ["query", parameter]
    assert parameter in problem["detail"]
    assert "Input should" not in problem["detail"]
    assert len(response.content) < 1500
    assert problem["instance"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "image/png", 400),
        (b"not a picture", "image/png", 422),
        (b"hello", "text/plain", 415),
        (b"hello", "", 415),
        (b"", "", 415),
        (b"hello=", "application/x-www-form-urlencoded", 415),
        (b"BM=25&height=180&weight=75", "application/x-www-form-urlencoded", 415),
        (b"\x89PNG\r\n\x1a\n and no more", "", 422),
        (b"--x\r\nContent-Disposition: form-data; na", "multipart/form-data; boundary=x", 400),
        (b"nonsense", "multipart/form-data", 400),
    ],
)
def test_a_body_without_a_readable_picture_is_refused(
    client: TestClient, body: bytes, content_type: str, status: int
) -> None:
    response = client.post("/explain", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["detail"]


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded; charset=utf-8"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_without_declared_media_type_is_recognised_by_its_first_bytes(
    client: TestClient, cat: Image.Image, form: str, content_type: str | None
) -> None:
    picture = encode(cat, form)
    headers = {"Content-Type": content_type} if content_type else {}
    undeclared = client.post("/predict", content=picture, headers=headers)
    declared = client.post("/predict", content=picture, headers=PNG)
    assert undeclared.status_code == 200
    assert undeclared.json()["input"] == declared.json()["input"]
    assert undeclared.json()["input"]["format"] == form


@pytest.mark.parametrize("path", ["/explain", "/explain/batch"])
@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("multipart/form-data", "curl -F"),
        ("multipart/form-data; boundary=y", "curl -F"),
        ("multipart/form-data; boundary=x; charset=undefined", "leave the charset out"),
        ("multipart/form-data; boundary=x; charset=punycode", ""),
    ],
)
def test_malformed_multipart_is_400_with_advice(
    client: TestClient, path: str, content_type: str, message: str
) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="a-\xff"; filename="a"\r\n\r\na\r\n--x--\r\n'
    response = client.post(path, content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["title"]) == (400, "Bad request")
    assert message in response.json()["detail"]


def test_the_first_unknown_parameters_are_named_and_the_others_counted(
    client: TestClient, cat_png: bytes
) -> None:
    query = "&".join(f"u{number}" for number in range(9000))
    problem = client.post(f"/explain?{query}", content=cat_png, headers=PNG).json()
    assert len(problem["errors"]) == 10
    assert problem["detail"].endswith("; and 8990 more")


@pytest.mark.parametrize("path", ["/explain", "/model", "/v1/models"])
def test_errors_do_not_repeat_long_parts_of_the_request(client: TestClient, path: str) -> None:
    long = "x" * 30_000
    headers = {"Content-Type": f"{long}/{long}", "Accept": f"{long}/{long}"}
    response = client.post(f"{path}?{long}=1", content=b"x", headers=headers)
    assert response.status_code in (405, 406, 415, 422)
    assert len(response.content) < 2500


def test_every_text_parameter_has_a_maximum_length_in_openapi(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/predict", "/explain", "/explain/batch", "/compare"):
        for parameter in paths[path]["post"].get("parameters", []):
            schema = parameter["schema"]
            assert ("maxItems" in schema) == (schema.get("type") == "array")
            for text in _texts(schema):
                assert text.keys() & {"maxLength", "enum", "const", "pattern"}, (path, parameter["name"])


def _texts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    own = [schema] if schema.get("type") == "string" else []
    return own + [text for one in inner for text in _texts(one)]


@pytest.mark.parametrize(
    ("method", "path", "title"),
    [
        ("GET", "/nothing", "Not found"),
        ("GET", "/explain", "Method not allowed"),
    ],
)
def test_errors_of_the_framework_have_our_titles(
    client: TestClient, method: str, path: str, title: str
) -> None:
    problem = client.request(method, path).json()
    assert problem["title"] == title
    assert problem["type"] == "urn:lrpserve:problem:" + title.lower().replace(" ", "-")


def test_multipart_requires_exactly_one_file(client: TestClient, cat_png: bytes) -> None:
    two = client.post("/explain", files=[("file", cat_png), ("file", cat_png)])
    other = client.post("/explain", files={"picture": cat_png})
    option = client.post("/explain", files={"file": cat_png}, data={"rule": "gamma"})
    text = client.post("/explain", files={"file": (None, "text")})
    assert [r.status_code for r in (two, other, option, text)] == [400] * 4
    assert "query parameters" in option.json()["detail"]


def test_compressed_bodies_are_refused(client: TestClient, cat_png: bytes) -> None:
    response = client.post("/explain", content=cat_png, headers={**PNG, "Content-Encoding": "gzip"})
    assert response.status_code == 415


def test_a_body_over_the_limit_is_413_in_every_encoding(client: TestClient) -> None:
    large = b"\x89PNG" + bytes(8 * 2**20)
    declared = client.post("/explain", content=large, headers=PNG)
    chunked = client.post("/explain", content=iter([large[: 2**22]] * 3), headers=PNG)
    form = client.post("/explain", files={"file": large})
    assert [r.status_code for r in (declared, chunked, form)] == [413] * 3
    assert "8 MiB" in declared.json()["detail"]


def test_a_picture_with_too_many_pixels_is_413(client: TestClient) -> None:
    huge = encode(Image.new("1", (6000, 5000)))
    response = client.post("/explain", content=huge, headers=PNG)
    assert response.status_code == 413


def test_answers_warn_of_low_confidence_and_leak(client: TestClient) -> None:
    grey = encode(Image.new("RGB", (32, 32), (128, 128, 128)))
    rules = (
        {"rule": "epsilon_plus_flat"},
        {"rule": "epsilon", "epsilon": "1000"},
    )  # the latter absorbs nearly all
    answers = [explain(client, grey, target=str(i), **rule).json() for rule in rules for i in range(10)]
    assert {abs(answer["relevance"]["leak"] or 0) > 0.5 for answer in answers} == {False, True}
    for answer in answers:
        leak, warned_of_leak = answer["relevance"]["leak"], any("leak" in w for w in answer["warnings"])
        assert warned_of_leak == (leak is not None and abs(leak) > 0.5)
        warned_of_confidence = any("low confidence" in w for w in answer["warnings"])
        assert warned_of_confidence == (answer["prediction"]["probability"] < 0.5)


def test_verify_reports_the_difference_from_zennit(client: TestClient, cat_png: bytes) -> None:
    report = explain(client, cat_png, verify="true").json()["relevance"]["verify"]
    assert 0 < report["difference"] < 1e-4
    assert report["engine"] == "lrpserve"
    assert report["reference"].startswith("zennit")
    assert "verify" not in explain(client, cat_png).json()["relevance"]
