from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from graph_oracle import Network, operations, traced
from torch import Tensor, nn

from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.graph import Node
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel


def only(model: TracedModel, op: str) -> Node:
    (node,) = [node for node in model.graph if node.op == op]
    return node


def test_squeeze_and_excitation_has_a_gate() -> None:
    def run(self: Network, x: Tensor) -> Tensor:
        weights = self.call("dense", x.mean((2, 3))).sigmoid()
        return (weights[:, :, None, None].expand_as(x) * x).sum((2, 3))

    model = traced(Network(run, dense=nn.Linear(4, 4)), 4, 3, 3)
    assert operations(model) == ["mean", "linear", "sigmoid", "reshape", "mul", "sum"]
    assert only(model, "mul").attributes == {"gate": 0}


def test_an_activation_written_out_has_a_gate() -> None:
    model = traced(
        Network(
            lambda self, x: self.call("dense", x) * F.hardsigmoid(self.call("dense", x)),
            dense=nn.Linear(4, 2),
        ),
        4,
    )
    assert only(model, "mul").attributes == {"gate": 1}


def test_products_without_a_gate_or_with_two_have_none() -> None:
    model = traced(Network(lambda _, x: x * x.tanh()), 4)
    assert only(model, "mul").attributes == {}
    model = traced(Network(lambda _, x: x.sigmoid() * x.softmax(1)), 4)
    assert only(model, "mul").attributes == {}


def scaled_sigmoid(x: Tensor) -> Tensor:
    return 2 * x.sigmoid()


def one_minus_sigmoid(x: Tensor) -> Tensor:
    return 1 - x.sigmoid()


def hard_sigmoid(x: Tensor) -> Tensor:
    return F.relu6(x + 3) / 6


def clamped_hard_sigmoid(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0, 1)


@pytest.mark.parametrize("gate", [scaled_sigmoid, one_minus_sigmoid, hard_sigmoid, clamped_hard_sigmoid])
def test_a_gate_may_be_scaled_shifted_or_written_out(gate: Callable[[Tensor], Tensor]) -> None:
    model = traced(Network(lambda self, x: x * gate(self.call("dense", x)), dense=nn.Linear(4, 4)), 4)
    assert model.graph.output.attributes == {"gate": 1}


@pytest.mark.parametrize("scale", [torch.sigmoid, F.relu6, torch.tanh])
def test_a_product_with_a_constant_has_no_gate(scale: Callable[[Tensor], Tensor]) -> None:
    model = traced(Network(lambda _, x: 2 * scale(x)), 4)
    assert only(model, "mul").attributes == {}


def test_bounded_activations_of_features_are_no_gates() -> None:
    model = traced(Network(lambda _, x: x * F.relu6(x) + x * x.clamp(-1, 1)), 4)
    assert [node.attributes for node in model.graph if node.op == "mul"] == 2 * [{}]


def values_first(x: Tensor) -> Tensor:
    return x.mT @ (x @ x.mT).softmax(-1).mT


def scaled_weights(x: Tensor) -> Tensor:
    return (0.5 * (x @ x.mT).softmax(-1)) @ x


def mixed_weights(x: Tensor) -> Tensor:
    weights = (x @ x.mT).softmax(-1)
    return F.linear(weights, torch.ones(3, 3, dtype=x.dtype)) @ x


@pytest.mark.parametrize("attention", [values_first, scaled_weights, mixed_weights])
def test_attention_conserves_however_it_is_written(attention: Callable[[Tensor], Tensor]) -> None:
    network = Network(lambda _, x: attention(x).sum(1)).double()
    model = traced(network, 3, 4)
    x = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert [node.attributes for node in model.graph if node.op == "matmul"] == [{}, {"attention": True}]
    engine = Engine(model.map_weights(Tensor.double), -torch.ones_like(x[:1]), torch.ones_like(x[:1]))
    found = engine.attribute(x, resolve(kinds(model.graph), "epsilon_plus_flat", {}, ()), torch.ones_like)
    torch.testing.assert_close(found.logits, network(x))
    torch.testing.assert_close(found.input_sums, found.output_relevance.sum(1), rtol=1e-4, atol=0)


def test_products_with_the_output_of_a_softmax_are_attention() -> None:
    def run(self: Network, x: Tensor) -> Tensor:
        scores = (x @ x.transpose(1, 2)).softmax(2)
        return (F.dropout(scores, 0.1, self.training) @ x).sum(1)

    products = [node.attributes for node in traced(Network(run), 3, 4).graph if node.op == "matmul"]
    assert products == [{}, {"attention": True}]


def test_attention_is_written_out() -> None:
    mask = torch.ones(3, 3, dtype=torch.bool).tril()

    def run(self: Network, x: Tensor) -> Tensor:
        q, k, v = self.call("qkv", x).reshape(-1, 3, 3, 2, 4).permute(2, 0, 3, 1, 4)  # 3 of (B, 2, 3, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = y + F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.5)
        return (y + F.scaled_dot_product_attention(q, k, v)).sum((1, 2))

    model = traced(Network(run, qkv=nn.Linear(8, 24)), 3, 8)
    assert operations(model).count("softmax") == 3
    assert [node.attributes for node in model.graph if node.op == "matmul"] == 3 * [{}, {"attention": True}]


def test_multi_head_attention_has_free_batches() -> None:
    def run(self: Network, x: Tensor) -> Tensor:
        return self.call("attention", x, x, x, need_weights=False).mean(1)

    model = traced(Network(run, attention=nn.MultiheadAttention(8, 2, batch_first=True)), 5, 8)
    assert operations(model).count("linear") == 2
