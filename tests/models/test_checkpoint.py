"""Weights are loaded with their card, and refused if they do not match it."""

import hashlib
import json
import re
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from app.errors import RefusedToStartError
from app.models.architectures.minivgg import MiniVGG
from app.models.card import Normalisation, read_card
from app.models.checkpoint import dropout_rates, load, save, write_card
from app.settings import shipped_model

NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
        ((0.1, 0.2), r"card\.json: dropout has 2 probabilities, and MiniVGG has 3"),
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
    weights = card.with_name("weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RefusedToStartError, match=r"weights\.safetensors.*SHA-256"):
        load(card)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    card = save_tiny(tmp_path)
    weights = card.with_name("weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(RefusedToStartError, match="damaged"):
        load(card)


def test_non_finite_weights_are_refused(tmp_path: Path) -> None:
    model = MiniVGG(2)
    with torch.no_grad():
        model.get_parameter("classifier.4.bias")[0] = float("nan")
    with pytest.raises(RefusedToStartError, match=r"classifier\.4\.bias"):
        load(save_tiny(tmp_path, model))


def replace_weights(card: Path, content: bytes) -> None:
    """Write other weights, and their hash into the card."""
    card.with_name("weights.safetensors").write_bytes(content)
    fields = json.loads(card.read_text())
    fields["files"]["weights.safetensors"] = hash_of(content)
    card.write_text(json.dumps(fields))


def without(name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in MiniVGG(2).state_dict().items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (without("features.3.weight"), r"not the weights.*features\.3\.weight"),
        (MiniVGG(2).state_dict() | {"features.99.weight": torch.zeros(1)}, r"not the weights.*features\.99"),
        (
            MiniVGG(2).state_dict() | {"features.0.bias": torch.zeros(33)},
            r"not the weights.*features\.0\.bias",
        ),
        (MiniVGG(2).state_dict() | {"features.0.bias": torch.full((32,), torch.inf)}, r"features\.0\.bias"),
        ({}, "not the weights"),
    ],
    ids=["missing", "unknown", "of another shape", "infinite", "none"],
)
def test_weights_that_do_not_fit_are_refused_by_file_and_tensor(
    tmp_path: Path, tensors: dict[str, Tensor], message: str
) -> None:
    card = save_tiny(tmp_path)
    replace_weights(card, safetensors.torch.save(tensors))
    with pytest.raises(RefusedToStartError, match=rf"weights\.safetensors: .*{message}") as refused:
        load(card)
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 100, b"\x02" + bytes(7) + b"{}" + bytes(9)])
def test_a_file_that_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    card = save_tiny(tmp_path)
    replace_weights(card, content)
    with pytest.raises(RefusedToStartError, match=r"weights\.safetensors: not a safetensors file"):
        load(card)


def test_numbers_of_a_type_that_torch_does_not_have_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"features.0.bias": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    card = save_tiny(tmp_path)
    replace_weights(card, struct.pack("<Q", len(header)) + header + b"\0")
    with pytest.raises(RefusedToStartError, match=r"weights\.safetensors: holds numbers of type 'F4'"):
        load(card)


@pytest.mark.parametrize("kind", ["text", "table"])
def test_a_model_of_a_kind_that_cannot_be_served_is_refused(tmp_path: Path, kind: str) -> None:
    card = save_tiny(tmp_path)
    card.write_text(json.dumps(json.loads(card.read_text()) | {"kind": kind}))
    with pytest.raises(RefusedToStartError, match=rf"card\.json: only models of kind image.*{kind}"):
        load(card)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match="not the weights"):
        load(save_tiny(tmp_path, MiniVGG(3)))


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"name": "x"}', "[" * 100_000])
def test_an_incomplete_card_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(RefusedToStartError, match=r"card\.json"):
        load(tmp_path / "card.json")


@pytest.mark.parametrize(
    "name", ["../outside.json", "a/b.json", "/etc/hostname", "..", ".", "", "a\\b", "\0", "a\nb/../c"]
)
def test_a_card_cannot_list_a_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.json").write_bytes(b"{}")
    card = save_tiny(tmp_path)
    content = json.loads(card.read_text())
    content["files"][name] = hash_of(b"{}")
    card.write_text(json.dumps(content))
    with pytest.raises(RefusedToStartError, match="files") as refused:
        load(card)
    assert repr(name) in refused.value.detail


