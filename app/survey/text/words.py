"""Words of one class: their mean relevance, and how often texts that have them are labelled as the class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.survey.arrays import Rows
from app.survey.predictions import Predictions
from app.survey.text.categories import CATEGORIES, Category
from app.survey.text.occurrences import Occurrences

LEAST_TEXTS = 5
"""Texts with a word that is listed, if there are `TEXTS_EACH` times as many texts; of fewer, fewer."""
TEXTS_EACH = 100
BALANCED = 0.1
"""How much the share of a label among texts with a word may exceed that among all, if it is not typical of it."""
SURE = 2.0
"""Standard errors by which a mean relevance exceeds zero that is more than chance."""


@dataclass(frozen=True)
class Word:
    """A word in the texts for which one class is predicted."""

    target: int
    text: str
    category: Category
    """The most frequent one."""
    mean: float
    """Relevance for the class, over all occurrences."""
    error: float
    """Standard error of the mean; 0 of one occurrence."""
    count: int
    """Texts with the word for which the class is predicted."""
    labelled: int
    """Texts with the word whose label is known, whatever is predicted."""
    share: float | None
    """Share of them whose label is the class; ``None`` without any."""
    of_all: float | None
    """Share of all texts with known labels whose label is the class."""

    @property
    def is_unsupported(self) -> bool:
        """Whether it speaks for the class, by more than chance, although labels do not: they are balanced."""
        if self.share is None or self.of_all is None or self.count < 2:
            return False
        return self.mean > SURE * self.error and self.share - self.of_all < BALANCED


def least_texts(count: int) -> int:
    """Return in how many of ``count`` texts a word must be to be listed."""
    return max(1, min(LEAST_TEXTS, count // TEXTS_EACH))


def words_of_class(target: int, found: Occurrences, predictions: Predictions) -> list[Word]:
    """Return the words of the texts for which ``target`` is predicted, the largest mean relevance first.

    Words of fewer texts than `least_texts` are left out.
    """
    inside = predictions.classes[found.texts] == target  # (m,)
    size = len(found.vocabulary)
    words, relevance = found.words[inside], found.relevance[inside].astype(np.float64)
    number = np.bincount(words, minlength=size)
    means = _divided(np.bincount(words, relevance, size), number)
    deviations = np.bincount(words, (relevance - means[words]) ** 2, size)
    errors = np.sqrt(_divided(deviations, number * (number - 1)))  # s / √n
    pairs = found.texts_of_words()
    counts = np.bincount(pairs[predictions.classes[pairs[:, 1]] == target, 0], minlength=size)
    labelled, with_label = _labels(target, pairs, predictions, size)
    categories = _most_frequent(words, found.categories[inside], size)
    known = predictions.known
    of_all = float((predictions.labels[known] == target).mean()) if known.any() else None
    listed = np.flatnonzero(counts >= least_texts(len(predictions.classes)))
    return [
        Word(
            target,
            found.vocabulary[word],
            CATEGORIES[categories[word]],
            float(means[word]),
            float(errors[word]),
            int(counts[word]),
            int(labelled[word]),
            float(with_label[word] / labelled[word]) if labelled[word] else None,
            of_all,
        )
        for word in listed[np.argsort(-means[listed], kind="stable")]
    ]


def category_means(
    target: int, found: Occurrences, predictions: Predictions
) -> list[dict[str, float | int | str]]:
    """Return for each category its share of the words and of the magnitude of relevance, and its mean relevance.

    Of the texts for which ``target`` is predicted; categories without a word are left out.
    """
    inside = predictions.classes[found.texts] == target
    categories, relevance = found.categories[inside], found.relevance[inside].astype(np.float64)
    total = float(np.abs(relevance).sum()) or 1.0
    return [
        {
            "category": category.value,
            "occurrences": int(chosen.sum()),
            "share": float(chosen.mean()),
            "share_of_relevance": float(np.abs(relevance[chosen]).sum()) / total,
            "mean": float(relevance[chosen].mean()),
        }
        for number, category in enumerate(CATEGORIES)
        if (chosen := categories == number).any()
    ]


def unsupported(words: Sequence[Word]) -> list[Word]:
    """Return those of one class's words that speak for it although labels do not, in their order."""
    return [one for one in words if one.is_unsupported]


def _labels(target: int, pairs: Rows, predictions: Predictions, size: int) -> tuple[Rows, Rows]:
    """Return for each word in how many texts with a known label it is, and in how many of the class, (words,)."""
    known = pairs[predictions.known[pairs[:, 1]]]
    of_class = known[predictions.labels[known[:, 1]] == target]
    return np.bincount(known[:, 0], minlength=size), np.bincount(of_class[:, 0], minlength=size)


def _most_frequent(words: Rows, categories: npt.NDArray[np.int8], size: int) -> Rows:
    pairs = words * len(CATEGORIES) + categories
    counts = np.bincount(pairs, minlength=size * len(CATEGORIES)).reshape(size, -1)
    return np.asarray(counts.argmax(1))


def _divided(sums: npt.NDArray[Any], counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
    return found
