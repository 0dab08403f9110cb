"""The pictures of docs/deception.md are what the page says they are."""

import pytest
import torch
from torch import Tensor

from docs.make_deception import CHANGED_LEVELS, CORNER, MOVED_LEVELS, Network, change_class, move_map, photo


@pytest.fixture(scope="module")
def network() -> Network:
    return Network.shipped()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.from_numpy(photo().copy()).permute(2, 0, 1)[None].float()


def in_corner(network: Network, pixels: Tensor) -> float:
    """Share of the map's magnitude that lies in the corner, with its sign."""
    return float(network.map(pixels.clone().requires_grad_())[1][0, :CORNER, :CORNER].sum().detach())


def check_levels(changed: Tensor, pixels: Tensor, largest: int) -> None:
    assert torch.equal(changed, changed.round())
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255
    assert 0 < float((changed - pixels).abs().max()) <= largest


def test_the_map_moves_and_the_class_stays(network: Network, pixels: Tensor) -> None:
    moved = move_map(network, pixels, steps=15)
    check_levels(moved, pixels, MOVED_LEVELS)
    assert int(network(moved).argmax()) == int(network(pixels).argmax())
    assert in_corner(network, moved) > 2 * abs(in_corner(network, pixels))


def test_the_class_changes(network: Network, pixels: Tensor) -> None:
    changed = change_class(network, pixels)
    check_levels(changed, pixels, CHANGED_LEVELS)
    assert int(network(changed).argmax()) != int(network(pixels).argmax())
