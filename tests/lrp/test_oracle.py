"""The oracle against numbers computed by hand and against torch."""

import numpy as np
import oracle
import pytest
import torch
from torch import nn


@pytest.mark.parametrize("rule", oracle.HAND_CALCULATED)
def test_oracle_gives_the_numbers_computed_by_hand(rule: str) -> None:
    W, b = np.array([[1.0, 0.5], [-1.0, 2.0]]), np.array([0.5, -0.5])
    linear = oracle.Linear(W, b, np.ones_like(W))
    parameters, expected = oracle.HAND_CALCULATED[rule]
    relevance = oracle.backward_linear(
        linear, np.array([1.0, 2.0]), np.array([2.5, 2.5]), rule, parameters, -3.0, 3.0
    )
    np.testing.assert_allclose(relevance, expected, atol=5e-6)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.Conv2d(2, 3, 3, stride=2, bias=False),
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, stride=2),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, stride=1),
        nn.Flatten(0),
        nn.ReLU(),
    ],
    ids=str,
)
def test_oracle_computes_the_layers_as_torch_does(layer: nn.Module) -> None:
    x = torch.randn(2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = layer.double()(x).detach().numpy()
    np.testing.assert_allclose(oracle.forward(layer, x.numpy()), expected, rtol=1e-12, atol=1e-12)


def test_oracle_redistributes_nothing_where_an_output_is_zero_under_lrp_0() -> None:
    relevance = oracle.distribute(np.array([[1.0, -1.0]]), 0.0, np.array([1.0]), 0.0)
    np.testing.assert_array_equal(relevance, [0.0, 0.0])
