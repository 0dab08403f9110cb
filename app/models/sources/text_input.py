"""Tokens, as the source of a network states what it takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from app.errors import SourceError
from app.modalities.text.spec import PADDING
from app.models.sources.protocol import SourceOptions
from app.models.text_card import TOKENIZER

LENGTHS = (9, 5)
"""Tokens of the random texts that are explained as one batch."""
LONGEST = 512
"""Tokens of the longest random text for which scores are compared."""
_OF_PICTURES = ("mean", "std", "size", "resize", "interpolation")


@dataclass(frozen=True)
class TextInput:
    """Numbers of tokens (B, T); an `app.models.sources.protocol.SourceInput`."""

    tokenizer: bytes
    """Content of the file `TOKENIZER`."""
    vocabulary: int
    """How many tokens the network knows."""
    max_tokens: int

    @property
    def card_fields(self) -> Mapping[str, Any]:
        """See `app.models.sources.protocol.SourceInput`."""
        return {"kind": "text", "text": {"max_tokens": self.max_tokens}}

    @property
    def assets(self) -> Mapping[str, bytes]:
        """See `app.models.sources.protocol.SourceInput`."""
        return {TOKENIZER: self.tokenizer}

    @property
    def bounds(self) -> tuple[Tensor, ...]:
        """See `app.models.sources.protocol.SourceInput`: there are none."""
        return ()

    def with_options(self, options: SourceOptions) -> "TextInput":
        """See `app.models.sources.protocol.SourceInput`."""
        for name in _OF_PICTURES:
            if getattr(options, name) is not None:
                raise SourceError(f"--{name} is for networks that take pictures; this one takes text")
        return self

    def example(self) -> Tensor:
        """See `app.models.sources.protocol.SourceInput`."""
        return torch.zeros(1, self.max_tokens, dtype=torch.long)

    def random_batches(self) -> Sequence[Tensor]:
        """See `app.models.sources.protocol.SourceInput`: a long text, and two of different lengths."""
        longest = min(LONGEST, self.max_tokens)
        lengths = [min(length, self.max_tokens) for length in LENGTHS]
        tokens = torch.randint(self.vocabulary, (3, longest), generator=torch.Generator().manual_seed(0))
        padded = tokens[1:, : max(lengths)].clone()
        for row, length in zip(padded, lengths, strict=True):
            row[length:] = PADDING
        return tokens[:1], padded

    def alone(self, batch: Tensor) -> Sequence[Tensor]:
        """See `app.models.sources.protocol.SourceInput`: one text each."""
        return [row[row != PADDING][None] for row in batch]
