"""The engine against autoLRP, which follows the autograd graph of a module, on small random networks.

Both have the same ε, and the networks no biases: autoLRP leaves biases out of denominators and gives them a share
of their own. Where its definition of a node differs, it is given ours; see "Against autoLRP" in
docs/correctness.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import autolrp
import pytest
import torch
from autolrp.backward.rules import epsilon as epsilon_rule
from autolrp.config import ATTNLRP as PASSING_SOFTMAX
from autolrp.config import BASE, CPLRP, LRPConfig
from small_networks import ConvNeXt, ResNet, VisionTransformer, random_network
from torch import Tensor, nn
from torch.nn import functional as F

from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.lrp.rules import ATTNLRP, CP, AttentionRule

EPSILON = 1e-6  # as the engine's in sums, means and products of matrices, which cannot be chosen
CLASSES = (1, 3)

Rules = Mapping[str, Any]
"""autoLRP's rule of each node of the autograd graph."""


def stabilized(z: Tensor, epsilon: float) -> Tensor:
    return torch.where(z < 0, z - epsilon, z + epsilon)


def sum_by_contributions(
    a: Tensor, b: Tensor, R: Tensor, eps: float, *_: Any, **__: Any
) -> tuple[Tensor, Tensor]:
    q = R / stabilized(a + b, eps)
    return a * q, b * q


def mean_by_contributions(
    x: Tensor, _: None, R: Tensor, eps: float, *, dim: Sequence[int], **__: Any
) -> Tensor:
    mean = x.mean(tuple(dim), keepdim=True)
    return x * (R.view_as(mean) / stabilized(mean, eps)) * mean.numel() / x.numel()


def halves(
    a: Tensor, b: Tensor, R: Tensor, eps: float, *arguments: Any, **options: Any
) -> tuple[Tensor | None, Tensor | None]:
    """R / s(2z), which is R/2 / s(z) with half the ε."""
    first, second = epsilon_rule(a, b, R, eps / 2, *arguments, **options)
    return first, second


def centring(
    x: Tensor, _: Tensor, R: Tensor, eps: float, *, normalized_shape: Sequence[int], **__: Any
) -> Tensor:
    """The LN-rule of Ali et al. 2022: the deviation is a constant, which R / s(z) cancels but for ε."""
    assert len(normalized_shape) == 1
    q = R / stabilized(x - x.mean(-1, keepdim=True), eps)
    return x * (q - q.mean(-1, keepdim=True))


OUR_SUMS: Rules = {"AddBackward": sum_by_contributions, "MeanBackward": mean_by_contributions}
OUR_NORMS: Rules = {"NativeLayerNormBackward": centring}
ATTENTION: Mapping[str, Rules] = {
    CP: {**CPLRP, **OUR_NORMS},
    ATTNLRP: {**PASSING_SOFTMAX, "bilinear": halves},
}
CONVOLUTIONS: Mapping[str, Rules] = {"epsilon": {}, "epsilon_plus": {"ConvolutionBackward": "zplus"}}


def by_autolrp(model: nn.Module, inputs: Tensor, rules: Rules) -> Tensor:
    """Relevance of ``inputs`` (B, …) for 1 at one class of each."""
    maps = []
    for row, target in zip(inputs.split(1), CLASSES, strict=True):
        wrapped = autolrp.tensor(row)
        model(wrapped)[0, target].lrp(config=LRPConfig(rule={**BASE, **rules}, eps=EPSILON))
        maps.append(wrapped.relevance)
    return torch.cat(maps)


def by_engine(model: nn.Module, inputs: Tensor, rule: str, attention: AttentionRule) -> Tensor:
    traced = trace(model, inputs)
    composite = resolve(kinds(traced.graph), rule, {"epsilon": EPSILON}, [], attention=attention)
    bounds = torch.zeros(1, dtype=inputs.dtype)  # no rule here reads them
    ones = F.one_hot(torch.tensor(CLASSES), 5).to(inputs.dtype)
    return Engine(traced, bounds, bounds).attribute(inputs, composite, lambda _: ones).relevance


@pytest.mark.parametrize("rule", ["epsilon", "epsilon_plus"])
@pytest.mark.parametrize(
    ("architecture", "attention"),
    [(ResNet, CP), (ConvNeXt, CP), (VisionTransformer, CP), (VisionTransformer, ATTNLRP)],
)
def test_autolrp_agrees(architecture: type[nn.Module], attention: AttentionRule, rule: str) -> None:
    model = random_network(architecture)
    # Batch norm is another node there: its ε is negligible for large inputs.
    inputs = 1e3 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    theirs = by_autolrp(model, inputs, {**CONVOLUTIONS[rule], **ATTENTION[attention], **OUR_SUMS})
    ours = by_engine(model, inputs, rule, attention)
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()
