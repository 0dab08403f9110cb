"""The card of a network that takes text: its tokenizer and how many tokens it takes."""

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from app.errors import RefusedToStartError
from app.lrp.graph.graph import BATCH, TOKENS, Shape
from app.modalities.text.spec import TextSpec
from app.models.card import ModelCard
from app.models.records import CardPart

TOKENIZER = "tokenizer.json"
"""File name of a model's tokenizer, in the form of the library `tokenizers`."""
MAX_TOKENS = 4096


class TextInput(CardPart):
    """What the network takes of a text."""

    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = Field(
        description="Tokens of one text, special ones included; of a longer text the first ones are taken."
    )


class TextCard(ModelCard):
    """Card of a network that takes text."""

    meaning = frozenset({"text"})
    has_bounds = False

    kind: Literal["text"]
    text: TextInput

    @model_validator(mode="after")
    def _has_tokenizer(self) -> Self:
        if TOKENIZER not in self.files:
            raise ValueError(f"files: must list {TOKENIZER}")
        return self

    @property
    def input_shape(self) -> Shape:
        """See `ModelCard`: (B, T)."""
        return BATCH, TOKENS

    def example_input(self) -> npt.NDArray[np.int64]:
        """See `ModelCard`: the first tokens of the vocabulary, (T,)."""
        return np.zeros(min(8, self.text.max_tokens), np.int64)

    def spec(self, tokenizer: str) -> TextSpec:
        """Return the input in terms of `app.modalities.text`; ``tokenizer`` is the content of its file."""
        return TextSpec(tokenizer, self.text.max_tokens)


def text_card(card: ModelCard) -> TextCard:
    """Return ``card`` as that of a network that takes text; raises `RefusedToStartError` for another kind."""
    if not isinstance(card, TextCard):
        raise RefusedToStartError(f"model {card.name} takes {card.kind}; this works with text only")
    return card
