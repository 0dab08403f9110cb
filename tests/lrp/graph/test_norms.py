"""Norms that are written out, against those of PyTorch, in float64."""

from collections.abc import Callable

import pytest
import torch
from graph_oracle import Network, operations, traced
from torch import Tensor, nn

from app.lrp.attribution import Attribution
from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.reference import Reference
from app.lrp.rules import ATTENTION_RULES, AttentionRule

EPS = 1e-3
Written = Callable[[Tensor], Tensor]


def variance(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + EPS).sqrt()


def squares(x: Tensor) -> Tensor:
    x = x - x.mean(-1, keepdim=True)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)


def product(x: Tensor) -> Tensor:
    x = x - x.mean(-1, True)
    return x * (1 / torch.sqrt(EPS + (x * x).mean(-1, True)))


def difference(x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / (x.square().mean(-1, keepdim=True) - mean**2 + EPS) ** 0.5


def both(x: Tensor) -> Tensor:
    var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return (x - mean) * (var + EPS).rsqrt()


def axes_dropped(x: Tensor) -> Tensor:
    return (x - x.mean(-1)[..., None]) / (x.var(-1, correction=0)[..., None] + EPS).sqrt()


def root_mean_square(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)


def quotient(x: Tensor) -> Tensor:
    return x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + EPS)


LAYER_NORMS = (variance, squares, product, difference, both, axes_dropped)
RMS_NORMS = (root_mean_square, quotient)


class Norm(nn.Module):
    """A norm that is written out, with gain and shift over its last axis."""

    def __init__(self, function: Written, width: int, has_bias: bool) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        z = self.weight * self.function(x)
        return z if self.bias is None else z + self.bias


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of pictures, as ConvNeXt's authors write it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + EPS)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class Permuted(nn.LayerNorm):
    """The same by PyTorch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def network(norm: nn.Module, *others: nn.Module) -> Network:
    """A network with random weights, those of the norm included; the same ones each time."""

    def run(self: Network, x: Tensor) -> Tensor:
        x = self.call("first", x)
        return self.call("last", torch.relu(x + self.call("norm", x)).flatten(1))

    first, last = others or (nn.Linear(6, 8), nn.Linear(4 * 8, 3))
    torch.manual_seed(0)
    module = Network(run, first=first, norm=norm, last=last).double()
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, 1.0 if name == "norm.weight" else 0.1, 0.5)
    return module


def explained(
    kind: type[Engine] | type[Reference], model: TracedModel, attention: AttentionRule
) -> Attribution:
    shape = tuple(size for size in model.graph.input_shape[1:] if isinstance(size, int))
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    composite = resolve(kinds(model.graph), "epsilon", {}, [], attention=attention)
    return kind(model).attribute(x, composite, torch.ones_like)


def assert_equal(written: nn.Module, fused: nn.Module, *shape: int) -> None:
    """Assert that relevance is the same at every layer, by the engine and by the reference."""
    fused.load_state_dict(written.state_dict())
    models = [traced(written, *shape), trace(fused.double(), torch.randn(1, *shape, dtype=torch.float64))]
    assert sorted(operations(models[0])) == sorted(operations(models[1]))
    assert [node.name for node in models[0].graph] == [node.name for node in models[1].graph]
    for attention in ATTENTION_RULES:
        for kind in (Engine, Reference):
            ours, theirs = (explained(kind, model, attention) for model in models)
            torch.testing.assert_close(ours.relevance, theirs.relevance, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(ours.sums, theirs.sums, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("function", LAYER_NORMS)
def test_layer_norm_is_recognised(function: Written) -> None:
    assert_equal(network(Norm(function, 8, True)), network(nn.LayerNorm(8, EPS)), 4, 6)


@pytest.mark.parametrize("function", RMS_NORMS)
def test_rms_norm_is_recognised(function: Written) -> None:
    assert_equal(network(Norm(function, 8, False)), network(nn.RMSNorm(8, EPS)), 4, 6)


def test_layer_norm_over_channels_is_recognised() -> None:
    layers = [[nn.Conv2d(3, 5, 3), nn.Linear(5 * 4 * 2, 3)] for _ in range(2)]
    written, fused = network(LayerNorm2d(5), *layers[0]), network(Permuted(5, EPS), *layers[1])
    assert_equal(written, fused, 3, 6, 4)


def test_a_variance_with_one_freedom_less_is_part_of_the_gain() -> None:
    def run(self: Network, x: Tensor) -> Tensor:
        x = self.call("first", x)
        return self.call("last", (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + EPS).sqrt())

    model = traced(Network(run, first=nn.Linear(6, 8), last=nn.Linear(8, 3)), 6)
    assert operations(model) == ["linear", "layer_norm", "linear"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.mean(-1, keepdim=True) ** 2 + EPS).sqrt(),
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-2, keepdim=True) + EPS).sqrt(),
        lambda x: x / (x.var(-1, keepdim=True) + EPS).sqrt(),
        lambda x: x * (x.pow(2).mean(-1, keepdim=True) + EPS).sqrt(),
        lambda x: x.tanh() * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS),
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + EPS),
    ],
)
def test_what_is_no_norm_stays_as_it_is(function: Written) -> None:
    model = traced(
        Network(lambda self, x: function(self.call("first", x)).sum(1), first=nn.Linear(6, 8)), 4, 6
    )
    assert not {"layer_norm", "rms_norm"} & {*operations(model)}


def test_a_gain_that_other_nodes_read_too_stays_apart() -> None:
    def run(self: Network, x: Tensor) -> Tensor:
        z = root_mean_square(self.call("first", x))
        return self.call("last", z * torch.arange(1.0, 9.0, dtype=x.dtype) + z)

    model = traced(Network(run, first=nn.Linear(6, 8), last=nn.Linear(8, 3)), 6)
    assert "mul" in operations(model)
    (norm,) = [node for node in model.graph if node.op == "rms_norm"]
    assert not norm.weights
