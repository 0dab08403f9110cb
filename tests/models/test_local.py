"""A network that is not the chain of its layers is refused at load."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from app.errors import RefusedToStartError
from app.models.architectures.minivgg import MiniVGG
from app.models.card import ModelCard, Normalisation
from app.models.local import LocalModel

CPU = torch.device("cpu")
CARD = ModelCard(
    name="made-up",
    architecture="MadeUp",
    classes=("one", "other"),
    normalisation=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    input_size=(3, 8, 8),
    files={"weights.safetensors": "0" * 64},
)


class Chain(nn.Module):
    """A convolution, a batch norm, two more convolutions and a dense layer, registered in that order."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.flatten, self.dense = nn.Flatten(), nn.Linear(4 * 8 * 8, 2)
        self.norm.running_mean, self.norm.running_var = torch.randn(4), torch.rand(4) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        dense: Tensor = self.dense(self.flatten(self.inner(self.relu(self.norm(self.stem(x))))))
        return dense


class Residual(Chain):
    """All of its operations but the sum are modules, so that only its numbers tell it from a chain."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        dense: Tensor = self.dense(self.flatten(x + self.inner(x)))
        return dense


class Functional(Chain):
    """Has an operation that is no module."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.inner(self.relu(self.norm(self.stem(x)))))
        dense: Tensor = self.dense(self.flatten(x))
        return dense


class Swapped(Chain):
    """Its layers do not run in the order in which they are registered."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.inner(self.norm(self.stem(x))))
        dense: Tensor = self.dense(self.flatten(x))
        return dense


class Downsampled(Chain):
    """Its layers do not even fit behind each other."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        dense: Tensor = self.dense(self.flatten(self.inner(self.relu(self.stem(x))) + self.shortcut(x)))
        return dense


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("network", [Residual, Functional, Swapped, Downsampled])
def test_a_network_that_is_no_chain_is_refused_by_name(network: type[Chain]) -> None:
    with pytest.raises(RefusedToStartError, match="made-up: running its layers one after another") as refused:
        LocalModel(network(), CARD, CPU)
    assert "\n" not in refused.value.detail


@pytest.mark.parametrize("inplace", [True, False])
def test_a_chain_with_a_folded_batch_norm_is_taken(*, inplace: bool) -> None:
    assert LocalModel(Chain(inplace=inplace), CARD, CPU).description.engine == "lrpserve"


def test_untrained_networks_are_taken_whatever_the_size_of_their_scores() -> None:
    card = CARD.model_copy(update={"input_size": MiniVGG.input_size})
    for scale in (1e-6, 1.0, 1e6):
        model = MiniVGG(2)
        with torch.no_grad():
            model.get_parameter("classifier.4.weight").mul_(scale)
        LocalModel(model, card, CPU)
