"""Weights that are not what their card says are refused."""

import json
from pathlib import Path

import pytest
import torch

from app.errors import RefusedToStartError
from app.models.checkpoint import Normalisation, load, save
from app.models.minivgg import MiniVGG

NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def saved(folder: Path, model: MiniVGG | None = None, classes: tuple[str, ...] = ("yes", "no")) -> Path:
    model = model or MiniVGG(2)
    return save(model, folder, name="tiny", classes=classes, normalisation=NORMALISATION)


def test_what_is_saved_is_loaded_with_its_own_classes(tmp_path: Path) -> None:
    model = MiniVGG(2)
    loaded, card = load(saved(tmp_path, model))
    assert card.classes == ("yes", "no")
    assert card.normalisation == NORMALISATION
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert not loaded.training


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    card = saved(tmp_path)
    weights = card.with_suffix(".safetensors")
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RefusedToStartError, match=r"tiny\.safetensors.*SHA-256"):
        load(card)


def test_truncated_weights_are_noticed(tmp_path: Path) -> None:
    card = saved(tmp_path)
    weights = card.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(RefusedToStartError, match="damaged"):
        load(card)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = MiniVGG(2)
    with torch.no_grad():
        model.get_parameter("classifier.4.bias")[0] = float("nan")
    with pytest.raises(RefusedToStartError, match=r"classifier\.4\.bias"):
        load(saved(tmp_path, model))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match="not the weights"):
        load(saved(tmp_path, MiniVGG(3)))


@pytest.mark.parametrize("text", ["", "{", "{}", '{"name": "x"}'])
def test_a_broken_card_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(RefusedToStartError, match=r"card\.json"):
        load(tmp_path / "card.json")


def test_a_card_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    card = saved(tmp_path)
    content = json.loads(card.read_text()) | {"weights": "../tiny.safetensors"}
    card.write_text(json.dumps(content))
    with pytest.raises(RefusedToStartError, match="weights"):
        load(card)


def test_a_missing_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match="cannot be read"):
        load(tmp_path / "nothing.json")
