"""Texts and rows in batches, under several rules, and evaluated."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from fake_text_model import FakeTextModel, ids_of, logits_of, relevance_of
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from starlette.testclient import TestClient
from table_model import BIASES, MEANS, ROW, SHARES, STDS, WEIGHTS, columns_of, table_model

from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings

ATTEMPTS = 100_000
TEXT = "a good film"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """A service with a bag of words and linear models of rows, and no model of pictures."""
    models: list[Model] = [
        FakeTextModel(),
        table_model(),
        table_model("value", "number"),
        table_model("labels", "labels"),
    ]
    with TestClient(create_app(Settings(default_model="rows"), models)) as client:
        assert any(client.get("/readyz").status_code == 200 for _ in range(ATTEMPTS))
        yield client


def ask(client: TestClient, path: str, body: Any, accept: str = "application/json", **query: Any) -> Any:
    response: httpx.Response = client.post(path, json=body, params=query, headers={"Accept": accept})
    return response


def ok(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def by_word(answer: Any) -> list[float]:
    return [token["relevance"] for token in answer["tokens"]]


def test_texts_are_explained_in_their_order_each_by_itself(client: TestClient) -> None:
    texts = [TEXT, "", "bad", 7, "not a\x00 film", "x" * 10_001]
    results = ok(ask(client, "/explain/batch/text", {"texts": texts}, target="positive", rule="zero"))[
        "results"
    ]
    assert [result["index"] for result in results] == list(range(len(texts)))
    explained = {
        index: result["explanation"] for index, result in enumerate(results) if result["explanation"]
    }
    assert list(explained) == [0, 2]
    for index, answer in explained.items():
        ids = ids_of(str(texts[index]))
        start = np.array([0.0, np.sign(logits_of(ids)[1])])
        assert by_word(answer) == pytest.approx(relevance_of(ids, start).tolist(), rel=1e-6)
    problems = {index: result["problem"] for index, result in enumerate(results) if result["problem"]}
    assert {index: problem["status"] for index, problem in problems.items()} == {
        1: 422,
        3: 422,
        4: 422,
        5: 413,
    }
    for index, problem in problems.items():
        if isinstance(texts[index], str):
            alone = ask(client, "/explain/text", {"text": texts[index]}).json()
            assert {**problem, "instance": ""} == {**alone, "instance": ""}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"texts": ["good"] * 33}, 413),
        ({"texts": []}, 400),
        ({"texts": "good"}, 400),
        ({"text": "good"}, 400),
        (["good"], 400),
        ({"texts": ["good"], "text": "good"}, 400),
        ({"texts": [[]] * 500_000}, 413),  # refused before it is parsed
    ],
)
def test_other_bodies_than_a_list_of_texts_are_refused(client: TestClient, body: Any, status: int) -> None:
    assert ask(client, "/explain/batch/text", body).status_code == status
    plain = client.post("/explain/batch/text", content="good", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415


def test_a_zip_has_a_drawing_of_each_text_or_row(client: TestClient) -> None:
    bodies: dict[str, Any] = {"text": {"texts": [TEXT, "", "bad"]}, "table": {"rows": [ROW, {}, ROW]}}
    for kind, body in bodies.items():
        response = ask(client, f"/explain/batch/{kind}", body, "application/zip")
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            drawings = [name for name in archive.namelist() if name.endswith(".png")]
            stem = {"text": "text", "table": "row"}[kind]
            assert drawings == [f"000-{stem}.png", f"002-{stem}.png"]
            results = json.loads(archive.read("results.json"))["results"]
            assert [result["problem"] is None for result in results] == [True, False, True]
            for name in drawings:
                with Image.open(archive.open(name)) as image:
                    image.load()
                    assert json.loads(image.info["lrp"])["model"] == results[0]["explanation"]["model"]


def test_rows_have_an_explanation_or_a_problem_each(client: TestClient) -> None:
    rows = [ROW, {**ROW, "a": "much"}, {**ROW, "c": 3.0}]
    results = ok(ask(client, "/explain/batch/table", {"rows": rows}, target="second", start="logit"))[
        "results"
    ]
    assert [result["index"] for result in results] == [0, 1, 2]
    assert results[1]["explanation"] is None
    assert results[1]["problem"]["errors"][0]["loc"] == ["body", "a"]
    for index in (0, 2):
        numbers = np.array([float(rows[index][name]) for name in "abc"])
        expected = WEIGHTS[1, :3] * (numbers - MEANS) / STDS
        found = [one["relevance"] for one in results[index]["explanation"]["features"][:3]]
        assert found == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)


def test_rows_may_be_many_and_come_as_csv(client: TestClient) -> None:
    lines = ["a,b,c,kind", *(f"{i / 500},1,2,coarse" for i in range(199)), "oops,1,2,fine"]
    response = client.post(
        "/explain/batch/table", content="\n".join(lines), headers={"Content-Type": "text/csv"}
    )
    results = ok(response)["results"]
    assert [result["problem"] is not None for result in results] == [False] * 199 + [True]
    assert [result["explanation"]["features"][0]["value"] for result in results[:199]] == [
        i / 500 for i in range(199)
    ]


def test_a_comparison_has_every_rule_for_every_target_on_one_scale(client: TestClient) -> None:
    query: dict[str, Any] = {"rule": ["zero", "gamma"], "target": ["positive", "negative"]}
    answer = ok(ask(client, "/compare/text", {"text": TEXT}, **query))
    pairs = [(one["rule"]["name"], one["target"]["label"]) for one in answer["explanations"]]
    assert pairs == [(rule, target) for rule in query["rule"] for target in query["target"]]
    ids = ids_of(TEXT)
    of_words = [relevance_of(ids, logits_of(ids) * one) for one in (np.array([0, 1]), np.array([1, 0]))]
    for one, expected in zip(answer["explanations"], of_words * 2, strict=True):
        assert by_word(one) == pytest.approx(expected.tolist(), rel=1e-6)  # the default start is the logit
    (scale,) = {tuple(one["scale"].items()) for one in answer["explanations"]}
    assert dict(scale)["vmax"] == pytest.approx(np.abs(of_words).max(), rel=1e-6)


def test_a_comparison_of_a_row_equals_its_explanations(client: TestClient) -> None:
    query: dict[str, Any] = {"rule": ["zero", "gamma"], "target": ["first", "third"], "baseline": "zero"}
    answer = ok(ask(client, "/compare/table", {"features": ROW}, **query))
    for one in answer["explanations"]:
        alone = ok(
            ask(client, "/explain/table", {"features": ROW}, rule=one["rule"]["name"], start="logit",
                target=one["target"]["label"], baseline="zero")
        )  # fmt: skip
        assert [f["relevance"] for f in one["features"]] == pytest.approx(
            [f["relevance"] for f in alone["features"]], rel=1e-4, abs=1e-6
        )
    default = ok(ask(client, "/compare/table", {"features": ROW}))
    assert [one["rule"]["name"] for one in default["explanations"]] == ["zero", "epsilon", "gamma"]


def test_the_sheet_of_a_comparison_is_a_picture_or_a_page(client: TestClient) -> None:
    query: dict[str, Any] = {"rule": ["zero", "gamma"], "target": "all"}
    bodies = {"text": {"text": "a <b>good</b> film"}, "table": {"features": ROW}}
    for kind, body in bodies.items():
        response = ask(client, f"/compare/{kind}", body, "image/png", **query)
        with Image.open(io.BytesIO(response.content)) as sheet:
            sheet.load()
            report = json.loads(sheet.info["lrp"])
        assert len(report["explanations"]) == len(query["rule"]) * len(
            ok(client.get(f"/models/{report['model']['name']}"))["classes"]
        )
    page = ask(client, "/compare/text", bodies["text"], "text/html", **query)
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src" not in page.headers["content-security-policy"]
    assert all(name in page.text for name in (*query["rule"], "positive", "negative"))
    assert "<b>good</b>" not in page.text
    assert ask(client, "/compare/table", bodies["table"], "text/html").status_code == 406


def test_a_comparison_takes_one_row(client: TestClient) -> None:
    assert ask(client, "/compare/table", {"rows": [ROW]}, rule="zero").status_code == 200
    response = ask(client, "/compare/table", {"rows": [ROW, ROW]}, rule="zero")
    assert response.status_code == 400
    assert "2 rows" in response.json()["detail"]


Curve = Callable[[Sequence[int]], float]


def expected_curves(scores: Any, after: Curve) -> dict[str, list[float]]:
    """Follow the definition: what ``after`` says when the first 1, 2, … parts of each order are removed."""
    orders = {name: sorted(range(len(scores)), key=lambda i: sign * scores[i])
              for name, sign in (("most_relevant_first", -1), ("least_relevant_first", 1))}  # fmt: skip
    return {
        name: [after(order[:removed]) for removed in range(1, len(order) + 1)]
        for name, order in orders.items()
    }


def assert_curves(order: Any, expected: dict[str, list[float]]) -> None:
    for name, values in expected.items():
        assert order["curves"][name] == pytest.approx(values, rel=1e-4, abs=1e-6)
    most, least = expected.values()
    first = max(1, len(most) // 2)
    gap = np.mean(np.subtract(least[:first], most[:first]))
    assert order["gap"] == pytest.approx(gap, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["a good bad film good", "not bad", "good", "a film a film bad strange not good end"]
)
def test_words_are_deleted_in_the_order_of_their_relevance(client: TestClient, text: str) -> None:
    answer = ok(ask(client, "/evaluate/text", {"text": text}, rule="zero", target="positive"))
    ids = ids_of(text)

    def probability(removed: Sequence[int]) -> float:
        kept = np.delete(ids, list(removed))
        exponentials = np.exp(logits_of(kept if len(kept) else ids_of("?")))
        return float(exponentials[1] / exponentials.sum())

    start = np.array([0.0, np.sign(logits_of(ids)[1])])
    (evaluated,) = answer["evaluations"]
    assert answer["words"] == len(ids)
    assert_curves(evaluated, expected_curves(relevance_of(ids, start), probability))
    alone = [probability([]) - probability([word]) for word in range(len(ids))]
    assert_curves(answer["leave_one_out"], expected_curves(alone, probability))
    predicted = logits_of(ids).argmax()
    order = np.argsort(-relevance_of(ids, start), kind="stable")
    changed = [
        removed
        for removed in range(1, len(ids) + 1)
        if logits_of(np.delete(ids, order[:removed]) if removed < len(ids) else ids_of("?")).argmax()
        != predicted
    ]
    assert evaluated["flips_after"] == (changed[0] if changed else None)
    assert evaluated["sensitivity"] is None
    assert [one["layer"] for one in evaluated["randomization"]] == ["vote"]


def contributions(kind: int, baseline: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What each feature of the row adds to an output of the linear model, compared with ``baseline``, (4,)."""
    parts = WEIGHTS[kind] * (columns_of(ROW) - baseline)
    return np.array([*parts[:3], parts[3:].sum()])


