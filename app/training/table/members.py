"""Dense networks that are trained side by side, and the one network that is their mean."""

from itertools import pairwise

import torch
from torch import Tensor, nn


class Members(nn.Module):
    """Dense ReLU networks of one shape, computed together."""

    def __init__(
        self, members: int, inputs: int, widths: tuple[int, ...], outputs: int, *, biases: tuple[bool, ...]
    ) -> None:
        """``biases`` says of each hidden layer whether it has biases; the last layer has."""
        super().__init__()
        sizes = (inputs, *widths, outputs)
        self.weights = nn.ParameterList(
            torch.randn(members, ins, outs) * (2 / ins) ** 0.5 for ins, outs in pairwise(sizes)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(members, 1, outs), requires_grad=has_bias)
            for outs, has_bias in zip(sizes[1:], (*biases, True), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all members: (B, inputs) -> (members, B, outputs)."""
        x = x.expand(len(self.weights[0]), *x.shape)  # (B, inputs) -> (members, B, inputs)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x.relu() if layer else x, weight)
        return x

    def mean(self) -> nn.Sequential:
        """Return one network whose output is the mean of the members': their layers side by side."""
        layers: list[nn.Module] = []
        last = len(self.weights) - 1
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            parts = list(weight.detach().mT)  # (members, ins, outs) -> members × (outs, ins)
            if place == 0:  # all members have the same input
                matrix = torch.cat(parts)
            elif place == last:
                matrix = torch.cat(parts, 1) / len(parts)
            else:
                matrix = torch.block_diag(*parts)
            offset = bias.detach().mean(0)[0] if place == last else bias.detach().flatten()
            layers += [_linear(matrix, offset if bias.requires_grad else None), nn.ReLU()]
        return nn.Sequential(*layers[:-1])


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return the layer with this weight (outs, ins) and bias (outs,)."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight)
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear
