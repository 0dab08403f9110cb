"""The preprocessing that a card states."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.modalities.image.spec import Resampling, TrainedResize
from app.models.image_card import ImageCard


def card(preprocessing: dict[str, Any] | None, input_size: tuple[int, int, int] = (3, 224, 224)) -> ImageCard:
    fields = {
        "name": "net",
        "architecture": "Net",
        "classes": ["cat", "dog"],
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
        "input_size": input_size,
        "files": {"net.safetensors": "0" * 64, "graph.json": "1" * 64},
    }
    return ImageCard.model_validate(
        fields | ({} if preprocessing is None else {"preprocessing": preprocessing})
    )


@pytest.mark.parametrize(
    ("stated", "input_size", "resize"),
    [
        ({"resize": 256}, (3, 224, 224), (256, 256, True)),
        ({"resize": [240, 256]}, (3, 224, 224), (256, 240, False)),
        ({"crop_pct": 0.875}, (3, 224, 224), (256, 256, True)),
        ({"crop_pct": 0.9}, (3, 224, 224), (248, 248, True)),  # 248.9
        ({"crop_pct": 1.0}, (3, 384, 384), (384, 384, True)),
        ({"crop_pct": 0.875}, (3, 224, 320), (365, 256, True)),
    ],
)
def test_pictures_are_resized_as_the_card_says(
    stated: dict[str, Any], input_size: tuple[int, int, int], resize: tuple[int, int, bool]
) -> None:
    spec = card(stated | {"interpolation": "bicubic"}, input_size).spec
    assert spec.resize == TrainedResize(*resize, Resampling.BICUBIC)


def test_a_card_without_preprocessing_says_none() -> None:
    assert card(None).spec.resize is None


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"resize": 223}, "223×223, from which the input's 224×224 are cropped"),
        ({"resize": [224, 200]}, "200×224"),
        ({"resize": 2049}, "resize"),
        ({"resize": [224]}, "resize"),
        ({"resize": 0}, "resize"),
        ({"crop_pct": 0.1}, "2240×2240"),
        ({"crop_pct": 0}, "crop_pct"),
        ({"crop_pct": 1.1}, "crop_pct"),
        ({"crop_pct": float("nan")}, "crop_pct"),
        ({}, "either resize or crop_pct"),
        ({"resize": 256, "crop_pct": 0.875}, "either resize or crop_pct"),
        ({"resize": 256, "interpolation": "area"}, "interpolation"),
        ({"resize": 256, "antialias": False}, "antialias"),
    ],
)
def test_preprocessing_that_cannot_be_done_is_refused(stated: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        card({"interpolation": "bilinear"} | stated)


def test_a_picture_must_cover_the_longer_side_of_the_input() -> None:
    with pytest.raises(ValidationError, match="320×224"):
        card({"resize": 256, "interpolation": "bilinear"}, (3, 224, 320))


def test_a_card_reads_what_it_wrote() -> None:
    for stated in ({"resize": [240, 256]}, {"resize": 256}, {"crop_pct": 0.875}):
        written = card(stated | {"interpolation": "lanczos"})
        assert ImageCard.model_validate_json(written.model_dump_json()) == written


def test_the_version_of_a_model_with_its_own_graph_depends_on_the_preprocessing() -> None:
    stated = [None, {"resize": 256}, {"resize": 232}, {"crop_pct": 0.875}]
    versions = {card(one and one | {"interpolation": "bilinear"}).version for one in stated}
    assert len(versions) == len(stated)
