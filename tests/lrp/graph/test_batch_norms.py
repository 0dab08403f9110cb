import pytest
import torch
from graph_oracle import Network, operations, traced
from torch import nn


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), (4, 5, 5)),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), (4, 5, 5)),
        (nn.Conv1d(4, 6, 3, stride=2), nn.BatchNorm1d(6), (4, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_batch_norm_is_merged_into_the_convolution_before_it(
    layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]
) -> None:
    model = traced(nn.Sequential(layer, norm, nn.Flatten()), *shape)
    assert [node.name for node in model.graph] == ["0", "2"]
    assert set(model.weights) == {"0.weight", "0.bias"}


def test_a_batch_norm_is_merged_into_the_dense_layer_before_it() -> None:
    model = traced(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU()), 4)
    assert [node.name for node in model.graph] == ["0", "2"]


def test_a_batch_norm_over_the_middle_axis_is_not_merged_into_a_dense_layer() -> None:
    model = traced(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(3), nn.Flatten()), 3, 4)
    assert operations(model) == ["linear", "batch_norm", "reshape"]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3), (4, 5, 5)),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), (4, 5, 5)),
        (nn.Conv2d(4, 4, 3, groups=4), (4, 5, 5)),
        (nn.Linear(4, 6), (4,)),
    ],
    ids=repr,
)
def test_a_batch_norm_is_merged_into_the_layer_after_it(layer: nn.Module, shape: tuple[int, ...]) -> None:
    norm = nn.BatchNorm2d(4) if len(shape) == 3 else nn.BatchNorm1d(4)
    model = traced(nn.Sequential(nn.ReLU(), norm, layer, nn.Flatten()), *shape)
    assert operations(model)[1] == layer.__class__.__name__.lower()
    assert "batch_norm" not in operations(model)


def test_a_batch_norm_with_shift_stays_before_a_convolution_with_padding() -> None:
    module = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1), nn.Flatten())
    assert operations(traced(module, 2, 4, 4)) == ["batch_norm", "conv2d", "reshape"]


def test_a_batch_norm_of_a_value_with_several_readers_stays() -> None:
    network = Network(
        lambda self, x: (self.call("conv", x) + self.call("norm", self.call("conv", x))).flatten(1),
        conv=nn.Conv2d(2, 2, 1),
        norm=nn.BatchNorm2d(2),
    )
    model = traced(network, 2, 3, 3)
    assert operations(model) == ["conv2d", "conv2d", "add", "reshape"]
    conv = network.conv
    assert isinstance(conv, nn.Conv2d)
    torch.testing.assert_close(model.weights["conv.weight"], conv.weight.detach())  # the other reader's

    def once(self: Network, x: torch.Tensor) -> torch.Tensor:
        y = self.call("conv", x)
        return (y + self.call("norm", y)).flatten(1)

    assert operations(traced(Network(once, **dict(network.named_children())), 2, 3, 3)) == [
        "conv2d",
        "batch_norm",
        "add",
        "reshape",
    ]
