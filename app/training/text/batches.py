"""Batches of token ids."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from app.modalities.text.spec import PADDING

UNKNOWN_ID = 0
SORTED_BATCHES = 8
"""Number of batches whose texts are sorted by length together, so that a batch has little padding."""


@dataclass(frozen=True)
class TokenizedTexts:
    """Ids of each text, each (T,) int64, and the probabilities of its classes (N, classes) to learn."""

    ids: Sequence[Tensor]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.ids)


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[Tensor]:
    """Return the ids (T,) of each text; a text without any word is one unknown word."""
    encoded = tokenizer.encode_batch_fast(list(texts))
    return [torch.tensor(one.ids[:max_tokens] or [UNKNOWN_ID]) for one in encoded]


def padded(ids: Sequence[Tensor]) -> Tensor:
    """Return texts as one tensor (B, T) with padding on the right."""
    return pad_sequence(list(ids), batch_first=True, padding_value=PADDING)


def shuffled(texts: TokenizedTexts, size: int, word_dropout: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids (B, T) and targets (B, classes) of all texts in random order, ``size`` texts a batch.

    A token becomes the unknown word with the probability ``word_dropout``. An incomplete last batch is dropped.
    Random numbers are torch's.
    """
    order = torch.randperm(len(texts)).split(size * SORTED_BATCHES)
    by_length = [sorted(part.tolist(), key=lambda index: len(texts.ids[index])) for part in order]
    batches = [torch.tensor(part[i : i + size]) for part in by_length for i in range(0, len(part), size)]
    complete = [batch for batch in batches if len(batch) == size]
    for position in torch.randperm(len(complete)).tolist():
        chosen = complete[position]
        ids = padded([texts.ids[index] for index in chosen.tolist()])
        dropped = (torch.rand(ids.shape) < word_dropout) & (ids != PADDING)
        yield ids.masked_fill(dropped, UNKNOWN_ID), texts.targets[chosen]


def random_parts(ids: Sequence[Tensor], count: int, seed: int) -> list[Tensor]:
    """Return ``count`` random parts of each text, of three tokens or more where the text has as many."""
    generator = random.Random(seed)  # noqa: S311 # not for secrets

    def part(text: Tensor) -> Tensor:
        length = generator.randint(min(3, len(text)), len(text))
        start = generator.randint(0, len(text) - length)
        return text[start : start + length]

    return [part(text) for text in ids for _ in range(count)]