MEAN_ROW = np.array([0.0, 0.0, 0.0, *SHARES])
ZERO_ROW = np.array([*(-MEANS / STDS), 0.0, 0.0])


@pytest.mark.parametrize(("query", "baseline"), [({}, MEAN_ROW), ({"baseline": "zero"}, ZERO_ROW)])
def test_features_are_set_to_the_baseline_and_curves_follow_the_value(
    client: TestClient, query: dict[str, str], baseline: np.ndarray[Any, Any]
) -> None:
    answer = ok(ask(client, "/evaluate/table", {"features": ROW}, rule="zero", model="number", **query))
    parts, start = contributions(0, baseline), WEIGHTS[0] @ columns_of(ROW) + BIASES[0]
    (evaluated,) = answer["evaluations"]
    expected = expected_curves(parts, lambda removed: float(start - parts[list(removed)].sum()))
    assert answer["target"] == answer["prediction"]
    assert answer["target"]["value"] == pytest.approx(start)
    assert answer["features"] == len(parts)
    assert_curves(evaluated, expected)
    assert_curves(answer["leave_one_out"], expected)  # each feature adds its part, whatever the others are
    assert expected["most_relevant_first"][-1] == pytest.approx(WEIGHTS[0] @ baseline + BIASES[0])
    assert evaluated["flips_after"] is None
    largest = np.linalg.norm(0.02 * 4 * WEIGHTS[0, :3])  # the training data's range is four deviations wide
    relevance = WEIGHTS[0] * (columns_of(ROW) - baseline)
    assert 0 < evaluated["sensitivity"] <= largest / np.linalg.norm(relevance)
    sizes = np.sort(np.abs(parts))
    assert evaluated["sparseness"] == pytest.approx((2 * np.arange(1, 5) - 5) @ sizes / (4 * sizes.sum()))
    ((layer, similarity),) = [tuple(one.values()) for one in evaluated["randomization"]]
    assert layer == "linear"
    assert -1 <= similarity < 1


