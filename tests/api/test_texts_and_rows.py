"""Several texts or rows in one request, and several rules for one: batches and comparisons."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from fake_text_model import FakeTextModel, ids_of, logits_of, relevance_of
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from starlette.testclient import TestClient
from table_model import MEANS, ROW, STDS, WEIGHTS, table_model

from app.lrp.composites import COMPOSITES
from app.main import create_app
from app.settings import Settings

ATTEMPTS = 100_000
TEXT = "a good film"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """A service with a bag of words and a linear model of rows, and no model of pictures."""
    with TestClient(create_app(Settings(), [FakeTextModel(), table_model()])) as client:
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
    assert [one["rule"]["name"] for one in default["explanations"]] == list(COMPOSITES)


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


@pytest.mark.parametrize(
    ("path", "query", "parameter"),
    [
        ("/compare/text", {"size": "128"}, "size"),
        ("/compare/text", {"baseline": "mean"}, "baseline"),
        ("/compare/text", {"target": ["positive", "1"]}, "target"),
        ("/compare/table", {"unit": "word"}, "unit"),
        ("/compare/table", {"baseline": "median"}, "baseline"),
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
    paths = {path for path in schema["paths"] if path.startswith(("/compare", "/explain/batch"))}
    assert paths == {f"/{verb}/{kind}" for verb in ("compare", "explain/batch") for kind in ("text", "table")}
