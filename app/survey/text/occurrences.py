"""All words of a survey's texts, with their relevance."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.modalities.text.modality import TextSample, groups
from app.survey.arrays import Floats, Rows
from app.survey.text.categories import CATEGORIES, Category, words_of

SPECIAL_PLACE = -1


@dataclass(frozen=True, eq=False)
class Occurrences:
    """The m words of all n texts, in their order; words that differ in capitals only are one."""

    vocabulary: tuple[str, ...]
    """Each word once, in lower case."""
    texts: Rows
    """Text of each occurrence, (m,)."""
    words: Rows
    """Word of each, an index of ``vocabulary``, (m,)."""
    places: Rows
    """Index of each within its text, `SPECIAL_PLACE` for special tokens, (m,)."""
    categories: npt.NDArray[np.int8]
    """Index of `CATEGORIES`, (m,)."""
    relevance: Floats
    """(m,)"""

    def of_text(self, text: int) -> slice:
        """Return where the occurrences of a text are."""
        return slice(*np.searchsorted(self.texts, [text, text + 1]))

    def texts_of_words(self) -> Rows:
        """Return pairs of a word and a text that has it, each once, (pairs, 2)."""
        return np.unique(np.stack([self.words, self.texts], 1), axis=0)


def occurrences_of(
    samples: Iterable[TextSample], maps: Iterable[Floats], advance: Callable[[int], None]
) -> Occurrences:
    """Return the words of texts with their maps; what these have beyond the tokens of the text is ignored."""
    numbers: dict[str, int] = {}
    texts, words, places, categories = list[int](), list[int](), list[int](), list[int]()
    relevance: list[float] = []
    for text, (sample, scores) in enumerate(zip(samples, maps, strict=True)):
        for word, place, category, score in _scored(sample, scores):
            texts.append(text)
            words.append(numbers.setdefault(word.casefold(), len(numbers)))
            places.append(place)
            categories.append(CATEGORIES.index(category))
            relevance.append(score)
        advance(1)
    return Occurrences(
        tuple(numbers),
        np.array(texts, np.intp),
        np.array(words, np.intp),
        np.array(places, np.intp),
        np.array(categories, np.int8),
        np.array(relevance, np.float32),
    )


def _scored(sample: TextSample, scores: Floats) -> Iterable[tuple[str, int, Category, float]]:
    """Yield word, place, category and relevance of each word, and of each special token."""
    words, categories = words_of(sample)
    of_words, scores = groups(sample), scores[: len(sample.tokens)].astype(np.float64)
    sums = np.bincount(of_words[of_words >= 0], scores[of_words >= 0], len(words))
    yield from zip(words, range(len(words)), categories, sums.tolist(), strict=True)
    for token, score in zip(sample.tokens, scores.tolist(), strict=True):
        if token.word is None:
            yield token.text, SPECIAL_PLACE, Category.SPECIAL, score
