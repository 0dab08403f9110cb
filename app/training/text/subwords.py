"""Word vectors composed of parts that similar spellings share, folded into a plain embedding after training."""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BUCKETS = 20_000
"""Number of vectors that n-grams share by their hash."""
LENGTHS = (3, 4, 5)
"""Lengths of n-grams in characters."""
INITIAL_STD = 0.1


class SubwordEmbedding(nn.Module):
    """An embedding whose vector of a word is one of its own plus the mean of those of its character n-grams.

    Bojanowski et al. 2017. Half of the words of a small set of sentences occur only once, and know something of
    their meaning from n-grams that are also part of others: ids (…) -> (…, width).
    """

    def __init__(self, words: Sequence[str], width: int) -> None:
        """Create the embedding of ``words``, in the order of their ids."""
        super().__init__()
        self.words = nn.Parameter(INITIAL_STD * torch.randn(len(words), width))
        self.ngrams = nn.Parameter(INITIAL_STD * torch.randn(BUCKETS, width))
        self._buckets = [torch.tensor(buckets(word), dtype=torch.int64) for word in words]

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vectors of ``ids``; each different word is composed once."""
        different, inverse = ids.unique(return_inverse=True)
        return F.embedding(inverse, self._composed(different))

    @torch.no_grad()
    def folded(self) -> Tensor:
        """Return the vectors of all words, (words, width)."""
        return self._composed(torch.arange(len(self.words)))

    def _composed(self, ids: Tensor) -> Tensor:
        """Return the vectors of some words: (n,) -> (n, width)."""
        parts = [self._buckets[index] for index in ids.tolist()]
        lengths = torch.tensor([0, *(len(part) for part in parts[:-1])])
        means = F.embedding_bag(torch.cat(parts), self.ngrams, lengths.cumsum(0), mode="mean")
        return self.words[ids] + means


def buckets(word: str) -> list[int]:
    """Return the indices of the vectors of a word's n-grams; short words have none.

    The ends of the word are marked, so that its beginning and end differ from the same letters within others.
    """
    if len(word) < min(LENGTHS):
        return []
    marked = f"<{word}>"
    ngrams = {marked[i : i + n] for n in LENGTHS for i in range(len(marked) - n + 1)}
    return [zlib.crc32(ngram.encode()) % BUCKETS for ngram in sorted(ngrams)]
