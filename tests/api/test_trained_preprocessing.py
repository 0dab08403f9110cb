"""The service with a network whose card says how pictures were resized in its training."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import encode
from fake_model import CARD, DESCRIPTION, MEAN, STD, FakeModel, logits_of
from PIL import Image
from starlette.testclient import TestClient

from app.main import create_app
from app.models.image_card import ImageCard
from app.settings import Settings

STATED = {"resize": None, "crop_pct": 0.75, "interpolation": "bicubic"}
"""Pictures are resized to cover 85×64, of which the model sees 64×48."""


class TrainedModel(FakeModel):
    description = replace(
        DESCRIPTION, card=ImageCard.model_validate(CARD.model_dump() | {"preprocessing": STATED})
    )


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(), TrainedModel())) as client:
        ready = (client.get("/readyz").status_code == 200 for _ in range(10_000))
        assert any(ready), "the warm-up failed"
        yield client


def post(client: TestClient, path: str, content: bytes, **query: Any) -> Any:
    response = client.post(path, params=query, content=content, headers={"Content-Type": "image/png"})
    assert response.status_code == 200, response.text
    return response.json()


def test_the_model_says_how_pictures_are_resized(client: TestClient) -> None:
    assert client.get("/model").json()["preprocessing"] == STATED


def test_the_model_sees_what_the_training_would_have_shown(
    client: TestClient, cat: Image.Image, cat_png: bytes
) -> None:
    answer = post(client, "/explain", cat_png, values="true")
    resized = cat.resize((451 * 64 // 300, 64), Image.Resampling.BICUBIC)  # 96×64
    grey = np.asarray(resized.crop((16, 8, 80, 56)).convert("L"))
    np.testing.assert_array_equal(np.array(answer["input"]["pixels"])[..., 0], grey)
    logits = {score["index"]: score["logit"] for score in answer["scores"]}
    expected = logits_of((grey / 255 - MEAN)[None] / STD)
    np.testing.assert_allclose([logits[index] for index in range(4)], expected, rtol=1e-5)


def test_the_crop_is_in_whole_pixels_of_the_upload(client: TestClient, cat_png: bytes) -> None:
    scale = 451 / 96
    left, right = round(16 * scale), round(80 * scale)
    crop = post(client, "/predict", cat_png)["input"]["crop"]
    assert crop == {"left": left, "top": 38, "width": right - left, "height": 262 - 38}


def test_values_are_the_map_to_the_last_bit(client: TestClient, cat_png: bytes) -> None:
    values = post(client, "/explain", cat_png, target="1", values="true")["relevance"]["values"]
    png = {"Content-Type": "image/png"}
    response = client.post("/explain?target=1&format=npy", content=cat_png, headers=png)
    np.testing.assert_array_equal(np.array(values, np.float32), np.load(io.BytesIO(response.content)))


def test_a_picture_of_the_models_size_can_be_shown_as_it_is(client: TestClient) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    for fit, cropped in (("stretch", False), ("crop", True)):
        answer = post(client, "/explain", encode(Image.fromarray(levels)), fit=fit, values="true")
        assert (answer["input"]["crop"]["width"] < 64) == cropped
        assert np.array_equal(np.array(answer["input"]["pixels"])[..., 0], levels) != cropped


def test_tensors_are_the_models_input_and_are_not_cropped(client: TestClient) -> None:
    pixels = np.random.default_rng(0).random((1, 48, 64), np.float32)
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 48, 64], "data": pixels.ravel().tolist()}
    response = client.post("/v2/models/quadrants/infer", json={"inputs": [tensor]})
    logits = next(one["data"] for one in response.json()["outputs"] if one["name"] == "logits")
    np.testing.assert_allclose(logits, logits_of((pixels - MEAN) / STD), rtol=1e-5)
