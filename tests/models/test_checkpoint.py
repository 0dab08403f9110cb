"""Weights are loaded with their card, and refused if they do not match it."""

import hashlib
import json
import math
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from tracing import traced

from app.errors import RefusedToStartError
from app.lrp.attribution import Batch
from app.lrp.engine.engine import Engine
from app.lrp.graph.graph import MAX_NODES, Node, to_json
from app.lrp.graph.rates import dropout_rates
from app.lrp.graph.traced import TracedModel
from app.models.architectures.minivgg import MiniVGG
from app.models.card_file import read_card
from app.models.checkpoint import load, load_image, load_module, save, save_traced, write_card
from app.models.image_card import Normalisation
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
    loaded, card = load_image(save_tiny(tmp_path, model))
    assert card.classes == ("yes", "no")
    assert card.normalisation == NORMALISATION
    assert loaded.weights.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in model.state_dict().items())
    assert loaded.graph.output.shape == ("B", 2)


def test_dropout_layers_get_the_probabilities_on_the_card(tmp_path: Path) -> None:
    model, card = load(save_tiny(tmp_path, dropout=(0.0, 0.25, 0.5)))
    assert card.dropout == (0.0, 0.25, 0.5)
    assert dropout_rates(model.graph) == (0.0, 0.25, 0.5)
    assert model.graph.by_name["features.2"].description == "Dropout(p=0.0, inplace=False)"


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


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "text: Field required"),
        ("table", "table: Field required"),
        ("sound", "kind: 'sound' is none of"),
    ],
)
def test_a_card_without_what_its_kind_needs_is_refused(tmp_path: Path, kind: str, words: str) -> None:
    card = save_tiny(tmp_path)
    card.write_text(json.dumps(json.loads(card.read_text()) | {"kind": kind}))
    with pytest.raises(RefusedToStartError, match=rf"card\.json: not a model card: {words}"):
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
    model, card = load_module(write_0_1(tmp_path, written, "my fruit"))
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
    tmp_path: Path, fields: dict[str, Any], message: str
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
    tmp_path: Path, fields: dict[str, Any], message: str
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


# A model with its own graph


class Branches(nn.Module):
    """(B, 1, 4, 6) -> (B, 2)"""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop, self.head = nn.Conv2d(1, 1, 3, padding=1), nn.Dropout(0.2), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(x + self.body(x)).flatten(1))
        return logits


def save_branches(folder: Path, **fields: Any) -> Path:
    model = traced(Branches(), 1, 4, 6)
    card: dict[str, Any] = {
        "architecture": "Branches",
        "classes": ("yes", "no"),
        "normalisation": Normalisation(mean=(0.5,), std=(0.2,)),
        "input_size": (1, 4, 6),
    }
    return save_traced(model, folder, name="branches", **{**card, **fields})


def test_a_graph_is_stored_and_loaded_with_its_weights_and_dropout(tmp_path: Path) -> None:
    path = save_branches(tmp_path)
    assert path == tmp_path / "branches" / "card.json"
    model, card = load(path)
    assert card.files.keys() == {"weights.safetensors", "graph.json"}
    assert card.dropout == (0.2,)
    assert to_json(model.graph) == path.with_name("graph.json").read_text()
    module = Branches().eval()
    module.load_state_dict(dict(model.weights))
    x = torch.rand(3, 1, 4, 6)
    logits = Engine(model, torch.tensor(0.0), torch.tensor(1.0)).run(Batch(x, (), ())).logits
    torch.testing.assert_close(logits, module(x))


def test_other_dropout_on_the_card_replaces_that_of_the_graph(tmp_path: Path) -> None:
    model, _ = load(save_branches(tmp_path, dropout=(0.5,)))
    assert dropout_rates(model.graph) == (0.5,)


def test_weights_that_share_memory_are_stored_apart(tmp_path: Path) -> None:
    model = traced(Branches(), 1, 4, 6)
    shared = {"head.bias": torch.ones(4)[:2], "body.bias": torch.ones(4)[2:3]}
    model = replace(model, weights={**model.weights, **shared})
    fields: dict[str, Any] = {
        "classes": ("a", "b"),
        "normalisation": Normalisation(mean=(0,), std=(1,)),
        "input_size": (1, 4, 6),
    }
    loaded, _ = load(save_traced(model, tmp_path, name="shared", architecture="", **fields))
    assert all(torch.equal(loaded.weights[name], tensor) for name, tensor in model.weights.items())