def add_file(card: Path, name: str, content: bytes) -> None:
    """Write a file beside the card, and list it there."""
    card.with_name(name).write_bytes(content)
    fields = json.loads(card.read_text())
    fields["files"][name] = hash_of(content)
    card.write_text(json.dumps(fields))


def test_every_file_that_the_card_lists_is_verified(tmp_path: Path) -> None:
    card = save_tiny(tmp_path)
    add_file(card, "labels.txt", b"yes, no")
    load(card)
    card.with_name("labels.txt").write_bytes(b"no, yes")
    with pytest.raises(RefusedToStartError, match=r"labels\.txt: its SHA-256"):
        load(card)
    card.with_name("labels.txt").unlink()
    with pytest.raises(RefusedToStartError, match=r"labels\.txt: cannot be read"):
        load(card)


def test_a_file_that_the_card_does_not_list_is_not_read(tmp_path: Path) -> None:
    card = save_tiny(tmp_path)
    card.with_name("graph.json").write_bytes(b"nonsense")
    load(card)


@pytest.mark.parametrize("path", ["models/tiny", "models/tiny/card.json", "models/tiny.json"])
def test_a_model_is_named_by_its_folder_its_card_or_the_card_of_version_0_1(
    tmp_path: Path, path: str
) -> None:
    save_tiny(tmp_path / "models")
    assert load(tmp_path / path)[1].name == "tiny"


def test_files_of_two_models_do_not_replace_each_other(tmp_path: Path) -> None:
    one, two = (
        save(MiniVGG(2), tmp_path, name=name, classes=("a", "b"), normalisation=NORMALISATION)
        for name in ("one", "two")
    )
    assert (load(one)[1].name, load(two)[1].name) == ("one", "two")


OF_VERSION_0_1 = """
{
 "name": "fruit",
 "architecture": "MiniVGG",
 "classes": ["ripe", "unripe", "bad"],
 "normalisation": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]},
 "weights": "%s.safetensors",
 "sha256": "%s",
 "training": null
}
"""


def write_0_1(folder: Path, model: MiniVGG, stem: str = "fruit") -> Path:
    """Write card and weights as version 0.1 did; return the card's path."""
    content = safetensors.torch.save(model.state_dict())
    (folder / f"{stem}.safetensors").write_bytes(content)
    card = folder / f"{stem}.json"
    card.write_text(OF_VERSION_0_1 % (stem, hash_of(content)))
    return card


def test_a_card_of_version_0_1_is_loaded(tmp_path: Path) -> None:
    written = MiniVGG(3).eval()
    model, card = load(write_0_1(tmp_path, written, "my fruit"))
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(x), written(x))
    assert card.name == "fruit"
    assert card.classes == ("ripe", "unripe", "bad")
    assert card.version == hash_of((tmp_path / "my fruit.safetensors").read_bytes())[:12]


def test_a_card_of_version_0_1_may_be_written_again(tmp_path: Path) -> None:
    path = write_0_1(tmp_path, MiniVGG(3))
    before = read_card(path)
    write_card(before, path)
    assert load(path)[1] == before


def test_a_card_of_version_0_1_is_preferred_to_a_folder_of_its_name(tmp_path: Path) -> None:
    save(MiniVGG(2), tmp_path, name="fruit", classes=("a", "b"), normalisation=NORMALISATION)
    assert load(write_0_1(tmp_path, MiniVGG(3)))[1].classes == ("ripe", "unripe", "bad")


