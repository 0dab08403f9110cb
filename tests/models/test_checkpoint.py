"""Weights are loaded with their card, and refused if they do not match it."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from app.errors import RefusedToStartError
from app.models.architectures.minivgg import MiniVGG
from app.models.card import Normalisation
from app.models.checkpoint import dropout_rates, load, save
from app.settings import shipped_model

NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def save_tiny(
    folder: Path,
    model: MiniVGG | None = None,
    classes: tuple[str, ...] = ("yes", "no"),
    dropout: tuple[float, ...] | None = None,
) -> Path:
    model = model or MiniVGG(2)
    return save(model, folder, name="tiny", classes=classes, normalisation=NORMALISATION, dropout=dropout)


def test_saved_weights_are_loaded_with_their_classes(tmp_path: Path) -> None:
    model = MiniVGG(2)
    loaded, card = load(save_tiny(tmp_path, model))
    assert card.classes == ("yes", "no")
    assert card.normalisation == NORMALISATION
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert not loaded.training


def test_dropout_layers_get_the_probabilities_on_the_card(tmp_path: Path) -> None:
    model, card = load(save_tiny(tmp_path, dropout=(0.0, 0.25, 0.5)))
    assert card.dropout == (0.0, 0.25, 0.5)
    assert dropout_rates(model) == (0.0, 0.25, 0.5)


def test_a_card_without_dropout_leaves_it_unknown(tmp_path: Path) -> None:
    _, card = load(save_tiny(tmp_path))
    assert card.dropout is None


def test_the_shipped_card_has_the_dropout_of_its_recipe() -> None:
    _, card = load(shipped_model())
    assert card.training is not None
    assert list(card.dropout or ()) == card.training.recipe["dropout"]


@pytest.mark.parametrize(
    ("dropout", "message"),
    [
        ((0.1, 0.2), r"tiny\.json: dropout has 2 probabilities, and MiniVGG has 3"),
        ((0.1, 0.2, 1.0), "dropout"),
    ],
)
def test_a_card_with_other_dropout_than_the_networks_is_refused(
    tmp_path: Path, dropout: tuple[float, ...], message: str
) -> None:
    path = save_tiny(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "dropout": dropout}))
    with pytest.raises(RefusedToStartError, match=message):
        load(path)


def test_weights_with_a_flipped_bit_are_refused(tmp_path: Path) -> None:
    card = save_tiny(tmp_path)
    weights = card.with_suffix(".safetensors")
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RefusedToStartError, match=r"tiny\.safetensors.*SHA-256"):
        load(card)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    card = save_tiny(tmp_path)
    weights = card.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(RefusedToStartError, match="damaged"):
        load(card)


def test_non_finite_weights_are_refused(tmp_path: Path) -> None:
    model = MiniVGG(2)
    with torch.no_grad():
        model.get_parameter("classifier.4.bias")[0] = float("nan")
    with pytest.raises(RefusedToStartError, match=r"classifier\.4\.bias"):
        load(save_tiny(tmp_path, model))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match="not the weights"):
        load(save_tiny(tmp_path, MiniVGG(3)))


@pytest.mark.parametrize("text", ["", "{", "{}", '{"name": "x"}'])
def test_an_incomplete_card_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(RefusedToStartError, match=r"card\.json"):
        load(tmp_path / "card.json")


def test_a_card_cannot_refer_to_a_file_outside_its_folder(tmp_path: Path) -> None:
    card = save_tiny(tmp_path)
    content = json.loads(card.read_text()) | {"weights": "../tiny.safetensors"}
    card.write_text(json.dumps(content))
    with pytest.raises(RefusedToStartError, match="weights"):
        load(card)


def test_a_missing_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match="cannot be read"):
        load(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ["yes", "yes"]}, "classes"),
        ({"classes": ["yes", "no", "maybe"]}, "not the weights"),
        ({"normalisation": {"mean": [float("nan"), 0, 0], "std": [1, 1, 1]}}, "mean"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, "std"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1, 1, float("inf")]}}, "std"),
        ({"weights": "/etc/tiny.safetensors"}, "weights"),
        ({"weights": "tiny.pt"}, "weights"),
        ({"weights": "\0.safetensors"}, "weights"),
        ({"weights": "gone.safetensors"}, "gone.safetensors: cannot be read"),
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"architecture": "VGG16"}, "VGG16"),
        ({"input_size": [3, 64, 64]}, "64"),
        ({"input_size": [2, 32, 32]}, "input_size"),
        ({"input_size": [3, 32, 0]}, "input_size"),
        ({"normalisation": {"mean": [0], "std": [1]}}, "a mean and a std for each of 3 channels"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1]}}, "a mean and a std for each of 3 channels"),
        ({"normalisation": {"mean": [0], "std": [1]}, "input_size": [1, 32, 32]}, "can be served"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_an_invalid_field_of_a_card_is_refused_in_one_line(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    card = save_tiny(tmp_path)
    card.write_text(json.dumps(json.loads(card.read_text()) | fields))
    with pytest.raises(RefusedToStartError, match=message) as refused:
        load(card)
    assert str(tmp_path) in refused.value.detail
    assert "\n" not in refused.value.detail


def test_a_card_that_is_not_text_is_refused(tmp_path: Path) -> None:
    weights = save_tiny(tmp_path).with_suffix(".safetensors")
    with pytest.raises(RefusedToStartError, match="not a model card"):
        load(weights)
    with pytest.raises(RefusedToStartError, match="cannot be read"):
        load(tmp_path)


def test_the_version_is_the_start_of_the_weights_hash(tmp_path: Path) -> None:
    card = load(save_tiny(tmp_path))[1]
    content = (tmp_path / card.weights).read_bytes()
    assert card.version == hashlib.sha256(content).hexdigest()[:12]