def replace_graph(card: Path, content: bytes) -> None:
    card.with_name("graph.json").write_bytes(content)
    fields = json.loads(card.read_text())
    fields["files"]["graph.json"] = hash_of(content)
    card.write_text(json.dumps(fields))


def edited(card: Path, old: str, new: str) -> bytes:
    text = card.with_name("graph.json").read_text()
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"format": 2}', b"null"])
def test_a_file_that_is_no_graph_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    card = save_branches(tmp_path)
    replace_graph(card, content)
    with pytest.raises(RefusedToStartError, match=r"branches/graph\.json: ") as refused:
        load(card)
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize(
    ("old", "new", "file", "message"),
    [
        ('"op": "add"', '"op": "exec"', "graph", "node 'add': there is no operation 'exec'"),
        ('"inputs": ["input"]', '"inputs": ["head"]', "graph", "node 'body' reads 'head'"),
        (
            '"input_shape": ["B", 1, 4, 6]',
            '"input_shape": ["B", 1, 4, 7]',
            "graph",
            "takes .*7.*it takes .*6",
        ),
        ('"shape": ["B", 2]', '"shape": ["B", 3]', "graph", "gives .*3.*gives .*2"),
        ("head.bias", "head.bias2", "weights", "head.bias2 is missing"),
        ('"bias": "body.bias"', '"bias": "head.bias"', "weights", r"body\.bias is not of this network"),
        ('"padding": [1, 1]', '"padding": [2, 2]', "weights", r"body\.weight .* needs \(1, 1, 5, 5\)"),
        ('"stride": [1, 1]', '"stride": []', "weights", "node 'body': its shapes and attributes do not fit"),
        (
            '"stride": [1, 1]',
            '"stride": [0, 0]',
            "weights",
            "node 'body': its shapes and attributes do not fit",
        ),
        ('"groups": 1', '"groups": 0', "weights", "node 'body': its shapes and attributes do not fit"),
    ],
)
def test_a_damaged_graph_is_refused_by_file_and_node(
    tmp_path: Path, old: str, new: str, file: str, message: str
) -> None:
    card = save_branches(tmp_path)
    replace_graph(card, edited(card, old, new))
    with pytest.raises(RefusedToStartError, match=rf"branches/{file}\..*: .*{message}") as refused:
        load(card)
    assert "\n" not in refused.value.detail


def test_a_graph_of_too_many_nodes_is_refused(tmp_path: Path) -> None:
    card = save_branches(tmp_path)
    node = '{"name": "%d", "op": "relu", "inputs": ["input"], "shape": ["B", 1, 4, 6]},'
    many = "".join(node % number for number in range(MAX_NODES))
    replace_graph(card, edited(card, '"nodes": [', f'"nodes": [{many}'))
    with pytest.raises(RefusedToStartError, match=f"nodes; there may be {MAX_NODES}"):
        load(card)


def test_a_changed_graph_is_refused(tmp_path: Path) -> None:
    card = save_branches(tmp_path)
    path = card.with_name("graph.json")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RefusedToStartError, match=r"graph\.json: its SHA-256"):
        load(card)


@pytest.mark.parametrize(("value", "is_refused"), [(math.nan, True), (-math.inf, False), (math.inf, True)])
def test_only_masks_may_be_infinite(tmp_path: Path, value: float, *, is_refused: bool) -> None:
    mask = Node("mask", "constant", (), (2,), {}, {"value": "mask"})
    model = traced(Branches(), 1, 4, 6)
    output = Node("masked", "add", ("head", "mask"), ("B", 2))
    graph = replace(model.graph, nodes=(mask, *model.graph.nodes, output))
    model = TracedModel(graph, {**model.weights, "mask": torch.tensor([0.0, value])})
    fields: dict[str, Any] = {
        "classes": ("a", "b"),
        "normalisation": Normalisation(mean=(0,), std=(1,)),
        "input_size": (1, 4, 6),
    }
    path = save_traced(model, tmp_path, name="masked", architecture="", **fields)
    if is_refused:
        with pytest.raises(RefusedToStartError, match="mask holds values that are not finite"):
            load(path)
    else:
        load(path)


def test_a_network_that_is_no_architecture_of_the_project_cannot_be_trained_further(tmp_path: Path) -> None:
    with pytest.raises(RefusedToStartError, match="architecture Branches; only MiniVGG can be trained"):
        load_module(save_branches(tmp_path))
