"""Networks for the classification of texts that transformers' ``save_pretrained`` wrote.

Each becomes a module that takes the numbers of tokens alone, (B, T): it derives the mask from them, and counts
positions itself where transformers derives them from a token for padding.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from app.errors import SourceError
from app.models.card import Output
from app.models.sources import huggingface_deberta
from app.models.sources.huggingface_files import CONFIG, labels, pretrained
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.text_input import TextInput
from app.models.text_card import MAX_TOKENS, TOKENIZER

OUTPUTS: Mapping[str, Output] = {
    "single_label_classification": "classes",
    "multi_label_classification": "labels",
    "regression": "value",
}
"""What the network returns, by ``problem_type``."""
UNNAMED = "LABEL_0"
"""Name that transformers gives to the only output of a network."""


@dataclass(frozen=True)
class Family:
    """What networks of a ``model_type`` have in common."""

    positions_after_padding: bool = False
    """Whether the first position is the one after the number of the token for padding, instead of 0."""
    has_token_types: bool = True
    is_relative: bool = False
    """Whether attention looks up relative positions (DeBERTa)."""


_ROBERTA = Family(positions_after_padding=True)
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bert": Family(),
        "distilbert": Family(has_token_types=False),
        "electra": Family(),
        "roberta": _ROBERTA,
        "camembert": _ROBERTA,
        "xlm-roberta": _ROBERTA,
        "deberta": Family(is_relative=True),
        "deberta-v2": Family(is_relative=True),
    }
)
"""By ``model_type`` in the configuration."""


def text_model(
    folder: Path, architecture: str, config: Mapping[str, Any], options: SourceOptions
) -> SourceModel:
    """Return the network for texts in ``folder``; raises `SourceError`."""
    del options  # none of them is needed to build the network
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise SourceError(
            f"{folder / CONFIG}: networks of type {config.get('model_type')!r} cannot be served; those of type "
            f"{', '.join(FAMILIES)} can"
        )
    if config.get("is_decoder"):
        raise SourceError(
            f"{folder / CONFIG}: is_decoder: the network reads tokens from left to right; only networks whose "
            "attention sees all tokens can be served"
        )
    tokenizer = _tokenizer(folder)
    network = pretrained(
        "AutoModelForSequenceClassification", folder, "eager" if family.is_relative else "sdpa"
    )
    own: Any = network.config
    text = TextInput(tokenizer, own.vocab_size, min(_positions(own, family), MAX_TOKENS))
    _check_vocabulary(tokenizer, text.vocabulary, folder)
    output = _output(own, folder)
    names = labels(config) if own.num_labels > 1 or labels(config) != (UNNAMED,) else None
    return SourceModel(_of_tokens(network, family), architecture, text, names, output)


def _tokenizer(folder: Path) -> bytes:
    try:
        return (folder / TOKENIZER).read_bytes()
    except OSError as error:
        raise SourceError(
            f"{folder / TOKENIZER}: cannot be read ({error.strerror}); write it beside the network: "
            f"transformers.AutoTokenizer.from_pretrained(NAME).save_pretrained({str(folder)!r})"
        ) from None


def _check_vocabulary(tokenizer: bytes, known: int, folder: Path) -> None:
    """Raise `SourceError` if the tokenizer has tokens that the network does not know."""
    from tokenizers import Tokenizer  # only where a network takes text

    try:
        read = Tokenizer.from_buffer(tokenizer)
    except Exception as error:  # noqa: BLE001 it raises this very class
        raise SourceError(f"{folder / TOKENIZER}: not a tokenizer: {error}") from None
    count = max(read.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if count > known:
        raise SourceError(
            f"{folder / TOKENIZER}: not the tokenizer of this network: it has {count} tokens, and the network "
            f"knows {known}"
        )


def _positions(config: Any, family: Family) -> int:
    """Return how many tokens a text may have."""
    return int(config.max_position_embeddings) - _first_position(config, family)


def _first_position(config: Any, family: Family) -> int:
    return int(config.pad_token_id) + 1 if family.positions_after_padding else 0


def _output(config: Any, folder: Path) -> Output:
    """Return what the logits mean; without ``problem_type``, transformers takes one number for a regression."""
    guess = "regression" if config.num_labels == 1 else "single_label_classification"
    problem = config.problem_type or guess
    if problem not in OUTPUTS:
        raise SourceError(f"{folder / CONFIG}: problem_type {problem!r} is none of {', '.join(OUTPUTS)}")
    output = OUTPUTS[problem]
    if output == "value" and config.num_labels > 1:
        raise SourceError(
            f"{folder / CONFIG}: a regression of {config.num_labels} numbers; only one can be served"
        )
    return output


def _of_tokens(network: nn.Module, family: Family) -> nn.Module:
    """Return ``network`` as a module that takes tokens (B, T) and returns logits (B, C)."""
    whole: Any = network.forward
    config: Any = network.config
    first = _first_position(config, family)
    if family.is_relative:
        huggingface_deberta.rewrite(network)

    def forward(tokens: Tensor) -> Tensor:
        mask = tokens >= 0  # (B, T)
        inputs: dict[str, Tensor] = {
            "input_ids": tokens.clamp(min=0),
            "attention_mask": mask.long() if family.is_relative else mask[:, None, None, :],
            "position_ids": torch.arange(tokens.shape[1])[None] + first,
        }
        if family.has_token_types:
            inputs["token_type_ids"] = torch.zeros(1, 1, dtype=torch.long)
        with huggingface_deberta.whole_span() if family.is_relative else nullcontext():
            logits: Tensor = whole(**inputs).logits
        return logits

    network.forward = forward  # a module around it would change names of layers
    return network
