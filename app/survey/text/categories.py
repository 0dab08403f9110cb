"""Kinds of words that tell no sentiment or topic by themselves: marks, numbers, names, and special tokens."""

from collections.abc import Sequence
from enum import StrEnum

from app.modalities.text.modality import TextSample
from app.modalities.text.tokens import Token

ENDS = frozenset(".!?…:;\"“”'‘’([-–—*•")
"""Marks after which a capital letter may be that of a sentence, a quotation or a heading."""


class Category(StrEnum):
    """What a word is, as its characters tell."""

    SPECIAL = "special token"
    """A token without characters in the text."""
    PUNCTUATION = "punctuation"
    """Without any letter or digit."""
    NUMBER = "number"
    """With a digit."""
    NAME = "capitalised"
    """With a capital letter at its beginning that is not the beginning of a sentence."""
    UNKNOWN = "unknown word"
    """Not in the vocabulary."""
    OTHER = "other word"


CATEGORIES = tuple(Category)


def category_of(word: str, before: str, *, known: bool) -> Category:
    """Return the category of a word, after the one ``before`` it, which is empty at the beginning of a text."""
    if not any(letter.isalnum() for letter in word):
        return Category.PUNCTUATION
    if any(letter.isdigit() for letter in word):
        return Category.NUMBER
    if len(word) > 1 and word[0].isupper() and before and before[-1] not in ENDS:
        return Category.NAME
    return Category.OTHER if known else Category.UNKNOWN


def words_of(sample: TextSample) -> tuple[list[str], list[Category]]:
    """Return the words of a text with their categories, by their index."""
    tokens: dict[int, list[Token]] = {}
    for token in sample.tokens:
        if token.word is not None:
            tokens.setdefault(token.word, []).append(token)
    words = [_characters(sample.text, tokens[word]) for word in sorted(tokens)]
    befores = ["", *words]
    categories = [
        category_of(word, before, known=all(token.known for token in tokens[index]))
        for index, (word, before) in enumerate(zip(words, befores, strict=False))
    ]
    return words, categories


def _characters(text: str, tokens: Sequence[Token]) -> str:
    start, end = min(token.start for token in tokens), max(token.end for token in tokens)
    return text[start:end] or tokens[0].text
