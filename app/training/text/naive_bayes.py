"""A linear model of n-grams, weighted by naive Bayes' log-count ratios (NB-SVM, Wang and Manning 2012)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

CHARACTERS = range(2, 6)
"""Lengths of n-grams of characters, within a word and its ends."""
PENALTY = 20.0
"""Half of the squared norm of the weights is added to the sum of losses, times this."""
ITERATIONS = 40

Texts = Sequence[Sequence[str]]
"""Words of each text."""


class NaiveBayes:
    """Class probabilities by logistic regression on words, pairs of words and n-grams of characters.

    A feature that a text has counts with the logarithm of the ratio of its frequencies in the class and in the
    others, as in naive Bayes, times a weight that is fitted.
    """

    def __init__(self, texts: Texts, labels: Tensor, classes: int) -> None:
        """Fit the model to the words of each text and labels (N,)."""
        found = [features(words) for words in texts]
        self._indices: dict[str, int] = {}
        for one in found:
            for feature in sorted(one):
                self._indices.setdefault(feature, len(self._indices))
        bag = self._bag(found)
        ratios = self._ratios(bag, labels, classes)  # (F, classes)
        weights = torch.zeros_like(ratios, requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            errors = F.cross_entropy(_sums(bag, weights * ratios), labels, reduction="sum")
            value = (errors + PENALTY / 2 * weights.square().sum()) / len(labels)
            value.backward()
            return value

        optimizer.step(loss)
        self._weights = (weights * ratios).detach()

    def probabilities(self, texts: Texts) -> Tensor:
        """Return the probabilities (N, classes) of the classes of each text."""
        return _sums(self._bag([features(words) for words in texts]), self._weights).softmax(1)

    def _bag(self, found: Sequence[set[str]]) -> tuple[Tensor, Tensor]:
        """Return the indices of the features of all texts, one after another, and where each text starts."""
        known = [[self._indices[one] for one in sorted(text) if one in self._indices] for text in found]
        starts = torch.tensor([0, *(len(indices) for indices in known[:-1])]).cumsum(0)
        return torch.tensor([index for indices in known for index in indices]), starts

    def _ratios(self, bag: tuple[Tensor, Tensor], labels: Tensor, classes: int) -> Tensor:
        """Return the log-count ratio of each feature and class, (F, classes); counts start at 1."""
        indices, starts = bag
        lengths = torch.diff(starts, append=torch.tensor([len(indices)]))
        of_class = F.one_hot(labels, classes).float().repeat_interleave(lengths, 0)  # (all features, classes)
        counts = torch.zeros(len(self._indices), classes).index_add_(0, indices, of_class)
        others = counts.sum(1, keepdim=True) - counts
        shares, other_shares = ((1 + x) / (1 + x).sum(0) for x in (counts, others))
        return (shares / other_shares).log()


def features(words: Sequence[str]) -> set[str]:
    """Return the words, pairs of words and n-grams of characters of a text."""
    pairs = {f"{first} {second}" for first, second in itertools.pairwise(words)}
    marked = [f"<{word}>" for word in words]
    ngrams = {f"#{word[i : i + n]}" for word in marked for n in CHARACTERS for i in range(len(word) - n + 1)}
    return {*words, *pairs, *ngrams}


def _sums(bag: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
    """Return the sums (N, classes) of the weights (F, classes) of each text's features."""
    return F.embedding_bag(bag[0], weights, bag[1], mode="sum")
