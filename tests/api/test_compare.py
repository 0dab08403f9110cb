"""Requests to ``/compare``."""

import base64
import io
import itertools
import json
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import encode
from PIL import Image
from starlette.testclient import TestClient

from app.lrp.composites import COMPOSITES
from app.lrp.rules import RULES

PNG = {"Content-Type": "image/png"}
Query = list[tuple[str, str]]


def compare(
    client: TestClient, picture: bytes, query: Query, accept: str = "application/json"
) -> httpx.Response:
    response: httpx.Response = client.post(
        "/compare", params=httpx.QueryParams([*query]), content=picture, headers={**PNG, "Accept": accept}
    )
    return response


def maps(answer: Any) -> list[np.ndarray[Any, Any]]:
    return [np.array(one["relevance"]["values"]) for one in answer["explanations"]]


RULES_OF_QUERY = ("gamma", "epsilon_plus_flat", "z_plus")
TARGETS_OF_QUERY = ("dog", "3", "ship")
QUERY: Query = [
    *(("rule", rule) for rule in RULES_OF_QUERY),
    *(("target", target) for target in TARGETS_OF_QUERY),
]


def test_explanations_are_ordered_by_rule_and_then_by_target_as_requested(
    client: TestClient, cat_png: bytes
) -> None:
    answer = compare(client, cat_png, QUERY).json()
    pairs = [(one["rule"]["name"], one["target"]["label"]) for one in answer["explanations"]]
    assert pairs == list(itertools.product(RULES_OF_QUERY, ("dog", "cat", "ship")))


def test_each_explanation_equals_that_of_explain(client: TestClient, cat_png: bytes) -> None:
    answer = compare(client, cat_png, [*QUERY, ("values", "true"), ("start", "one")]).json()
    for one, relevance in zip(answer["explanations"], maps(answer), strict=True):
        alone = client.post(
            "/explain",
            params={"rule": one["rule"]["name"], "target": one["target"]["label"], "values": True},
            content=cat_png,
            headers=PNG,
        ).json()
        expected = np.array(alone["relevance"]["values"])
        np.testing.assert_allclose(relevance, expected, rtol=1e-3, atol=1e-5 * abs(expected).max())
        assert one["rule"] == alone["rule"]
        assert one["relevance"]["sum"] == pytest.approx(alone["relevance"]["sum"], rel=1e-4, abs=1e-6)
        assert one["prediction"]["label"] == alone["prediction"]["label"]


def test_all_maps_and_the_sheet_share_one_scale(client: TestClient, cat_png: bytes) -> None:
    answer = compare(client, cat_png, [*QUERY, ("values", "true")]).json()
    scales = {(one["heatmap"]["vmin"], one["heatmap"]["vmax"]) for one in answer["explanations"]}
    ((low, high),) = scales
    largest = max(abs(relevance.sum(0)).max() for relevance in maps(answer))
    assert high == -low == pytest.approx(largest, rel=1e-4)
    assert (answer["sheet"]["vmin"], answer["sheet"]["vmax"]) == (low, high)


def test_vmax_sets_the_scale_of_all_maps(client: TestClient, cat_png: bytes) -> None:
    answer = compare(client, cat_png, [*QUERY, ("vmax", "0.25")]).json()
    assert {one["heatmap"]["vmax"] for one in answer["explanations"]} == {0.25}


def test_scores_equal_those_of_predict(client: TestClient, cat_png: bytes) -> None:
    answer = compare(client, cat_png, [("rule", "gamma"), ("top_k", "3")]).json()
    predicted = client.post("/predict?top_k=3", content=cat_png, headers=PNG).json()
    assert [score["label"] for score in answer["scores"]] == [score["label"] for score in predicted["scores"]]
    assert answer["input"] == predicted["input"]


def test_the_default_is_all_composites_for_the_predicted_class(client: TestClient, cat_png: bytes) -> None:
    answer = compare(client, cat_png, []).json()
    assert [one["rule"]["name"] for one in answer["explanations"]] == list(COMPOSITES)
    assert {one["target"]["label"] for one in answer["explanations"]} == {answer["prediction"]["label"]}


def test_target_all_is_every_class_in_order(client: TestClient, cat_png: bytes) -> None:
    answer = compare(client, cat_png, [("rule", "gamma"), ("target", "all")]).json()
    assert [one["target"]["index"] for one in answer["explanations"]] == list(range(10))


def test_all_rules_for_all_classes_fit_into_one_comparison(client: TestClient, cat_png: bytes) -> None:
    rules = [("rule", rule) for rule in dict.fromkeys([*COMPOSITES, *RULES])]
    answer = compare(client, cat_png, [*rules, ("target", "all"), ("size", "model")])
    assert answer.status_code == 200
    assert len(answer.json()["explanations"]) == 10 * len(rules)


def test_parameters_apply_to_the_rules_that_have_them(client: TestClient, cat_png: bytes) -> None:
    query = [
        ("rule", "gamma"),
        ("rule", "epsilon"),
        ("rule", "z_plus"),
        ("gamma", "0.75"),
        ("epsilon", "0.5"),
    ]
    answer = compare(client, cat_png, query).json()
    gamma, epsilon, z_plus = (one["rule"]["parameters"] for one in answer["explanations"])
    assert gamma["gamma"] == 0.75
    assert epsilon["epsilon"] == 0.5
    assert "gamma" not in epsilon
    assert z_plus == {}


def test_versus_is_subtracted_from_each_target(client: TestClient, cat_png: bytes) -> None:
    query = [("rule", "gamma"), ("target", "cat"), ("target", "ship"), ("versus", "dog")]
    answer = compare(client, cat_png, query).json()
    assert [one["versus"]["label"] for one in answer["explanations"]] == ["dog", "dog"]


