"""LSTM and GRU: relevance passes through time as in Arras et al. 2017, and gates get none.

The state of a cell is a sum of two products of a gate and a signal; its relevance splits by LRP-ε between them.
That of the new signal splits by LRP-ε between the inputs of its pre-activation: x_t, and h of the step before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values
from app.lrp.engine.ops.division import divided, stabilizer

EPSILON = 1e-3
"""ε of Arras et al. 2017. Denominators come close to 0 at some of many steps."""


class Cell(Protocol):
    """One layer in one direction. Sequences are (T, B, …), and begin with the state 0."""

    def run(self, x: Tensor) -> Tensor:
        """Return the states h, (T, B, in) -> (T, B, H)."""

    def relevance(self, R: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Redistribute relevance of the states ``h``, (T, n, H), to the inputs ``x``, (T, n, in).

        Also return what biases and stabilizers absorb at each step, (T, n, 1).
        """


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights of a cell, those of its gates one below the other in PyTorch's order."""

    weight_ih: Tensor
    """(gates · H, in)"""
    weight_hh: Tensor
    """(gates · H, H)"""
    bias_ih: Tensor
    """(gates · H,)"""
    bias_hh: Tensor
    """(gates · H,)"""

    def tensors(self) -> list[Tensor]:
        """Return them in the order in which PyTorch's functions take them."""
        return [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]

    def of_gate(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the weights of the input, (H, in), and of the state, (H, H)."""
        rows = slice(index * self.weight_hh.shape[1], (index + 1) * self.weight_hh.shape[1])
        return self.weight_ih[rows], self.weight_hh[rows]

    def biases_of_gate(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the biases beside the weights of the input and of the state, each (H,)."""
        rows = slice(index * self.weight_hh.shape[1], (index + 1) * self.weight_hh.shape[1])
        return self.bias_ih[rows], self.bias_hh[rows]


@dataclass(frozen=True, eq=False)
class LSTMCell:
    """c_t = f ⊙ c_(t-1) + i ⊙ g and h_t = o ⊙ tanh(c_t), with g = tanh(W x_t + U h_(t-1) + b)."""

    parameters: Parameters

    def run(self, x: Tensor) -> Tensor:
        """See `Cell`."""
        zeros = x.new_zeros(1, x.shape[1], self.parameters.weight_hh.shape[1])
        return torch.lstm(x, (zeros, zeros), self.parameters.tensors(), True, 1, 0.0, False, False, False)[0]

    def relevance(self, R: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See `Cell`."""
        p, before = self.parameters, _before(h)
        i, f, g, _ = (F.linear(x, p.weight_ih, p.bias_ih) + F.linear(before, p.weight_hh, p.bias_hh)).chunk(
            4, -1
        )
        kept, new = f.sigmoid(), i.sigmoid() * g.tanh()
        c = _accumulated(kept, new)
        kept = kept.mul_(_before(c))
        (W, U), bias = p.of_gate(2), sum(p.biases_of_gate(2))
        of_state, of_memory = torch.zeros_like(R[0]), torch.zeros_like(R[0])  # (n, H)
        quotients, of_c = torch.empty_like(R), torch.empty_like(R)
        for t in reversed(range(len(R))):
            of_memory = of_memory + of_state + R[t]
            of_c[t] = q = divided(of_memory, c[t], EPSILON)
            quotients[t] = divided(new[t] * q, g[t], EPSILON)
            of_memory = kept[t] * q
            of_state = before[t] * (quotients[t] @ U)
        absorbed = of_c * stabilizer(c, EPSILON) + quotients * (stabilizer(g, EPSILON) + bias)
        return x * (quotients @ W), absorbed.sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class GRUCell:
    """h_t = z ⊙ h_(t-1) + (1 - z) ⊙ m, with m = tanh(W x_t + b + r ⊙ (U h_(t-1) + d))."""

    parameters: Parameters

    def run(self, x: Tensor) -> Tensor:
        """See `Cell`."""
        zeros = x.new_zeros(1, x.shape[1], self.parameters.weight_hh.shape[1])
        return torch.gru(x, zeros, self.parameters.tensors(), True, 1, 0.0, False, False, False)[0]

    def relevance(self, R: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See `Cell`."""
        p, before = self.parameters, _before(h)
        r, z, m = F.linear(x, p.weight_ih, p.bias_ih).chunk(3, -1)
        r_before, z_before, m_before = F.linear(before, p.weight_hh, p.bias_hh).chunk(3, -1)
        reset, update = (r + r_before).sigmoid(), (z + z_before).sigmoid()
        m = m + reset * m_before
        new, kept = (1 - update) * m.tanh(), update * before
        (W, U), (b, d) = p.of_gate(2), p.biases_of_gate(2)
        of_state = torch.zeros_like(R[0])  # (n, H)
        quotients, of_h = torch.empty_like(R), torch.empty_like(R)
        for t in reversed(range(len(R))):
            of_h[t] = q = divided(of_state + R[t], h[t], EPSILON)
            quotients[t] = divided(new[t] * q, m[t], EPSILON)
            of_state = kept[t] * q + before[t] * ((reset[t] * quotients[t]) @ U)
        bias = b + reset * d
        absorbed = of_h * stabilizer(h, EPSILON) + quotients * (stabilizer(m, EPSILON) + bias)
        return x * (quotients @ W), absorbed.sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Recurrent:
    """Layers of cells. `forward` also returns the outputs of all layers but the last, next to each other."""

    layers: Sequence[Sequence[Cell]]
    """Cells of each layer: one, or one for each direction."""
    widths: Sequence[int]
    """Of the outputs of all layers but the last."""
    batch_first: bool
    sign = Sign.ANY
    at_zero = AtZero.NONE
    conserves = False
    reads_inputs = True
    reads_output = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `app.lrp.engine.operation.Operation`: (B, T, in) or (T, B, in) -> (…, directions · H)."""
        (x,) = inputs
        outputs = [self._time_first(x)]
        for cells in self.layers:
            states = [turned(cell.run(turned(outputs[-1]))) for cell, turned in _directions(cells)]
            outputs.append(torch.cat(states, -1))
        below = torch.cat([outputs[0][..., :0], *outputs[1:-1]], -1)
        return self._time_first(outputs[-1]), self._time_first(below)

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`: (…, directions · H) -> (…, in)."""
        x, below, z = map(self._time_first, (values.inputs[0], values.extra, values.z))
        values_of_layers = [x, *below.split(self.widths, -1), z]
        R = self._time_first(R)
        absorbed: list[Tensor] = []
        for cells, x, h in reversed(
            list(zip(self.layers, values_of_layers[:-1], values_of_layers[1:], strict=True))
        ):
            parts = zip(_directions(cells), R.chunk(len(cells), -1), h.chunk(len(cells), -1), strict=True)
            found = [
                tuple(map(turned, cell.relevance(turned(part), turned(x), turned(state))))
                for (cell, turned), part, state in parts
            ]
            R = _total(of_input for of_input, _ in found)
            absorbed += [of_cell for _, of_cell in found]
        return Redistribution((self._time_first(R),), self._time_first(_total(absorbed)))

    def _time_first(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1) if self.batch_first else x  # its own inverse


def _directions(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Callable[[Tensor], Tensor]]]:
    """Return each cell, and a function that brings a sequence in its direction, and back."""
    return zip(cells, (lambda x: x, lambda x: x.flip(0)), strict=False)


def _total(tensors: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, tensors)


def _before(states: Tensor) -> Tensor:
    """Return the state before each step, (T, B, H)."""
    return torch.cat((torch.zeros_like(states[:1]), states[:-1]))


def _accumulated(kept: Tensor, new: Tensor) -> Tensor:
    """Return c_t = kept_t ⊙ c_(t-1) + new_t, (T, B, H)."""
    c = new.clone()
    for t in range(1, len(c)):
        c[t].addcmul_(kept[t], c[t - 1])
    return c


def _compiled(cell: Callable[[Parameters], Cell]) -> Compile:
    def compile_(context: OperationContext) -> Recurrent:
        given = context.node.attributes
        directions = ("", "_reverse") if given["bidirectional"] else ("",)
        layers = [
            [cell(_parameters(context.weights, f"l{layer}{direction}")) for direction in directions]
            for layer in range(given["num_layers"])
        ]
        width = len(directions) * context.weights["weight_hh_l0"].shape[1]
        return Recurrent(layers, [width] * (len(layers) - 1), given["batch_first"])

    return compile_


def _parameters(weights: Mapping[str, Tensor], suffix: str) -> Parameters:
    weight_ih, weight_hh = weights[f"weight_ih_{suffix}"], weights[f"weight_hh_{suffix}"]
    none = weight_hh.new_zeros(len(weight_hh))
    return Parameters(
        weight_ih, weight_hh, weights.get(f"bias_ih_{suffix}", none), weights.get(f"bias_hh_{suffix}", none)
    )


OPERATIONS: Mapping[str, Compile] = {"lstm": _compiled(LSTMCell), "gru": _compiled(GRUCell)}
