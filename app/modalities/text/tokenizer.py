"""Tokenizers: text to ids, and where in the text each token is."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.errors import InvalidTextError, RefusedToStartError

if TYPE_CHECKING:
    from tokenizers import Encoding

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Tokens of a text, all arrays (T,) or (T, 2)."""

    ids: Ids
    special: Mask
    """Whether the tokenizer has added the token to those of the text."""
    known: Mask
    spans: list[tuple[int, int]]
    """First character in the text, and the one after the last; (0, 0) for special tokens."""
    parts: list[int | None]
    """Number of the part that a token belongs to, as the tokenizer splits the text at first."""
    names: list[str]
    """As in the vocabulary."""
    cut: int
    """How many tokens at the end of the text are left out."""


class TextTokenizer:
    """A tokenizer of the library `tokenizers`, without its padding and truncation."""

    def __init__(self, content: str, max_tokens: int) -> None:
        """``content`` is its JSON; raises `RefusedToStartError` for one that cannot be used."""
        from tokenizers import Tokenizer  # where a network takes text

        try:
            self._tokenizer: Any = Tokenizer.from_str(content)
        except Exception as error:  # noqa: BLE001 # the library raises nothing more specific
            raise RefusedToStartError(f"the tokenizer cannot be read: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = (
            True  # a text that contains "[PAD]" means these five characters
        )
        self._max_tokens = max_tokens
        self.unknown = self._unknown(json.loads(content)["model"])
        """Id in place of what the vocabulary lacks; ``None`` if the tokenizer has none."""
        self._special = [
            number
            for number, token in self._tokenizer.get_added_tokens_decoder().items()
            if token.special and number != self.unknown
        ]
        if self._tokenizer.num_special_tokens_to_add(is_pair=False) >= max_tokens:
            raise RefusedToStartError(f"max_tokens is {max_tokens}, which the tokenizer's own tokens fill")

    def encode(self, text: str) -> Encoded:
        """Return the tokens of ``text``: special ones, and as many of its first ones as the network takes.

        Raises `InvalidTextError` for a text without tokens.
        """
        encoding = self._tokenizer.encode(text)
        special = np.array(encoding.special_tokens_mask, np.bool_)  # (T,)
        if special.all():
            raise InvalidTextError("has no token of the model; write something else")
        room = self._max_tokens - np.count_nonzero(special)
        taken = np.flatnonzero(special | (np.cumsum(~special) <= room))
        ids = self._without_special(encoding, special)[taken]
        return Encoded(
            ids,
            special[taken],
            ids != self.unknown if self.unknown is not None else np.ones_like(ids, np.bool_),
            [encoding.token_to_chars(place) or (0, 0) for place in taken],
            [encoding.token_to_word(place) for place in taken],
            [self._tokenizer.id_to_token(number) for number in ids],
            len(special) - len(taken),
        )

    def _without_special(self, encoding: "Encoding", special: Mask) -> Ids:
        """Return the ids, with the unknown token where the text itself contains the name of a special one.

        Most tokenizers take such a name apart; one that splits at white space only finds it in its vocabulary.
        """
        ids = np.array(encoding.ids, np.int64)
        written = np.flatnonzero(~special & np.isin(ids, self._special))
        if len(written) and self.unknown is None:
            name = encoding.tokens[written[0]]
            raise InvalidTextError(f"contains {name!r}, a special token of the model; write it apart")
        ids[written] = self.unknown if self.unknown is not None else ids[written]
        return ids

    def _unknown(self, model: Any) -> int | None:
        name = model.get("unk_token")
        number: int | None = self._tokenizer.token_to_id(name) if name else model.get("unk_id")
        if name and number is None:
            raise RefusedToStartError(f"the tokenizer's vocabulary lacks its unknown token {name!r}")
        if number is None and not self._has_all_bytes():
            raise RefusedToStartError(
                "the tokenizer has neither an unknown token nor one for each byte, so it passes over letters "
                "that it does not know; add an unknown token"
            )
        return number

    def _has_all_bytes(self) -> bool:
        from tokenizers.pre_tokenizers import ByteLevel

        vocabulary = set(self._tokenizer.get_vocab())
        fallback = {f"<0x{byte:02X}>" for byte in range(256)}
        return vocabulary >= set(ByteLevel.alphabet()) or vocabulary >= fallback
