"""Small random networks of transformers for texts, and the folders that it writes of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

VOCABULARY, POSITIONS, CLASSES = 64, 40, 3
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
    "num_labels": CLASSES,
}
_DISTILBERT_NAMES = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
}
_RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("Bert", _SIZES),
    "distilbert": ("DistilBert", {_DISTILBERT_NAMES.get(name, name): size for name, size in _SIZES.items()}),
    "roberta": ("Roberta", {**_SIZES, "pad_token_id": 1}),
    "electra": ("Electra", {**_SIZES, "embedding_size": 24}),
    "deberta": ("Deberta", {**_SIZES, **_RELATIVE}),
    "deberta-v2": (
        "DebertaV2",
        {
            **_SIZES,
            **_RELATIVE,
            "position_buckets": 8,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
        },
    ),
}
"""Names of classes in transformers, and configurations, by ``model_type``."""


def network_of(model_type: str, **options: Any) -> Any:
    """Return a network with random weights, in evaluation mode."""
    import transformers

    name, config = NETWORKS[model_type]
    own = getattr(transformers, f"{name}Config")(**{**config, **options})
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network: nn.Module = getattr(transformers, f"{name}ForSequenceClassification")(own)
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return network.eval()


def without_biases(network: nn.Module) -> nn.Module:
    """Return ``network`` with biases of 0, those of layer norms as well."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return network


def write(network: Any, folder: Path) -> None:
    """Write the network and a tokenizer of its vocabulary into ``folder``."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    network.save_pretrained(folder)
    words = {f"word{index}": index for index in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="word0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def scores_of(network: Any, tokens: Tensor) -> Tensor:
    """Return what transformers gives for tokens (B, T), where -1 is padding: (B, C)."""
    padding = network.config.pad_token_id or 0
    with torch.no_grad():
        found: Tensor = network(
            input_ids=tokens.masked_fill(tokens < 0, padding), attention_mask=(tokens >= 0).long()
        ).logits
    return found


def random_tokens(*lengths: int) -> Tensor:
    """Return random tokens (B, T) of texts of these lengths, padded on the right by -1."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, VOCABULARY, (len(lengths), max(lengths)), generator=generator)
    for row, length in zip(tokens, lengths, strict=True):
        row[length:] = -1
    return tokens
