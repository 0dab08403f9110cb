"""Tokens of a text, and the words that they belong to."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from app.modalities.text.tokenizer import Encoded

JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""Belong to the character before them, as combining marks do."""


@dataclass(frozen=True)
class Token:
    """A token that the network takes."""

    text: str
    """Its characters in the text; the token's name if it has none, as special tokens."""
    start: int
    """Its first character in the text."""
    end: int
    """The character after its last one; of a special token, as ``start``."""
    known: bool
    """Whether the vocabulary has it."""
    word: int | None
    """Index of the word that it belongs to; ``None`` for a special token."""


def tokens_of(text: str, encoded: Encoded) -> tuple[Token, ...]:
    """Return the tokens with their places in ``text``, without the white space around them.

    A word begins with each part that the tokenizer splits the text into, and at white space: some tokenizers
    split nothing.
    """
    found: list[Token] = []
    word, part, end = -1, None, 0  # those of the last token, and where it ends
    following = [*(start for start, _ in encoded.spans[1:]), len(text)]
    for place, (start, stop) in enumerate(encoded.spans):
        if encoded.special[place]:
            found.append(Token(encoded.names[place], end, end, known=True, word=None))
            continue
        split = encoded.parts[place] != part and not _is_mark(text[start : start + 1])
        word += word < 0 or split or _has_space(text, end, start) or text[start : start + 1].isspace()
        part = encoded.parts[place]
        start, stop = trimmed(text, start, _with_marks(text, stop, following[place]))
        end = max(end, stop)
        known = bool(encoded.known[place])
        found.append(Token(text[start:stop] or encoded.names[place], start, stop, known, word))
    return tuple(found)


def unread(text: str, tokens: Iterable[Token]) -> str:
    """Return the letters, digits and symbols before the end of the last token that are in none, each once.

    Some tokenizers delete them. That others delete punctuation or accents is nothing to be told of each text.
    """
    missing, end = "", 0
    for token in tokens:
        missing, end = missing + text[end : token.start], max(end, token.end)
    return "".join(dict.fromkeys(letter for letter in missing if unicodedata.category(letter)[0] in "LNS"))


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without white space at its ends; one of white space only is returned as it is."""
    inside = text[start:end].strip()
    if not inside:
        return start, end
    start += text[start:end].index(inside)
    return start, start + len(inside)


def _has_space(text: str, start: int, end: int) -> bool:
    return any(letter.isspace() for letter in text[start:end])


def _with_marks(text: str, end: int, limit: int) -> int:
    """Return ``end`` moved behind the marks of the character before it, no further than ``limit``."""
    while 0 < end < limit and _is_mark(text[end]):
        end += 1
    return end


def _is_mark(letter: str) -> bool:
    return letter != "" and (letter in JOINERS or unicodedata.category(letter)[0] == "M")