def test_curves_of_a_label_follow_its_sigmoid_and_its_decision(client: TestClient) -> None:
    query = {"rule": "zero", "target": "second", "model": "labels"}
    row = {**ROW, "a": 0.5, "b": 3.0, "kind": "fine"}
    answer = ok(ask(client, "/evaluate/table", {"features": row}, **query))
    columns = columns_of(row)
    parts = WEIGHTS[1] * (columns - MEAN_ROW)
    parts, start = np.array([*parts[:3], parts[3:].sum()]), WEIGHTS[1] @ columns + BIASES[1]

    def logit(removed: Sequence[int]) -> float:
        return float(start - parts[list(removed)].sum())

    assert start > 0
    (evaluated,) = answer["evaluations"]
    assert_curves(evaluated, expected_curves(parts, lambda removed: 1 / (1 + np.exp(-logit(removed)))))
    order = np.argsort(-parts, kind="stable")
    changed = [removed for removed in range(1, 5) if logit(order[:removed].tolist()) < 0]
    assert evaluated["flips_after"] == (changed[0] if changed else None)


def test_rules_of_an_evaluation_default_to_some_that_tell_parts_apart(client: TestClient) -> None:
    known = {"text": FakeTextModel().description.composites, "table": ("zero", "epsilon", "gamma")}
    bodies: dict[str, Any] = {"text": {"text": TEXT}, "table": {"features": ROW}}
    for kind, body in bodies.items():
        answer = ok(ask(client, f"/evaluate/{kind}", body))
        assert [one["rule"]["name"] for one in answer["evaluations"]] == list(known[kind])
        assert answer["target"]["label"] == answer["prediction"]["label"]
        again = ok(ask(client, f"/evaluate/{kind}", body, rule="gamma"))
        assert answer["random"] == again["random"]


