"""Adding of networks: what is stored computes what the module does, and what cannot be served leaves nothing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from app.errors import GraphError, SourceError
from app.lrp.attribution import Batch
from app.lrp.engine.engine import Engine
from app.models.adding import add, check_name
from app.models.bounds import pixel_bounds
from app.models.card_file import read_card
from app.models.checkpoint import load, load_image
from app.models.image_card import Normalisation
from app.models.sources.image_input import ImageInput
from app.models.sources.protocol import SourceModel

NORMALISATION = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class Residual(nn.Module):
    """A convolution with a residual sum, batch norms, and a dense layer with a bias."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 8, 8) -> (B, classes)."""
        x = self.norm(self.first(x)).relu()
        x = (x + self.second(x)).relu()
        y: Tensor = self.head(x.mean((2, 3)))
        return y


def source(network: nn.Module | torch.export.ExportedProgram, side: int = 8) -> SourceModel:
    return SourceModel(network, "Residual", ImageInput((3, side, side), NORMALISATION), None)


@pytest.fixture
def network() -> Residual:
    torch.manual_seed(0)
    made = Residual().eval()
    nn.init.uniform_(made.norm.running_mean)  # type: ignore[arg-type] # batch norms have them unless told otherwise
    nn.init.uniform_(made.norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    return made


def test_what_is_stored_computes_what_the_module_does(network: Residual, tmp_path: Path) -> None:
    added = add(source(network), "mine", tmp_path)
    model, card = load_image(added.path)
    assert (card.name, card.classes, card.input_size) == (
        "mine",
        ("class_0", "class_1", "class_2"),
        (3, 8, 8),
    )
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    scores = Engine(model, *pixel_bounds(card.normalisation)).run(Batch(x, (), ())).logits
    torch.testing.assert_close(scores, network(x), rtol=1e-4, atol=1e-5)


def test_an_exported_program_is_added_like_its_module(network: Residual, tmp_path: Path) -> None:
    program = torch.export.export(network, (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: Dim.AUTO},))
    add(source(program), "exported", tmp_path)
    add(source(network), "module", tmp_path)
    (exported, _), (module, _) = load(tmp_path / "exported"), load(tmp_path / "module")
    assert [node.op for node in exported.graph] == [node.op for node in module.graph]
    assert {name: tensor.shape for name, tensor in exported.weights.items()} == {
        name: tensor.shape for name, tensor in module.weights.items()
    }


def test_layers_are_reported_with_their_rule_and_what_they_absorb(network: Residual, tmp_path: Path) -> None:
    with torch.no_grad():
        network.head.bias.add_(2)  # absorbs part of the relevance under the rule ε
    layers = {layer.name: layer for layer in add(source(network), "mine", tmp_path).layers}
    assert (layers["first"].operation, layers["first"].rule) == ("conv2d", "flat")
    assert layers["second"].rule == "z_plus"
    assert layers["head"].rule == "epsilon(epsilon=1e-06)"
    x = ImageInput((3, 8, 8), NORMALISATION).random_batches()[-1]  # the picture that `add` takes
    with torch.no_grad():
        logits = network(x)[0]
        bias = network.head.bias[logits.argmax()]
        share = float(bias / logits.max())
    assert layers["head"].absorbed == pytest.approx(share, rel=1e-3)


def test_nothing_but_the_model_is_left_in_the_folder(network: Residual, tmp_path: Path) -> None:
    add(source(network), "mine", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "card.json",
        "graph.json",
        "weights.safetensors",
    ]
    assert set(json.loads((tmp_path / "mine" / "card.json").read_text())["files"]) == {
        "graph.json",
        "weights.safetensors",
    }


class Unsupported(Residual):
    """Has two operations that relevance cannot pass."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 8, 8) -> (B, 3)."""
        y: Tensor = super().forward(x).cumsum(1).erf()
        return y


class TwoInputs(nn.Module):
    """Needs two pictures."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(B, 3, 8, 8), the same -> (B, 3)."""
        return (x + other).mean((2, 3))


class Map(nn.Module):
    """Returns a map of scores, not one a class."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 8, 8) -> (B, 3, 8, 8)."""
        return x.relu()


def not_finite() -> nn.Module:
    network = Residual()
    with torch.no_grad():
        network.head.weight[0, 0] = float("nan")
    return network


def overflowing() -> nn.Module:
    network = Residual()
    with torch.no_grad():
        network.head.weight.fill_(3e38)
    return network


def fixed_batch() -> torch.export.ExportedProgram:
    return torch.export.export(Residual().eval(), (torch.randn(2, 3, 8, 8),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Unsupported, r"(?s)not supported:\n- aten\.cumsum.*\n- aten\.erf.*test_adding\.py:\d+"),
        (TwoInputs, "input"),
        (Map, r"must return logits of shape \(B, C\)"),
        (fixed_batch, "fixed batch size 2"),
        (not_finite, "not finite"),
        (overflowing, "not finite"),
        (lambda: nn.Sequential(Residual(), nn.Softmax(1)), "ends in softmax: .* returns logits"),
        (lambda: nn.Sequential(Residual(), nn.Sigmoid(), nn.Flatten()), "ends in sigmoid"),
        (lambda: Residual(1), "it must have one for each of at least two classes"),
    ],
)
def test_networks_that_cannot_be_served_are_refused_and_leave_nothing(
    make: Callable[[], nn.Module], message: str, tmp_path: Path
) -> None:
    with pytest.raises((SourceError, GraphError), match=message):
        add(source(make()), "mine", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_wrong_number_of_classes_is_refused(network: Residual, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="2 names, but the network has 3 classes"):
        add(replace(source(network), classes=("cat", "dog")), "mine", tmp_path)


def test_an_unknown_normalisation_is_refused(network: Residual, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="give --mean and --std"):
        add(replace(source(network), input=ImageInput((3, 8, 8))), "mine", tmp_path)


def test_a_normalisation_of_other_channels_is_refused(network: Residual, tmp_path: Path) -> None:
    grey = Normalisation(mean=(0.5,), std=(0.25,))
    with pytest.raises(SourceError, match="a mean and a std for each of 3 channels"):
        add(replace(source(network), input=ImageInput((3, 8, 8), grey)), "mine", tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine-lrp", "must not end in -lrp"),
        ("../mine", "letters, digits"),
        ("", "letters, digits"),
        ("taken", "has a model of that name"),
        ("renamed", "has a model of that name"),
    ],
)
def test_names_that_cannot_be_used_are_refused(
    network: Residual, name: str, message: str, tmp_path: Path
) -> None:
    add(source(network), "taken", tmp_path)
    card = read_card(tmp_path / "taken" / "card.json")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "card.json").write_text(
        card.model_copy(update={"name": "renamed"}).model_dump_json()
    )
    with pytest.raises(SourceError, match=message):
        check_name(name, tmp_path)
