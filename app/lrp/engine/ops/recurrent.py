"""LSTM and GRU: relevance passes through time as in Arras et al. 2017, and gates get none.

The state of a cell is a sum of two products of a gate and a signal; its relevance splits by LRP-ε between them.
That of the new signal splits by LRP-ε between the inputs of its pre-activation: x_t, and h of the step before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values
from app.lrp.engine.ops.division import stabilized, stabilizer

EPSILON = 1e-3
"""ε of Arras et al. 2017. Denominators come close to 0 at some of many steps."""


class Cell(Protocol):
    """A layer in D directions. Sequences are (T, D, B, …), each as it runs; the state before them is 0."""

    def run(self, x: Tensor) -> Tensor:
        """Return the states h, (T, D, B, in) -> (T, D, B, H)."""

    def relevance(self, R: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Redistribute relevance of the states ``h``, (T, D, n, H), to the inputs ``x``, (T, D, n, in).

        Also return what biases and stabilizers absorb at each step, (T, D, n, 1).
        """


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights of D directions, those of their gates next to each other in PyTorch's order."""

    of_input: Tensor
    """(D, in, gates · H)"""
    of_state: Tensor
    """(D, H, gates · H)"""
    input_bias: Tensor
    """(D, 1, gates · H)"""
    state_bias: Tensor
    """(D, 1, gates · H)"""

    def run(self, function: Callable[[Tensor, Tensor, list[Tensor]], Tensor], x: Tensor) -> Tensor:
        """Return the states of PyTorch's ``function``, given a sequence, a first state and weights."""
        zeros = x.new_zeros(1, x.shape[2], self.of_state.shape[1])
        tensors = zip(
            self.of_input.mT, self.of_state.mT, self.input_bias[:, 0], self.state_bias[:, 0], strict=True
        )
        states = [function(own, zeros, list(w)) for own, w in zip(x.unbind(1), tensors, strict=True)]
        return torch.stack(states, 1)

    def of_gate(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the weights of the input, (D, H, in), and of the state, (D, H, H), for a gate."""
        hidden = self.of_state.shape[1]
        rows = slice(index * hidden, (index + 1) * hidden)
        return self.of_input[..., rows].mT.contiguous(), self.of_state[..., rows].mT.contiguous()

    def biases_of_gate(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the biases beside the weights of the input and of the state, each (D, 1, H)."""
        hidden = self.of_state.shape[1]
        rows = slice(index * hidden, (index + 1) * hidden)
        return self.input_bias[..., rows], self.state_bias[..., rows]


@dataclass(frozen=True, eq=False)
class LSTMCell:
    """c_t = f ⊙ c_(t-1) + i ⊙ g and h_t = o ⊙ tanh(c_t), with g = tanh(W x_t + U h_(t-1) + b)."""

    parameters: Parameters

    def run(self, x: Tensor) -> Tensor:
        """See `Cell`."""
        return self.parameters.run(_lstm, x)

    def relevance(self, R: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See `Cell`."""
        p, before = self.parameters, _before(h)
        z = _product(x, p.of_input).add_(p.input_bias).add_(_product(before, p.of_state)).add_(p.state_bias)
        i, f, g, _ = z.chunk(4, -1)
        kept, new = f.sigmoid(), i.sigmoid() * g.tanh()
        c = _accumulated(kept, new)
        kept *= _before(c)
        new /= stabilized(g, EPSILON)
        inverse = stabilized(c, EPSILON).reciprocal_()
        (W, U), bias = p.of_gate(2), sum(p.biases_of_gate(2))
        of_state, of_memory = torch.zeros_like(R[0]), torch.zeros_like(R[0])  # (D, n, H)
        quotients, of_c = torch.empty_like(R), torch.empty_like(R)
        for t in reversed(range(len(R))):
            of_c[t] = q = (of_memory + of_state + R[t]) * inverse[t]
            quotients[t] = new[t] * q
            of_memory = kept[t] * q
            of_state = before[t] * quotients[t].bmm(U)
        absorbed = of_c * stabilizer(c, EPSILON) + quotients * (stabilizer(g, EPSILON) + bias)
        return x * _product(quotients, W), absorbed.sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class GRUCell:
    """h_t = z ⊙ h_(t-1) + (1 - z) ⊙ m, with m = tanh(W x_t + b + r ⊙ (U h_(t-1) + d))."""

    parameters: Parameters

    def run(self, x: Tensor) -> Tensor:
        """See `Cell`."""
        return self.parameters.run(_gru, x)

    def relevance(self, R: Tensor, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """See `Cell`."""
        p, before = self.parameters, _before(h)
        r, z, m = _product(x, p.of_input).add_(p.input_bias).chunk(3, -1)
        r_before, z_before, m_before = _product(before, p.of_state).add_(p.state_bias).chunk(3, -1)
        reset, update = (r + r_before).sigmoid(), (z + z_before).sigmoid()
        m = m + reset * m_before
        new = ((1 - update) * m.tanh()).div_(stabilized(m, EPSILON))
        kept, inverse = update * before, stabilized(h, EPSILON).reciprocal_()
        (W, U), (b, d) = p.of_gate(2), p.biases_of_gate(2)
        of_state = torch.zeros_like(R[0])  # (D, n, H)
        quotients, of_h = torch.empty_like(R), torch.empty_like(R)
        for t in reversed(range(len(R))):
            of_h[t] = q = (of_state + R[t]) * inverse[t]
            quotients[t] = new[t] * q
            of_state = kept[t] * q + before[t] * (reset[t] * quotients[t]).bmm(U)
        absorbed = of_h * stabilizer(h, EPSILON) + quotients * (stabilizer(m, EPSILON) + b + reset * d)
        return x * _product(quotients, W), absorbed.sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Steps:
    """Which steps of each row of a batch are its own: those up to its last. Sequences are (T, B, …)."""

    number: Tensor
    """(T, 1, 1), of each step."""
    last: Tensor
    """(1, B, 1), number of each row's last step; one for all rows is broadcast."""

    def turned(self, x: Tensor) -> Tensor:
        """Return the own steps of each row in reversed order, and the others behind; its own inverse."""
        behind = self.number > self.last
        return torch.take_along_dim(x, torch.where(behind, self.number, self.last - self.number), 0)

    def held(self, x: Tensor) -> Tensor:
        """Return ``x`` with the value of each row's last step in place of those behind it."""
        return torch.take_along_dim(x, torch.minimum(self.number, self.last), 0)

    def gathered(self, R: Tensor) -> Tensor:
        """Return the relevance of ``x``, given that of `held`: the last step gets that of all behind it."""
        of_last = R.masked_fill(self.number < self.last, 0).sum(0)  # (B, …)
        own = torch.where(self.number < self.last, R, 0)
        return torch.where(self.number == self.last, of_last, own)


@dataclass(frozen=True, eq=False)
class Recurrent:
    """A layer of one or two directions, (B, T, in) or (T, B, in), and the mask (B, T) if rows differ in length.

    `forward` also returns the states of both directions as they ran, next to each other.
    """

    cell: Cell
    directions: int
    batch_first: bool
    has_mask: bool
    sign = Sign.ANY
    at_zero = AtZero.NONE
    conserves = False
    reads_inputs = True
    reads_output = False
    receivers = (0,)
    is_cheap = False

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `app.lrp.engine.operation.Operation`: (B, T, in) or (T, B, in) -> (…, directions · H)."""
        x, steps = self._time_first(inputs[0]), self._steps(*inputs)
        h = self.cell.run(self._apart([x] * self.directions, steps))
        output = steps.held(torch.cat(self._together(h, steps), -1))
        return self._time_first(output), self._time_first(torch.cat(h.unbind(1), -1))

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`: (…, directions · H) -> (…, in)."""
        inputs, h = values.inputs, self._time_first(values.extra)
        x, steps = self._time_first(inputs[0]), self._steps(*inputs)
        of_states = steps.gathered(self._time_first(R)).chunk(self.directions, -1)
        states = torch.stack(h.chunk(self.directions, -1), 1)
        sequences = self._apart([x] * self.directions, steps)
        found, absorbed = self.cell.relevance(self._apart(of_states, steps), sequences, states)
        total = torch.stack(self._together(found, steps)).sum(0)
        of_mask = (None,) if self.has_mask else ()
        return Redistribution((self._time_first(total), *of_mask), self._time_first(absorbed.sum(1)))

    def _steps(self, x: Tensor, mask: Tensor | None = None) -> Steps:
        count = x.shape[1 if self.batch_first else 0]
        number = torch.arange(count, device=x.device).view(-1, 1, 1)
        if mask is None:
            return Steps(number, number[-1:])
        lengths = (mask != 0).sum(1).view(1, -1, 1)  # (B, T) -> (1, B, 1)
        return Steps(number, (lengths - 1).clamp_(min=0))

    def _apart(self, sequences: Sequence[Tensor], steps: Steps) -> Tensor:
        """Return a sequence for each direction as they run, (T, B, …) each -> (T, D, B, …)."""
        return torch.stack([*sequences[:1], *map(steps.turned, sequences[1:])], 1)

    def _together(self, x: Tensor, steps: Steps) -> list[Tensor]:
        """Return the sequences of all directions in the order of the input; the inverse of `_apart`."""
        first, *others = x.unbind(1)
        return [first, *map(steps.turned, others)]

    def _time_first(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1) if self.batch_first else x  # its own inverse


def _lstm(x: Tensor, zeros: Tensor, weights: list[Tensor]) -> Tensor:
    return torch.lstm(x, (zeros, zeros), weights, True, 1, 0.0, False, False, False)[0]


def _gru(x: Tensor, zeros: Tensor, weights: list[Tensor]) -> Tensor:
    return torch.gru(x, zeros, weights, True, 1, 0.0, False, False, False)[0]


def _product(x: Tensor, w: Tensor) -> Tensor:
    """Return x · w for each direction, (T, D, n, a) and (D, a, b) -> (T, D, n, b).

    The operator ``@`` would copy w for each step.
    """
    rows = x.transpose(0, 1).flatten(1, 2)  # (D, T · n, a)
    product: Tensor = rows.bmm(w).unflatten(1, (len(x), -1))
    return product.transpose(0, 1)


def _before(states: Tensor) -> Tensor:
    """Return the state before each step, (T, …)."""
    return torch.cat((torch.zeros_like(states[:1]), states[:-1]))


def _accumulated(kept: Tensor, new: Tensor) -> Tensor:
    """Return c_t = kept_t ⊙ c_(t-1) + new_t, (T, …)."""
    c = new.clone()
    for t in range(1, len(c)):
        c[t].addcmul_(kept[t], c[t - 1])
    return c


def _compiled(cell: Callable[[Parameters], Cell]) -> Compile:
    def compile_(context: OperationContext) -> Recurrent:
        given = context.node.attributes
        directions = ("", "_reverse") if given["bidirectional"] else ("",)
        parameters = _parameters(context.weights, directions)
        has_mask = len(context.node.inputs) > 1
        return Recurrent(cell(parameters), len(directions), given["batch_first"], has_mask)

    return compile_


def _parameters(weights: Mapping[str, Tensor], directions: Sequence[str]) -> Parameters:
    none = weights["weight_hh"].new_zeros(len(weights["weight_hh"]))
    of_input, of_state = (
        torch.stack([weights[f"{role}{direction}"] for direction in directions]).mT
        for role in ("weight_ih", "weight_hh")
    )
    input_bias, state_bias = (
        torch.stack([weights.get(f"{role}{direction}", none) for direction in directions])[:, None]
        for role in ("bias_ih", "bias_hh")
    )
    return Parameters(of_input, of_state, input_bias, state_bias)


OPERATIONS: Mapping[str, Compile] = {"lstm": _compiled(LSTMCell), "gru": _compiled(GRUCell)}
