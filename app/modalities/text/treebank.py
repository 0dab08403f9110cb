"""Text that was tokenized as the Penn Treebank, as people write it."""

import re

PENN_TREEBANK = {"``": '"', "''": '"', "lrb": "(", "rrb": ")"}
"""Marks that stand for others in text that was tokenized as the Penn Treebank. SST lost the hyphens of -lrb-."""
SPACED_OUT = re.compile(r"(?<=\S) (?=n't\b|'(?:s|re|ve|ll|d|m)\b)")
"""Spaces that the Penn Treebank's tokenization put before clitics: "do n't", "it 's"."""


def unescape(text: str) -> str:
    """Return text that was tokenized as the Penn Treebank as people write it: quotes, brackets, "don't"."""
    words = (PENN_TREEBANK.get(word, word) for word in text.split(" "))
    return SPACED_OUT.sub("", " ".join(words))
