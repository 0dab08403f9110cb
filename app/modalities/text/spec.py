"""The input of a network that takes text, as its card describes it."""

from dataclasses import dataclass

PADDING = -1
"""Id in place of a token where a row of a batch is shorter than others."""


@dataclass(frozen=True)
class TextSpec:
    """Tokens that a network takes."""

    tokenizer: str
    """JSON of the library `tokenizers`."""
    max_tokens: int
    """Tokens of one text, special ones included."""