def test_damaged_weights_of_version_0_1_are_refused_by_name(tmp_path: Path) -> None:
    card = write_0_1(tmp_path, MiniVGG(3))
    with card.with_suffix(".safetensors").open("ab") as weights:
        weights.write(b"\0")
    with pytest.raises(RefusedToStartError, match=r"fruit\.safetensors: its SHA-256.*fruit\.json"):
        load(card)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "../fruit.safetensors"}, "files: '../fruit.safetensors'"),
        ({"weights": "fruit.pt"}, r"files: .*\.safetensors"),
        ({"weights": "gone.safetensors"}, r"gone\.safetensors: cannot be read"),
        ({"weights": ["fruit.safetensors"]}, "files"),
        ({"weights": None}, "files"),
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"sha256": "0" * 63}, r"files\.fruit\.safetensors"),
        ({"sha256": 0}, "files"),
    ],
)
def test_an_invalid_card_of_version_0_1_is_refused_in_one_line(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    card = write_0_1(tmp_path, MiniVGG(3))
    card.write_text(json.dumps(json.loads(card.read_text()) | fields))
    with pytest.raises(RefusedToStartError, match=message) as refused:
        load(card)
    assert str(tmp_path) in refused.value.detail
    assert "\n" not in refused.value.detail


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
        ({"name": "tiny-lrp"}, "name: must not end in -lrp"),
        ({"name": "../tiny"}, "name"),
        ({"files": {}}, r"files: must list one file \*\.safetensors"),
        ({"files": {"tiny.pt": "0" * 64}}, r"files: must list one file \*\.safetensors"),
        ({"files": {"a.safetensors": "0" * 64, "b.safetensors": "0" * 64}}, "files: must list one file"),
        ({"files": {"gone.safetensors": "0" * 64}}, "gone.safetensors: cannot be read"),
        ({"files": {"weights.safetensors": "0" * 64}}, "SHA-256"),
        ({"files": {"weights.safetensors": "damaged"}}, "weights.safetensors"),
        ({"files": ["weights.safetensors"]}, "files"),
        ({"weights": "weights.safetensors", "sha256": "0" * 64}, "weights"),
        ({"architecture": "VGG16"}, "VGG16"),
        ({"input_size": [3, 64, 64]}, "64"),
        ({"input_size": [2, 32, 32]}, "input_size"),
        ({"input_size": [3, 32, 0]}, "input_size"),
        ({"normalisation": {"mean": [0], "std": [1]}}, "a mean and a std for each of 3 channels"),
        ({"normalisation": {"mean": [0, 0, 0], "std": [1]}}, "a mean and a std for each of 3 channels"),
        ({"normalisation": {"mean": [0], "std": [1]}, "input_size": [1, 32, 32]}, "can be served"),
        ({"colour": "blue"}, "colour"),
        ({"kind": "sound"}, "kind"),
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
    weights = save_tiny(tmp_path).with_name("weights.safetensors")
    with pytest.raises(RefusedToStartError, match="not a model card"):
        load(weights)
    with pytest.raises(RefusedToStartError, match="cannot be read"):
        load(tmp_path)


def test_the_version_is_the_start_of_the_weights_hash(tmp_path: Path) -> None:
    path = save_tiny(tmp_path)
    assert load(path)[1].version == hash_of(path.with_name("weights.safetensors").read_bytes())[:12]


def test_the_version_of_a_model_with_its_own_graph_depends_on_all_files_and_the_preprocessing(
    tmp_path: Path,
) -> None:
    path = save_tiny(tmp_path)
    add_file(path, "graph.json", b"{}")
    card = read_card(path)
    others = [
        card.model_copy(update={"files": card.files | {"graph.json": hash_of(b"[]")}}),
        card.model_copy(update={"files": card.files | {"weights.safetensors": hash_of(b"")}}),
        card.model_copy(update={"files": card.files | {"labels.txt": hash_of(b"")}}),
        card.model_copy(update={"normalisation": Normalisation(mean=(0.5, 0.5, 0.4), std=(0.2, 0.2, 0.2))}),
        card.model_copy(update={"input_size": (3, 32, 40)}),
    ]
    assert len({one.version for one in (card, *others)}) == 6
    assert all(re.fullmatch("[0-9a-f]{12}", one.version) for one in (card, *others))
    renamed = card.model_copy(update={"name": "other", "files": dict(reversed(card.files.items()))})
    assert renamed.version == card.version
