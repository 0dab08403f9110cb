"""The KServe V1 protocol."""

import base64
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

MODEL = "/v1/models/minivgg-cifar10"


@pytest.fixture(scope="session")
def cat_b64(cat_png: bytes) -> str:
    return base64.b64encode(cat_png).decode()


def post(client: TestClient, verb: str, *instances: Any) -> httpx.Response:
    response: httpx.Response = client.post(f"{MODEL}:{verb}", json={"instances": list(instances)})
    return response


def test_the_model_is_listed_and_ready(client: TestClient) -> None:
    assert client.get("/v1/models").json() == {"models": ["minivgg-cifar10"]}
    assert client.get(MODEL).json() == {"name": "minivgg-cifar10", "ready": True}


def test_an_instance_may_have_any_of_several_forms(client: TestClient, cat_b64: str, cat_png: bytes) -> None:
    wrapped = base64.encodebytes(cat_png).decode()
    url_safe = base64.urlsafe_b64encode(cat_png).decode()
    assert set("-_") <= set(url_safe)
    forms = [
        {"image": {"b64": cat_b64}},
        {"b64": cat_b64},
        {"data": cat_b64},
        cat_b64,
        {"b64": wrapped},
        url_safe,
        f"data:image/png;base64,{cat_b64}",
        f"data:image/png;charset=utf-8;base64,{wrapped}",
    ]
    predictions = post(client, "predict", *forms).json()["predictions"]
    alone = client.post("/predict", content=cat_png, headers={"Content-Type": "image/png"}).json()
    assert [p["prediction"]["label"] for p in predictions] == [alone["prediction"]["label"]] * len(forms)
    assert {p["input"]["width"] for p in predictions} == {451}
    assert predictions[0]["model"] == alone["model"]


def test_inputs_is_an_alias_of_instances(client: TestClient, cat_b64: str) -> None:
    body = {"inputs": [cat_b64]}
    assert client.post(f"{MODEL}:predict", json=body).json() == post(client, "predict", cat_b64).json()


def test_explanations_equal_those_of_the_explain_route(
    client: TestClient, cat_b64: str, cat_png: bytes
) -> None:
    options = {"target": "dog", "rule": "gamma", "gamma": 0.5}
    (explanation,) = post(client, "explain", {"b64": cat_b64, **options}).json()["explanations"]
    alone = client.post(
        "/explain", params=options, content=cat_png, headers={"Content-Type": "image/png"}
    ).json()
    assert explanation == alone


def test_each_instance_has_its_own_options(client: TestClient, cat_b64: str) -> None:
    answer = post(
        client,
        "explain",
        {"b64": cat_b64, "target": 3},
        {"b64": cat_b64, "target": "dog", "layers": ["features.0:flat"], "values": True},
    ).json()
    assert [e["target"]["label"] for e in answer["explanations"]] == ["cat", "dog"]
    assert ["values" in e["relevance"] for e in answer["explanations"]] == [False, True]
    assert answer["predictions"][0].keys() == {"model", "prediction", "scores", "input", "warnings"}


def test_the_content_type_is_ignored(client: TestClient, cat_b64: str) -> None:
    response = client.post(
        f"{MODEL}:predict",
        content=f'{{"instances": ["{cat_b64}"]}}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("", 400, "JSON"),
        ("[]", 400, "object"),
        ("{", 400, "JSON"),
        ("[" * 100_000, 400, "JSON"),
        ('{"instances": []}', 400, "instances"),
        ("{}", 400, "instances"),
        ('{"instances": ["a"], "inputs": ["a"]}', 400, "inputs"),
        ('{"instances": [{}]}', 400, "one picture"),
        ('{"instances": [{"b64": "a", "data": "a"}]}', 400, "one picture"),
        ('{"instances": [7]}', 400, "instances[0]: must be an object"),
        ('{"instances": [{"b64": ""}]}', 400, "instances[0]"),
        ('{"instances": ["bm8gcGljdHVyZQ=="]}', 422, "instances[0]"),
        ('{"instances": [{"b64": "a", "rule": "nonsense"}]}', 422, "nonsense"),
        ('{"instances": [{"b64": "a", "epsilon": NaN}]}', 422, "epsilon"),
        ('{"instances": [{"b64": "a", "epsilon": 1e999}]}', 422, "epsilon"),
        ('{"instances": [{"b64": "a", "epsilon": null}]}', 400, "epsilon"),
        (
            '{"instances": [{"b64": "a", "epsilon": null}]}',
            400,
            "instances[0].epsilon: must be text, a number",
        ),
        (
            '{"instances": [{"b64": "a", "gama": 1}]}',
            422,
            "instances[0]: gama: no such option; did you mean gamma?",
        ),
        ('{"instances": [{"b64": "a", "Rules": null}]}', 422, "did you mean rule?"),
        ('{"instances": [{"b64": "a", "target": "' + "1" * 5000 + '"}]}', 422, "longer than 200 characters"),
        ('{"instances": [{"b64": "a", "target": ' + "1" * 5000 + "}]}", 400, "JSON"),
        (
            '{"instances": [{"b64": "a", "layers": ["' + "*a" * 2_000_000 + ':zero"]}]}',
            422,
            "layers[0]: is longer",
        ),
        (
            '{"instances": [{"b64": "a", "layers": ["' + '","'.join(["*:zero"] * 33) + '"]}]}',
            422,
            "33 entries",
        ),
        (
            '{"instances": [{"b64": "a", "layers": "' + "[" * 100_000 + ':zero"}]}',
            422,
            "layers[0]: is longer",
        ),
        ('{"instances": [' + "null, " * 100_000 + "null]}", 413, "100001 pictures"),
        ('{"instances": [{"b64": "a", "format": "png"}]}', 422, "format"),
        ('{"instances": [' + ", ".join(['"a"'] * 33) + "]}", 413, "32"),
    ],
)
def test_errors_have_the_form_of_the_protocol(
    client: TestClient, body: str, status: int, message: str
) -> None:
    response = client.post(f"{MODEL}:explain", content=body)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert message in response.json()["error"]
    assert response.headers["Content-Type"] == "application/json"


def test_an_unreadable_picture_is_refused_by_index(client: TestClient, cat_b64: str) -> None:
    response = post(client, "predict", cat_b64, cat_b64[:400])
    assert response.status_code == 422
    assert response.json()["error"].startswith("instances[1]:")


def test_predict_accepts_the_options_of_explain(client: TestClient, cat_b64: str) -> None:
    options = {"target": "dog", "rule": "gamma", "gamma": 0.5, "layers": ["features.0:flat"], "size": "model"}
    plain, with_options = (
        post(client, "predict", {"b64": cat_b64, "top_k": 3, **rest}).json() for rest in ({}, options)
    )
    assert with_options == plain
    assert len(plain["predictions"][0]["scores"]) == 3


@pytest.mark.parametrize("verb", ["predict", "explain"])
@pytest.mark.parametrize(
    "options",
    [
        {"rule": "nope"},
        {"target": "tiger"},
        {"layers": "x:y"},
        {"rule": "flat", "gamma": 1},
        {"size": 7},
        {"colormap": "mud"},
        {"layer": "nowhere"},
        {"epsilom": 1},
    ],
)
def test_invalid_options_are_refused_by_both_verbs(
    client: TestClient, cat_b64: str, verb: str, options: dict[str, Any]
) -> None:
    response = post(client, verb, cat_b64, {"b64": cat_b64, **options})
    assert response.status_code == 422
    assert response.json()["error"].startswith(f"instances[1]: {list(options)[-1]}")


@pytest.mark.parametrize(
    "option",
    [{"colormap": "R" * 7_000_000}, {f"u{number}": 1 for number in range(3000)}],
)
def test_errors_do_not_repeat_long_values(client: TestClient, cat_b64: str, option: dict[str, Any]) -> None:
    response = post(client, "explain", {"b64": cat_b64, **option})
    assert response.status_code == 422
    assert len(response.content) < 2000


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_options_beside_the_instances_are_listed_as_ignored(
    client: TestClient, cat_b64: str, verb: str
) -> None:
    body = {"instances": [{"b64": cat_b64}, {"b64": cat_b64}], "signature_name": "serving_default"}
    stray = {"rule": "gamma", "gama": 0.5, "target": None, "id": "1"}
    plain, answer = (
        client.post(f"/v1/models/minivgg-cifar10:{verb}", json={**body, **beside}) for beside in ({}, stray)
    )
    assert answer.status_code == 200
    for without, with_ in zip(plain.json()["predictions"], answer.json()["predictions"], strict=True):
        assert set(with_["warnings"]) - set(without["warnings"]) == {
            "ignored, belongs into an instance: rule, gama"
        }


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_members_that_are_not_known_are_ignored_and_those_of_an_instance_listed(
    client: TestClient, cat_b64: str, verb: str
) -> None:
    long = "k" * 7_000
    unknown = {"signature_name": None, "metadata": {"id": [1]}, long: 1}
    image = {"b64": cat_b64, "content_type": "image/png"}
    instances = [{"image": image, "target": "dog", **unknown}, {"image": image, "target": "dog"}]
    body = {"instances": instances, "inputs": None, "signature_name": "serving_default", "priority": 1}
    answer = client.post(f"{MODEL}:{verb}", json=body).json()
    for results in answer.values():
        first, second = (result.pop("warnings") for result in results)
        assert results[0].keys() == results[1].keys()
        logits = [result["prediction"]["logit"] for result in results]
        assert logits[0] == pytest.approx(logits[1], rel=1e-5)
        (ignored,) = set(first) - set(second)
        assert ignored.startswith("ignored, no option: signature_name, metadata, kkk")
        assert len(ignored) < 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/vgg16", 404),
        ("POST", "/v1/models/vgg16:explain", 404),
        ("POST", "/v1/models/minivgg-cifar10-lrp:predict", 404),
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/models?x=1", 422),
    ],
)
def test_unknown_routes_have_errors_in_the_form_of_the_protocol(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)
    assert (response.status_code, list(response.json())) == (status, ["error"])


def test_compressed_bodies_are_refused(client: TestClient) -> None:
    response = client.post(f"{MODEL}:predict", content=b"{}", headers={"Content-Encoding": "gzip"})
    assert response.status_code == 415
