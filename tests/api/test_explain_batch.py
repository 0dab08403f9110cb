"""Requests to ``/explain/batch``."""

import base64
import io
import json
import zipfile
from pathlib import PurePosixPath
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import encode
from PIL import Image
from starlette.testclient import TestClient

Files = list[tuple[str, tuple[str, bytes]]]


def post(client: TestClient, files: Files, accept: str = "application/json", **query: Any) -> httpx.Response:
    response: httpx.Response = client.post(
        "/explain/batch", params=query, files=files, headers={"Accept": accept}
    )
    return response


def unzipped(response: httpx.Response) -> dict[str, bytes]:
    assert response.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def pictures(cat: Image.Image) -> list[bytes]:
    """Four crops of the cat in four formats."""
    forms = ("PNG", "JPEG", "BMP", "TIFF")
    return [encode(cat.crop((80 * i, 0, 80 * i + 150, 150)), form) for i, form in enumerate(forms)]


@pytest.fixture(scope="module")
def files(pictures: list[bytes]) -> Files:
    return [("file", (f"cat {number}.dat", picture)) for number, picture in enumerate(pictures)]


def test_results_are_in_the_order_of_the_files_and_equal_those_of_explain(
    client: TestClient, files: Files, pictures: list[bytes]
) -> None:
    results = post(client, files, rule="gamma", target="cat", values=True).json()["results"]
    assert [result["file"] for result in results] == [f"cat {number}.dat" for number in range(4)]
    for result, picture in zip(results, pictures, strict=True):
        alone = client.post(
            "/explain?rule=gamma&target=cat&values=true",
            content=picture,
            headers={"Content-Type": "application/octet-stream"},
        ).json()
        explanation = result["explanation"]
        assert result["problem"] is None
        assert (explanation["input"], explanation["rule"], explanation["target"]) == (
            alone["input"],
            alone["rule"],
            alone["target"],
        )
        actual, expected = (np.array(answer["relevance"]["values"]) for answer in (explanation, alone))
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5 * abs(expected).max())


def test_an_invalid_file_gets_a_problem_without_affecting_the_others(
    client: TestClient, files: Files
) -> None:
    mixed: Files = [files[0], ("file", ("notes.txt", b"no picture")), files[1], ("file", ("empty", b""))]
    huge: Files = [("file", ("huge.png", encode(Image.new("1", (6000, 5000)))))]
    answer = post(client, [*mixed, *huge, files[2]])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["explanation"] is not None for result in results] == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]
    problems = [result["problem"] for result in results if result["problem"]]
    assert [problem["status"] for problem in problems] == [422, 400, 413]
    assert {problem["instance"] for problem in problems} == {answer.headers["X-Request-ID"]}
    assert all(problem["detail"] for problem in problems)


def test_the_zip_contains_a_png_for_each_picture_and_all_results(client: TestClient, files: Files) -> None:
    content = unzipped(post(client, [*files, ("file", ("notes.txt", b"no picture"))], "application/zip"))
    results = json.loads(content.pop("results.json"))["results"]
    assert list(content) == [f"{number:03d}-cat_{number}.png" for number in range(4)]
    assert [result["file"] for result in results] == [
        *(f"cat {number}.dat" for number in range(4)),
        "notes.txt",
    ]
    for png, result in zip(content.values(), results, strict=False):
        assert png == base64.b64decode(result["explanation"]["heatmap"]["data"])
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert json.loads(image.info["lrp"])["rule"]["name"] == "epsilon_plus_flat"


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd", "/etc/passwd", "..\\..\\windows\\system.ini", "C:\\x.png", "results.json", "..", ".",
        "a\0b.png", "con.png", "x" * 3000 + ".png", "猫.png", "a/b/c.png", " ", "$(rm -rf).png", ".hidden",
    ],
)  # fmt: skip
def test_names_in_the_zip_are_safe_for_all_names_of_uploads(
    client: TestClient, files: Files, name: str
) -> None:
    content = unzipped(post(client, [("file", (name, files[0][1][1]))] * 2, "application/zip"))
    names = list(content)
    assert len(set(names)) == len(names) == 3
    for name_in_zip in names:
        assert PurePosixPath(name_in_zip).name == name_in_zip
        assert name_in_zip.isascii()
        assert not set(name_in_zip) & set('\\/:*?"<>|\0 $()')
        assert len(name_in_zip) < 100
        assert name_in_zip == "results.json" or name_in_zip.startswith(("000-", "001-"))


