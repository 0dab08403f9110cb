"""Each operator of ATen as the operations that it becomes."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from graph_oracle import Network, operations, traced
from torch import Tensor

MATRIX = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
INDEX = torch.tensor([3, 0, 0])
GRID = torch.tensor([[0, 1, 2, 3], [3, 3, 3, 0], [1, 0, 1, 0]])


def constant(x: Tensor) -> Tensor:
    """Return a constant matrix (4, 4) in the precision of ``x``."""
    return MATRIX.to(x.dtype)


CALLS: tuple[tuple[Callable[[Tensor], Tensor], list[str]], ...] = (
    (F.relu6, ["relu6"]),
    (lambda x: F.hardtanh(x, 0, 6), ["relu6"]),
    (lambda x: F.hardtanh(x, -1, 2), ["clamp"]),
    (lambda x: x.clamp(min=0), ["relu"]),
    (lambda x: x.clamp_min(0.5), ["clamp"]),
    (lambda x: F.leaky_relu(x, 0.3), ["leaky_relu"]),
    (lambda x: F.elu(x, 0.7), ["elu"]),
    (lambda x: F.gelu(x, approximate="tanh"), ["gelu"]),
    (lambda x: F.silu(x.mul(2), inplace=True), ["constant", "mul", "silu"]),
    (F.mish, ["mish"]),
    (F.softplus, ["softplus"]),
    (F.hardswish, ["hardswish"]),
    (torch.tanh, ["tanh"]),
    (lambda x: x.abs().sqrt(), ["abs", "pow"]),
    (lambda x: x.square().add(1).rsqrt(), ["pow", "constant", "add", "pow"]),
    (lambda x: torch.exp(-x), ["constant", "mul", "exp"]),
    (lambda x: torch.add(x, x.relu(), alpha=2), ["relu", "constant", "mul", "add"]),
    (lambda x: 1 - x, ["constant", "sub"]),
    (lambda x: x / 3, ["constant", "div"]),
    (lambda x: x - constant(x)[0], ["constant", "sub"]),
    (lambda x: x @ constant(x), ["linear"]),
    (lambda x: constant(x)[:3, :3] @ x, ["permute", "linear", "permute"]),
    (lambda x: x @ constant(x).expand(x.shape[0], -1, -1), ["constant", "expand", "matmul"]),
    (
        lambda x: torch.bmm(
            x.unsqueeze(1).repeat(1, 2, 1, 1).flatten(0, 1),
            torch.stack((constant(x), constant(x).T)).repeat(x.shape[0], 1, 1),
        ).reshape(-1, 2, 3, 4),
        ["reshape", "expand", "reshape", "constant", "reshape", "expand", "reshape", "matmul", "reshape"],
    ),
    (lambda x: x @ x.mT, ["permute", "matmul"]),
    (lambda x: torch.bmm(x, x.transpose(-1, -2)), ["permute", "matmul"]),
    (
        lambda x: torch.addmm(constant(x)[1], x.flatten(0, 1), constant(x)).reshape(-1, 3, 4),
        ["reshape", "linear", "reshape"],
    ),
    (lambda x: torch.einsum("bij,bkj->bik", x, x), ["permute", "matmul"]),
    (lambda x: torch.einsum("bij, jk -> bik", x, constant(x)), ["linear"]),
    (lambda x: torch.einsum("oj,bij->boi", constant(x), x), ["linear", "permute"]),
    (
        lambda x: torch.einsum("bhid,bjhd->bhij", x.reshape(-1, 3, 2, 2), x.reshape(-1, 2, 3, 2)),
        ["reshape", "reshape", "permute", "matmul"],
    ),
    (
        lambda x: torch.einsum("bik,bjkl->bijl", x, x.reshape(-1, 1, 4, 3)),
        ["reshape", "permute", "reshape", "matmul", "reshape"],
    ),
    (lambda x: x.reshape(x.shape[0], -1), ["reshape"]),
    (lambda x: x.unflatten(2, (2, 2)).flatten(1, 2), ["reshape"]),
    (lambda x: x.unsqueeze(1).squeeze(1), []),
    (lambda x: x.permute(0, 2, 1).transpose(1, 2), []),
    (lambda x: x.movedim(1, 2), ["permute"]),
    (lambda x: x.swapaxes(1, -1), ["permute"]),
    (lambda x: x[:, 1:, ::2], ["slice", "slice"]),
    (lambda x: x[:, -1], ["select"]),
    (lambda x: x[:, :, INDEX], ["index_select"]),
    (lambda x: x[..., INDEX.reshape(3, 1)], ["index_select", "reshape"]),
    (lambda x: x.index_select(2, INDEX), ["index_select"]),
    (lambda x: x.gather(2, INDEX.expand(x.shape[0], 3, 3)), ["constant", "gather"]),
    (lambda x: x.gather(-1, GRID.expand(x.shape[0], -1, -1)), ["constant", "gather"]),
    (lambda x: torch.mul(*x.split([1, 3], 2)), ["slice", "slice", "mul"]),
    (lambda x: x.chunk(2, 2)[1], ["slice"]),
    (lambda x: x.unbind(1)[2], ["select"]),
    (lambda x: torch.stack((x, x.relu()), 1), ["relu", "reshape", "reshape", "cat"]),
    (lambda x: torch.cat((x, constant(x)[:2].expand(x.shape[0], -1, -1)), 1), ["constant", "expand", "cat"]),
    (lambda x: torch.cat((x, x.new_zeros(x.shape[0], 1, 4)), 1), ["constant", "expand", "cat"]),
    (lambda x: F.pad(x, (1, 2), value=3.0), ["pad"]),
    (lambda x: F.pad(x, (1, 2), mode="reflect"), ["pad"]),
    (lambda x: x.roll((1, -1), (1, 2)), ["roll"]),
    (lambda x: x.softmax(-1), ["softmax"]),
    (lambda x: x.mean(1, keepdim=True), ["mean"]),
    (lambda x: x.sum((1, -1), keepdim=True), ["sum"]),
    (lambda x: F.normalize(x, dim=-1), ["vector_norm", "clamp", "div"]),
    (lambda x: F.glu(x, 2), ["slice", "slice", "sigmoid", "mul"]),
    (
        lambda x: x.masked_fill(constant(x)[:3] > 1, -math.inf).softmax(1),
        ["constant", "constant", "where", "softmax"],
    ),
    (lambda x: x.masked_fill(constant(x)[:3] > 0, 5.0), ["constant", "constant", "where"]),
    (lambda x: torch.where(constant(x)[:3] > 0, 2.0, x), ["constant", "constant", "where"]),
    (lambda x: torch.where(x > 0.5, x, x.exp()), ["constant", "gt", "exp", "where"]),
    (lambda x: torch.maximum(x, constant(x)[:3]), ["constant", "maximum"]),
    (lambda x: x.minimum(x.roll(1, 1)), ["roll", "minimum"]),
    (lambda x: F.prelu(x, constant(x)[0, :3]), ["prelu"]),
    (lambda x: x.amax(-1), ["amax"]),
    (lambda x: x.max(1, keepdim=True).values, ["amax"]),
    (
        lambda x: x * (x.lt(0) | ~(x <= 1)).any(2, keepdim=True),
        ["constant", "lt", "constant", "le", "constant", "sub", "maximum", "amax", "mul"],
    ),
    (lambda x: F.max_pool1d(x, 2), ["max_pool1d"]),
    (lambda x: F.avg_pool1d(x, 2, padding=1), ["avg_pool1d"]),
    (lambda x: F.adaptive_avg_pool1d(x, 2), ["adaptive_avg_pool1d"]),
    (lambda x: F.max_pool2d(x[:, None], 2, ceil_mode=True), ["reshape", "max_pool2d"]),
    (lambda x: F.avg_pool2d(x[:, None], (2, 1), count_include_pad=False), ["reshape", "avg_pool2d"]),
    (lambda x: F.adaptive_avg_pool2d(x[:, None], (1, 2)), ["reshape", "adaptive_avg_pool2d"]),
    (lambda x: F.adaptive_max_pool2d(x[:, None], (1, 2)), ["reshape", "adaptive_max_pool2d"]),
    (lambda x: F.interpolate(x[:, None], scale_factor=2), ["reshape", "upsample"]),
    (lambda x: F.interpolate(x[:, None], (7, 3), mode="nearest-exact"), ["reshape", "upsample"]),
    (lambda x: F.interpolate(x[:, None], scale_factor=(1.7, 0.6), mode="bilinear"), ["reshape", "upsample"]),
    (
        lambda x: F.interpolate(x[:, None], (5, 9), mode="bilinear", align_corners=True),
        ["reshape", "upsample"],
    ),
    (lambda x: F.pixel_shuffle(x.reshape(-1, 4, 1, 3), 2), ["reshape", "permute", "reshape"]),
    (lambda x: F.layer_norm(x, (4,), constant(x)[0]), ["layer_norm"]),
    (lambda x: F.rms_norm(x, (4,)), ["rms_norm"]),
    (lambda x: F.group_norm(x, 3), ["group_norm"]),
    (lambda x: x.clone().detach().to(x.dtype).contiguous(), []),
)


@pytest.mark.parametrize(
    ("run", "expected"), CALLS, ids=[f"{number}-{ops}" for number, (_, ops) in enumerate(CALLS)]
)
def test_an_operator_of_pytorch_becomes_operations(
    run: Callable[[Tensor], Tensor], expected: list[str]
) -> None:
    def forward(_: Network, x: Tensor) -> Tensor:
        return run(x).tanh().flatten(1)

    found = operations(traced(Network(forward), 3, 4))
    assert found[: len(found) - 1 - found[::-1].index("tanh")] == expected