def test_the_chart_of_an_evaluation_has_both_curves(client: TestClient) -> None:
    queries: dict[str, Any] = {
        "text": ({"text": TEXT}, {}),
        "table": ({"features": ROW}, {"model": "number", "target": "strength"}),
    }
    for kind, (body, query) in queries.items():
        response = ask(client, f"/evaluate/{kind}", body, "image/png", rule="zero", **query)
        with Image.open(io.BytesIO(response.content)) as chart:
            colours = {colour for _, colour in chart.convert("RGB").getcolors(2**24) or []}
        assert {(178, 24, 43), (33, 102, 172)} <= colours


@pytest.mark.parametrize(
    ("path", "query", "parameter"),
    [
        ("/compare/text", {"size": "128"}, "size"),
        ("/compare/text", {"baseline": "mean"}, "baseline"),
        ("/compare/text", {"target": ["positive", "1"]}, "target"),
        ("/compare/table", {"unit": "word"}, "unit"),
        ("/compare/table", {"baseline": "median"}, "baseline"),
        ("/evaluate/text", {"patch": 4}, "patch"),
        ("/evaluate/text", {"samples": 4}, "samples"),
        ("/evaluate/table", {"replacement": "blur"}, "replacement"),
        ("/evaluate/table", {"baseline": "median"}, "baseline"),
        ("/compare/table", {"versus": "strength", "model": "number"}, "versus"),
        ("/explain/batch/text", {"fit": "crop"}, "fit"),
        ("/explain/batch/table", {"format": "html"}, "format"),
        ("/explain/batch/table", {"target": "fourth"}, "target"),
    ],
)
def test_parameters_of_another_kind_are_refused_by_name(
    client: TestClient, path: str, query: dict[str, Any], parameter: str
) -> None:
    body = (
        {"text": TEXT}
        if "compare/text" in path
        else {"features": ROW}
        if "table" in path
        else {"texts": [TEXT]}
    )
    response = ask(client, path, body, **query)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"][:2] == ["query", parameter]