def test_too_many_pictures_are_413(client: TestClient) -> None:
    limit = client.get("/model").json()["limits"]["max_pictures"]
    tiny = encode(Image.new("RGB", (4, 4)))
    fits: Files = [("file", (f"{number}.png", tiny)) for number in range(limit)]
    assert len(post(client, fits).json()["results"]) == limit
    for more in (1, 2, 200):
        answer = post(client, fits + fits[:1] * more)
        assert answer.status_code == 413
        assert f"at most {limit}" in answer.json()["detail"]


def test_missing_and_unexpected_parts_are_400(client: TestClient, files: Files) -> None:
    nothing = client.post(
        "/explain/batch", content=b"--x--\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert nothing.status_code == 400
    other: Files = [("picture", ("cat.png", files[0][1][1]))]
    answer = post(client, other)
    assert answer.status_code == 400
    assert "'picture'" in answer.json()["detail"]


@pytest.mark.parametrize("disposition", ['name="file"', "name=\"file\"; filename*=UTF-8''cat.png"])
def test_a_part_without_a_plain_file_name_is_named_for_what_it_is(
    client: TestClient, cat_png: bytes, disposition: str
) -> None:
    head = b"--x\r\nContent-Disposition: form-data; "
    parts = [disposition.encode(), b'name="file"; filename="cat.png"']
    body = b"".join(head + part + b"\r\n\r\n" + cat_png + b"\r\n" for part in parts) + b"--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    bad, good = client.post("/explain/batch", content=body, headers=headers).json()["results"]
    assert good["problem"] is None
    assert bad["problem"]["status"] == 400
    alone = b"".join((head, parts[0], b"\r\n\r\n", cat_png, b"\r\n--x--\r\n"))
    refused = client.post("/predict", content=alone, headers=headers).json()
    assert "text without a file name" in bad["problem"]["detail"]
    assert "text without a file name" in refused["detail"]
    assert bad["problem"]["title"] == refused["title"]


def test_a_raw_body_is_415(client: TestClient, cat_png: bytes) -> None:
    answer = client.post("/explain/batch", content=cat_png, headers={"Content-Type": "image/png"})
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("query", "parameter"),
    [({"rule": "nonsense"}, "rule"), ({"target": "unicorn"}, "target"), ({"format": "png"}, "format"),
     ({"colour": "red"}, "colour"), ({"epsilon": "inf"}, "epsilon")],
)  # fmt: skip
def test_an_invalid_parameter_is_422_for_the_whole_request(
    client: TestClient, files: Files, query: dict[str, str], parameter: str
) -> None:
    answer = post(client, files, **query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["query", parameter]


def test_versus_equal_to_the_predicted_class_is_a_problem_of_that_file(
    client: TestClient, files: Files
) -> None:
    first = post(client, files[:1]).json()["results"][0]["explanation"]["prediction"]["label"]
    result = post(client, files[:1], versus=first).json()["results"][0]
    assert result["problem"]["status"] == 422
    assert result["problem"]["errors"][0]["loc"] == ["query", "versus"]


def test_an_unavailable_format_is_406(client: TestClient, files: Files) -> None:
    assert post(client, files, "image/png").status_code == 406


def test_server_timing_names_every_stage_once(client: TestClient, files: Files) -> None:
    stages = [part.partition(";")[0] for part in post(client, files).headers["Server-Timing"].split(", ")]
    assert stages == ["decode", "queue", "model", "render", "total"]


def test_openapi_describes_several_files_and_both_media_types(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/explain/batch"]["post"]
    schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["properties"]["file"]["type"] == "array"
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "application/zip"}
    assert {"400", "413", "415", "422", "503", "504"} <= set(operation["responses"])
    assert {"rule", "target", "versus", "verify"} <= {p["name"] for p in operation["parameters"]}
