"""The engine against autoLRP on small random networks of transformers for texts.

Their biases are 0 and missing there, because autoLRP gives biases a share of their own, with an ε of its own. The
relevance of a token is that of its vector: autoLRP starts from these.
"""

from pathlib import Path
from typing import Any

import autolrp
import pytest
import torch
from autolrp.config import BASE, LRPConfig
from small_transformers import CLASSES, NETWORKS, network_of, random_tokens, without_biases, write
from test_autolrp import ATTENTION, EPSILON, OUR_SUMS
from torch import Tensor, nn
from torch.nn import functional as F

from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.lrp.rules import ATTNLRP, CP, AttentionRule
from app.models.sources.protocol import SourceOptions
from app.models.sources.registry import load

TARGET = 1


def by_autolrp(network: Any, tokens: Tensor, attention: AttentionRule) -> Tensor:
    """Relevance of each text without padding, which gets 0: (B, T)."""
    config = LRPConfig(rule={**BASE, **ATTENTION[attention], **OUR_SUMS}, eps=EPSILON)
    forward, maps = type(network).forward, []  # that of the class takes vectors
    for row in tokens:
        own = row[row >= 0][None]  # (1, T)
        vectors = autolrp.tensor(network.get_input_embeddings()(own).detach())
        logits = forward(network, inputs_embeds=vectors, attention_mask=torch.ones_like(own)).logits
        logits[0, TARGET].lrp(config=config)
        R = vectors.relevance.sum(-1)  # (1, T, dimensions) -> (1, T)
        maps.append(F.pad(R, (0, tokens.shape[1] - R.shape[1])))
    return torch.cat(maps)


def by_engine(traced: TracedModel, tokens: Tensor, attention: AttentionRule) -> Tensor:
    composite = resolve(kinds(traced.graph), "epsilon", {"epsilon": EPSILON}, [], attention=attention)
    ones = F.one_hot(torch.tensor([TARGET] * len(tokens)), CLASSES).double()
    return Engine(traced).attribute(tokens, composite, lambda _: ones).relevance


def without_bias_parameters(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.LayerNorm | nn.Conv1d):
            module.bias = None
    return network


@pytest.mark.filterwarnings(
    "ignore:In-place 'add_' runs as 'add':UserWarning",
    "ignore:autoLRP. no installer matched 'torch..autograd..CopySlices':UserWarning",  # a mask
)
@pytest.mark.parametrize("model_type", NETWORKS)
def test_autolrp_agrees(model_type: str, tmp_path: Path) -> None:
    write(without_biases(network_of(model_type)), tmp_path)
    source = load(f"huggingface:{tmp_path}", SourceOptions())
    assert isinstance(source.network, nn.Module)
    traced = trace(source.network.double(), source.input.example())
    network, tokens = without_bias_parameters(source.network), random_tokens(9, 5)
    for attention in (CP, ATTNLRP):
        theirs = by_autolrp(network, tokens, attention)
        ours = by_engine(traced, tokens, attention)
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()