def test_verify_reports_the_difference_of_each_explanation(client: TestClient, cat_png: bytes) -> None:
    query = [("rule", "gamma"), ("rule", "epsilon_plus_flat"), ("target", "cat"), ("verify", "true")]
    answer = compare(client, cat_png, query).json()
    for one in answer["explanations"]:
        assert one["relevance"]["verify"]["difference"] < 1e-4
        assert one["relevance"]["verify"]["reference"].startswith("zennit")


def test_the_sheet_as_png_contains_the_report(client: TestClient, cat_png: bytes) -> None:
    answer = compare(client, cat_png, QUERY).json()
    png = compare(client, cat_png, QUERY, "image/png")
    assert png.headers["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(png.content)) as sheet:
        sheet.load()
        report = json.loads(sheet.info["lrp"])
        assert sheet.size == (answer["sheet"]["width"], answer["sheet"]["height"])
        in_json = Image.open(io.BytesIO(base64.b64decode(answer["sheet"]["data"])))
        assert (
            np.abs(np.asarray(sheet.convert("RGB"), int) - np.asarray(in_json.convert("RGB"), int)).max() <= 2
        )
    pairs = [(one["rule"]["name"], one["target"]["label"]) for one in report["explanations"]]
    assert pairs == list(itertools.product(RULES_OF_QUERY, ("dog", "cat", "ship")))
    assert report["model"] == answer["model"]
    assert report["prediction"]["label"] == answer["prediction"]["label"]
    assert {"lrpserve", "torch"} <= set(report["versions"])


def test_the_sheet_grows_with_the_number_of_rules_and_targets(client: TestClient, cat_png: bytes) -> None:
    sizes = {}
    for rules, targets in ((1, 1), (1, 3), (3, 1), (3, 3)):
        sheet = compare(client, cat_png, [*QUERY[:rules], *QUERY[3 : 3 + targets]], "image/png")
        sizes[rules, targets] = Image.open(io.BytesIO(sheet.content)).size
    assert sizes[1, 3][0] > sizes[1, 1][0]
    assert sizes[3, 1][1] > sizes[1, 1][1]
    assert sizes[3, 3] == (sizes[1, 3][0], sizes[3, 1][1])


def test_the_network_runs_once(client: TestClient, cat_png: bytes) -> None:
    def batches() -> float:
        lines = client.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("lrpserve_batch_size_count"))

    before = batches()
    compare(client, cat_png, QUERY)
    assert batches() == before + 1


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ([("rule", "nonsense")], "rule"),
        ([("rule", "gamma"), ("rule", "gamma")], "rule"),
        ([("target", "cat"), ("target", "cat")], "target"),
        ([("target", "unicorn")], "target"),
        ([("target", "3"), ("target", "cat")], "target"),
        ([("target", "all"), ("target", "cat")], "target"),
        ([("target", str(number)) for number in range(151)], "target"),
        ([("target", "all"), ("versus", "dog")], "versus"),
        ([("rule", "z_plus"), ("gamma", "0.5")], "gamma"),
        ([("rule", "gamma"), ("gamma", "nan")], "gamma"),
        ([("size", "input")], "size"),
        ([("size", "4096")], "size"),
        ([("view", "overlay")], "view"),
        ([("start", "one"), ("start", "logit")], "start"),
        ([("layer", "nowhere")], "layer"),
        ([("format", "npy")], "format"),
    ],
)
def test_an_invalid_parameter_is_422_with_its_name(
    client: TestClient, cat_png: bytes, query: Query, parameter: str
) -> None:
    answer = compare(client, cat_png, query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"][:2] == ["query", parameter]


@pytest.mark.parametrize("target", ["all", "5"])
def test_versus_equal_to_a_target_is_refused_with_advice(
    client: TestClient, cat_png: bytes, target: str
) -> None:
    problem = compare(client, cat_png, [("target", target), ("versus", "dog")]).json()
    (error,) = problem["errors"]
    assert error["msg"] == "dog is one of the targets; leave versus out, or name targets other than dog"


def test_too_many_explanations_are_refused_with_their_number(
    client: TestClient, cat_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.requests.MAX_COMPARED", 8)
    answer = compare(client, cat_png, QUERY)
    assert answer.status_code == 422
    assert "3 rules × 3 targets are over 8" in answer.json()["detail"]
    assert compare(client, cat_png, QUERY[:-1]).status_code == 200


def test_too_many_pixels_are_refused_with_the_largest_possible_size(
    client: TestClient, cat_png: bytes
) -> None:
    answer = compare(
        client, cat_png, [("target", "all"), ("rule", "gamma"), ("rule", "zero"), ("size", "1024")]
    )
    assert answer.status_code == 422
    assert "ask for 915" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", PNG, 400),
        (b"no picture", PNG, 422),
        (b"x", {"Content-Type": "text/plain"}, 415),
        (encode(Image.new("1", (6000, 5000))), PNG, 413),
    ],
)
def test_errors_of_pictures_equal_those_of_explain(
    client: TestClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    assert client.post("/compare", content=content, headers=headers).status_code == status


def test_an_unavailable_format_is_406(client: TestClient, cat_png: bytes) -> None:
    assert compare(client, cat_png, [], "application/x-npy").status_code == 406


def test_openapi_describes_the_rules_and_both_media_types(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/compare"]["post"]
    parameters = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    assert parameters["rule"]["type"] == "array"
    assert set(parameters["rule"]["items"]["enum"]) == {*COMPOSITES, *RULES}
    assert parameters["target"]["type"] == "array"
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "image/png"}
    assert {"400", "413", "415", "422", "503", "504"} <= set(operation["responses"])
    assert set(operation["requestBody"]["content"]) >= {"multipart/form-data", "image/*"}
