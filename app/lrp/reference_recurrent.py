"""LSTM and GRU of the reference: step by step, of autograd functions whose gradient is the relevance.

The rules are those of Arras et al. 2017: gates get no relevance, sums divide it by LRP-ε.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from app.lrp.graph.graph import Node
from app.lrp.rules import AssignedRule

EPSILON = 1e-3
"""ε of Arras et al. 2017."""

Cell = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""States (T, B, H) of a sequence (T, B, in), given weight_ih, weight_hh, bias_ih and bias_hh."""


class Passed(torch.autograd.Function):
    """An elementwise function that passes relevance on unchanged."""

    @staticmethod
    def forward(_: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the output."""
        return function(x)

    @staticmethod
    def backward(_: Any, R: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the input."""
        return R, None


class Sum(torch.autograd.Function):
    """a + b, which divides relevance in proportion to a and b."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """Return the sum."""
        ctx.save_for_backward(a, b)
        return a + b

    @staticmethod
    def backward(ctx: Any, R: Tensor) -> tuple[Tensor, Tensor]:
        """Return a · R / s(a + b) and b · R / s(a + b)."""
        a, b = ctx.saved_tensors
        ratio = R / _stabilized(a + b)
        return a * ratio, b * ratio


class PreActivation(torch.autograd.Function):
    """W x + scale ⊙ (U h) + bias, by LRP-ε: x (B, in), h (B, H) -> (B, H)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, w: Tensor, u: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
        """Return the output."""
        z = x @ w.T + scale * (h @ u.T) + bias
        ctx.save_for_backward(x, h, w, u, scale, z)
        return z

    @staticmethod
    def backward(ctx: Any, R: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        """Return the relevance of ``x`` and ``h``."""
        x, h, w, u, scale, z = ctx.saved_tensors
        ratio = R / _stabilized(z)
        return x * (ratio @ w), h * ((scale * ratio) @ u), None, None, None, None


def lstm_states(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return h_t = o ⊙ tanh(c_t), c_t = f ⊙ c + i ⊙ tanh(W x_t + U h + b)."""
    w, u = weights["weight_ih"], weights["weight_hh"]
    bias = weights["bias_ih"] + weights["bias_hh"]
    of_signal = [tensor.chunk(4)[2] for tensor in (w, u, bias)]
    h = c = x.new_zeros(x.shape[1], u.shape[1])
    states = []
    for x_t in x:
        i, f, _, o = (x_t.detach() @ w.T + h.detach() @ u.T + bias).sigmoid().chunk(4, 1)
        signal = Passed.apply(PreActivation.apply(x_t, h, *of_signal, torch.ones_like(h)), torch.tanh)
        c = Sum.apply(_gated(f, c), _gated(i, signal))
        h = _gated(o, Passed.apply(c, torch.tanh))
        states.append(h)
    return torch.stack(states)


def gru_states(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return h_t = z ⊙ h + (1 - z) ⊙ tanh(W x_t + b + r ⊙ (U h + d))."""
    (w_r, w_z, w), (u_r, u_z, u), (b_r, b_z, b), (d_r, d_z, d) = (
        weights[role].chunk(3) for role in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h = x.new_zeros(x.shape[1], u.shape[1])
    states = []
    for x_t in x:
        seen, before = x_t.detach(), h.detach()
        r = (seen @ w_r.T + b_r + before @ u_r.T + d_r).sigmoid()
        z = (seen @ w_z.T + b_z + before @ u_z.T + d_z).sigmoid()
        signal = Passed.apply(PreActivation.apply(x_t, h, w, u, b + r * d, r), torch.tanh)
        h = Sum.apply(_gated(z, h), _gated(1 - z, signal))
        states.append(h)
    return torch.stack(states)


def recurrent(cell: Cell) -> Callable[[Node, AssignedRule, tuple[Tensor, ...], Mapping[str, Tensor]], Tensor]:
    """Return the function of a node with this cell: (B, T, in) or (T, B, in) -> (…, directions · H).

    With a mask (B, T), each row runs to its own end alone, and its last output is that of all steps behind it.
    """

    def output(
        node: Node, _: AssignedRule, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor]
    ) -> Tensor:
        x, axis = inputs[0], 0 if node.attributes["batch_first"] else 1
        rows = [row.unsqueeze(1) for row in x.unbind(axis)]  # (T, 1, in) each
        lengths = [len(row) for row in rows]
        if len(inputs) > 1:
            lengths = [max(1, int(own.count_nonzero())) for own in inputs[1]]
        suffixes = ("", "_reverse") if node.attributes["bidirectional"] else ("",)
        directions = [_of(weights, suffix) for suffix in suffixes]
        outputs = [_row(cell, directions, x, end) for x, end in zip(rows, lengths, strict=True)]
        return torch.cat(outputs, 1).transpose(0, 1) if axis == 0 else torch.cat(outputs, 1)

    return output


def _row(cell: Cell, directions: Sequence[Mapping[str, Tensor]], x: Tensor, end: int) -> Tensor:
    """Return the output of one row, (T, 1, in) -> (T, 1, directions · H), which ends after step ``end``."""
    own = x[:end]
    states = [cell(own, directions[0])]
    states += [cell(own.flip(0), weights).flip(0) for weights in directions[1:]]
    output = torch.cat(states, 2)
    return torch.cat([output, output[-1:].expand(len(x) - end, -1, -1)])


def _of(weights: Mapping[str, Tensor], suffix: str) -> dict[str, Tensor]:
    """Return the weights of one direction; biases that there are not are 0."""
    u = weights[f"weight_hh{suffix}"]
    return {
        "weight_ih": weights[f"weight_ih{suffix}"],
        "weight_hh": u,
        "bias_ih": weights.get(f"bias_ih{suffix}", u.new_zeros(len(u))),
        "bias_hh": weights.get(f"bias_hh{suffix}", u.new_zeros(len(u))),
    }


def _gated(gate: Tensor, signal: Tensor) -> Tensor:
    """Return gate ⊙ signal, whose relevance is all the signal's."""
    return Passed.apply(signal, lambda x: gate * x)  # type: ignore[no-any-return]


def _stabilized(z: Tensor) -> Tensor:
    """Return s(z) = z + ε · sgn(z), sgn(0) = +1."""
    return z + EPSILON * torch.where(z < 0, -1, 1).to(z)