def test_openapi_of_a_service_without_pictures_is_valid(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert [error.message for error in OpenAPIV31SpecValidator(schema).iter_errors()] == []
    assert "{{" not in json.dumps(schema)
    paths = {path for path in schema["paths"] if path.startswith(("/compare", "/explain/batch", "/evaluate"))}
    assert paths == {
        f"/{verb}/{kind}" for verb in ("compare", "explain/batch", "evaluate") for kind in ("text", "table")
    }


@pytest.mark.parametrize("place", ["features", "baseline"])
def test_halves_of_surrogate_pairs_in_names_are_refused(client: TestClient, place: str) -> None:
    row = json.dumps({**ROW, "\ud800": 1})
    sent = {"features": json.dumps(ROW), place: row}
    response = client.post(
        "/explain/table",
        params={"baseline": sent.get("baseline", "mean")},
        content=f'{{"features": {sent["features"]}}}',
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422


def test_several_rows_are_json_only(client: TestClient) -> None:
    for form in ("png", "npy"):
        response = ask(client, "/explain/table", {"rows": [ROW]}, format=form)
        assert response.status_code == 406
        assert "there is application/json" in response.json()["detail"]
    assert ask(client, "/explain/table", {"features": ROW}, format="png").status_code == 200


def test_json_of_a_text_may_have_a_byte_order_mark(client: TestClient) -> None:
    for path, body in (("/explain/text", {"text": "good"}), ("/explain/batch/text", {"texts": ["good"]})):
        headers = {"Content-Type": "application/json"}
        sent = client.post(path, content=b"\xef\xbb\xbf" + json.dumps(body).encode(), headers=headers)
        assert ok(sent) == ok(ask(client, path, body))


def test_a_text_that_is_given_twice_is_refused(client: TestClient) -> None:
    for path, body in (
        ("/predict/text", '{"text": "good", "text": "bad"}'),
        ("/explain/batch/text", '{"texts": ["good"], "texts": ["bad"]}'),
    ):
        response = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 400
        assert "is given twice" in response.json()["detail"]


def test_very_many_unknown_features_are_counted_and_not_listed(client: TestClient) -> None:
    features = ROW | {f"unknown {number}": 1 for number in range(1_000)}
    problem = ask(client, "/predict/table", {"features": features}).json()
    assert problem["status"] == 422
    assert problem["detail"].endswith("and 980 more")


@pytest.mark.parametrize("text", ["", "a\x00b", "\ufffe\x1b"])
def test_what_is_wrong_with_a_text_is_said_of_the_body(client: TestClient, text: str) -> None:
    problem = ask(client, "/explain/text", {"text": text}).json()
    assert [error["loc"] for error in problem["errors"]] == [["body", "text"]]


def test_a_body_that_is_too_large_is_refused_with_advice_for_its_kind(client: TestClient) -> None:
    for path, advice in (
        ("/explain/batch/text", "send fewer texts at once"),
        ("/explain/table", "send fewer rows at once"),
    ):
        response = client.post(path, content=b" " * (2**23 + 1), headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        assert response.json()["detail"] == f"the body is larger than 8 MiB; {advice}"


def test_a_fault_of_one_of_several_rows_names_the_row(client: TestClient) -> None:
    rows = [ROW, {**ROW, "a": "much"}, ROW]
    for path in ("/predict/table", "/explain/table"):
        problem = ask(client, path, {"rows": rows}).json()
        assert problem["detail"].startswith("rows[1]: a: is text")
        assert [error["loc"] for error in problem["errors"]] == [["body", "rows[1]", "a"]]


def test_the_example_of_a_layer_can_be_drawn(client: TestClient) -> None:
    parameters = client.get("/openapi.json").json()["paths"]["/explain/text"]["post"]["parameters"]
    (layer,) = [one for one in parameters if one["name"] == "layer"]
    example = layer.get("example") or layer["schema"]["examples"][0]
    assert ok(ask(client, "/explain/text", {"text": TEXT}, layer=example))["layer"] == example
