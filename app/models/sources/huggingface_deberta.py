"""Networks of the DeBERTa family of transformers, written so that torch.export takes any number of tokens.

They compute the same. The first version derives the span of attention from the number of tokens, and writes layer
norms out.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from app.models.sources.names import imported

_MODULE = "transformers.models.deberta.modeling_deberta"


def rewrite(network: nn.Module) -> None:
    """Give ``network`` the layer norms of PyTorch."""
    own_norm = imported(_MODULE, "huggingface").DebertaLayerNorm
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, own_norm):
                setattr(module, name, _as_layer_norm(child))


@contextmanager
def whole_span() -> Iterator[None]:
    """Within it, the first version's attention reads the whole table of relative positions for all texts.

    It takes the middle of the table for short ones, and counts positions from there: the same rows.
    """
    module = imported(_MODULE, "huggingface")
    original = module.compute_attention_span
    module.compute_attention_span = lambda _, __, max_positions: max_positions
    try:
        yield
    finally:
        module.compute_attention_span = original


def _as_layer_norm(norm: Any) -> nn.LayerNorm:
    same = nn.LayerNorm(norm.weight.shape, norm.variance_epsilon)
    same.load_state_dict(norm.state_dict())
    return same.to(norm.weight.dtype).eval()
