"""LSTM and GRU against PyTorch's modules and Arras et al. 2017 written out in NumPy, step by step."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from app.lrp.engine.operation import OperationContext
from app.lrp.engine.operations import OPERATIONS
from app.lrp.graph.graph import Node
from app.lrp.rules import AssignedRule

Array = npt.NDArray[np.float64]
EPSILON = 1e-3
T, WIDTH, HIDDEN = 5, 3, 4

NETWORKS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"bidirectional": True},
    {"bidirectional": True, "batch_first": True},
]
each_network = pytest.mark.parametrize("options", NETWORKS, ids=str)
each_kind = pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])


def stabilized(z: Array) -> Array:
    return z + EPSILON * np.where(z < 0, -1, 1)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm_direction(w: list[Array], x: Array, R: Array) -> tuple[Array, Array]:
    """States and relevance of one sequence (T, in), given that of its states (T, H)."""
    W, U, b = w[0], w[1], w[2] + w[3]
    h, c = np.zeros((len(x) + 1, HIDDEN)), np.zeros((len(x) + 1, HIDDEN))  # after t steps
    gates = []
    for t in range(len(x)):
        i, f, g, o = np.split(W @ x[t] + U @ h[t] + b, 4)
        c[t + 1] = sigmoid(f) * c[t] + sigmoid(i) * np.tanh(g)
        h[t + 1] = sigmoid(o) * np.tanh(c[t + 1])
        gates.append((sigmoid(i), sigmoid(f), g))
    W, U = np.split(W, 4)[2], np.split(U, 4)[2]
    R_x, R_h, R_c = np.zeros_like(x), np.zeros_like(h), np.zeros_like(c)
    R_h[1:] = R
    for t in reversed(range(len(x))):
        i, f, g = gates[t]
        R_c[t + 1] += R_h[t + 1]
        R_c[t] = f * c[t] * R_c[t + 1] / stabilized(c[t + 1])
        R_g = i * np.tanh(g) * R_c[t + 1] / stabilized(c[t + 1])
        for k in range(HIDDEN):
            R_x[t] += x[t] * W[k] * R_g[k] / stabilized(g)[k]
            R_h[t] += h[t] * U[k] * R_g[k] / stabilized(g)[k]
    return h[1:], R_x


def gru_direction(w: list[Array], x: Array, R: Array) -> tuple[Array, Array]:
    """As `lstm_direction`."""
    W, U, b, d = w
    h = np.zeros((len(x) + 1, HIDDEN))
    gates = []
    for t in range(len(x)):
        (r, z, n), (r_h, z_h, n_h) = np.split(W @ x[t] + b, 3), np.split(U @ h[t] + d, 3)
        r, z = sigmoid(r + r_h), sigmoid(z + z_h)
        n = n + r * n_h
        h[t + 1] = (1 - z) * np.tanh(n) + z * h[t]
        gates.append((r, z, n))
    W, U = np.split(W, 3)[2], np.split(U, 3)[2]
    R_x, R_h = np.zeros_like(x), np.zeros_like(h)
    R_h[1:] = R
    for t in reversed(range(len(x))):
        r, z, n = gates[t]
        R_h[t] += z * h[t] * R_h[t + 1] / stabilized(h[t + 1])
        R_n = (1 - z) * np.tanh(n) * R_h[t + 1] / stabilized(h[t + 1])
        for k in range(HIDDEN):
            R_x[t] += x[t] * W[k] * R_n[k] / stabilized(n)[k]
            R_h[t] += h[t] * r[k] * U[k] * R_n[k] / stabilized(n)[k]
    return h[1:], R_x


def by_numpy(module: nn.LSTM | nn.GRU, x: Array, R: Array) -> Array:
    """Relevance of one sequence (T, in)."""
    direction = lstm_direction if isinstance(module, nn.LSTM) else gru_direction
    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    return sum(
        (
            direction(weights_of(module, f"l0{suffix}"), x[::s], part[::s])[1][::s]
            for suffix, s, part in zip(suffixes, (1, -1), np.split(R, len(suffixes), 1), strict=False)
        ),
        start=np.zeros_like(x),
    )


def weights_of(module: nn.Module, suffix: str) -> list[Array]:
    given = {name: weight.detach().numpy() for name, weight in module.named_parameters()}
    none = np.zeros(len(given[f"weight_hh_{suffix}"]))
    names = (f"{kind}_{suffix}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    return [given.get(name, none) for name in names]


def network(kind: type[nn.LSTM | nn.GRU], options: dict[str, Any]) -> nn.LSTM | nn.GRU:
    torch.manual_seed(0)
    return kind(WIDTH, HIDDEN, dtype=torch.double, **options)


class Values:
    """What the engine hands to `Operation.relevance`."""

    def __init__(self, x: Tensor, forward: tuple[Tensor, Tensor | None], shape: torch.Size) -> None:
        assert forward[1] is not None
        self.inputs, self.z, self.extra, self._shape = (x,), forward[0], forward[1], shape

    def input_shape(self, index: int) -> torch.Size:
        assert index == 0
        return self._shape


def by_engine(
    module: nn.LSTM | nn.GRU, x: Tensor, R: Tensor, shape: torch.Size
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, relevance, and what is absorbed."""
    attributes = {name: getattr(module, name) for name in ("bidirectional", "batch_first")}
    weights = {name.replace("_l0", ""): weight.detach() for name, weight in module.named_parameters()}
    node = Node("node", type(module).__name__.lower(), ("input",), (), attributes)
    context = OperationContext(node, weights, AssignedRule("pass"), (True,), x.dtype)
    operation = OPERATIONS[node.op](context)
    with torch.inference_mode():
        forward = operation.forward(x)
        found = operation.relevance(R, Values(x, forward, shape))
    (relevance,), absorbed = found.inputs, found.absorbed
    assert relevance is not None
    assert absorbed is not None
    return forward[0], relevance, absorbed


@each_kind
@each_network
def test_outputs_and_relevance(kind: type[nn.LSTM | nn.GRU], options: dict[str, Any]) -> None:
    module, rows = network(kind, options), 2
    axis = 0 if module.batch_first else 1
    x = torch.randn((rows, T, WIDTH) if module.batch_first else (T, rows, WIDTH), dtype=torch.double)
    z = module(x)[0].detach()
    R = torch.randn_like(z)
    output, relevance, absorbed = by_engine(module, x, R, x.shape)
    torch.testing.assert_close(output, z, rtol=1e-12, atol=1e-12)
    assert relevance.shape == x.shape
    for own, own_R, found in zip(*(tensor.unbind(axis) for tensor in (x, R, relevance)), strict=True):
        expected = by_numpy(module, own.numpy(), own_R.numpy())
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
    totals = (tensor.movedim(axis, 0).flatten(1).sum(1) for tensor in (relevance, absorbed, R))
    reached, kept, put_in = totals
    torch.testing.assert_close(reached + kept, put_in, rtol=1e-9, atol=1e-9)


@each_kind
def test_a_row_that_all_share_is_broadcast(kind: type[nn.LSTM | nn.GRU]) -> None:
    module = network(kind, {"bidirectional": True, "batch_first": True})
    x = torch.randn(1, T, WIDTH, dtype=torch.double)
    R = torch.randn(3, T, 2 * HIDDEN, dtype=torch.double)
    repeated = x.expand(3, -1, -1)
    _, *shared = by_engine(module, x, R, repeated.shape)
    _, *expected = by_engine(module, repeated, R, repeated.shape)
    torch.testing.assert_close(shared, expected, rtol=1e-12, atol=1e-12)
