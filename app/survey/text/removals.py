"""Words without which predictions change: the most relevant ones of each text are deleted, one after another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.modalities.text.modality import TextSample, without
from app.models.protocol import Job
from app.survey.network import IN_FLIGHT, Network, run
from app.survey.predictions import Predictions
from app.survey.text.occurrences import SPECIAL_PLACE, Occurrences

MAX_TEXTS = 2_000
"""Texts that are tried: of more, so many are drawn at random."""
WORDS_EACH = 3
"""Words of each that are deleted: those with the largest relevance for the predicted class, if it is positive."""


@dataclass(frozen=True)
class Removal:
    """One text without all occurrences of one word."""

    text: int
    word: int
    """Index of the vocabulary."""
    target: int
    """The class that is predicted for the whole text."""
    becomes: int
    """The class that is predicted without the word."""

    @property
    def flips(self) -> bool:
        """Whether the prediction changes."""
        return self.becomes != self.target


@dataclass(frozen=True)
class Flipping:
    """A word, and how often predictions of one class change without it."""

    target: int
    text: str
    tried: int
    flips: int
    becomes: int
    """The class that is predicted most often then."""
    texts: tuple[int, ...]
    """Those whose prediction changes."""


async def removals(
    network: Network,
    sample: Callable[[int], TextSample],
    found: Occurrences,
    predictions: Predictions,
    seed: int,
    advance: Callable[[int], None],
) -> list[Removal]:
    """Delete words of texts; ``advance`` is called with the number of texts that were tried."""
    tried: list[Removal] = []
    chosen, step = chosen_texts(len(predictions.classes), seed), IN_FLIGHT // WORDS_EACH
    for texts in (chosen[first : first + step] for first in range(0, len(chosen), step)):
        pairs = [(text, word) for text in texts for word in most_relevant(found, text)]
        results = await run(network, _jobs(pairs, sample, found))
        tried += [
            Removal(text, word, int(predictions.classes[text]), int(np.argmax(result.logits)))
            for (text, word), result in zip(pairs, results, strict=True)
        ]
        advance(len(texts))
    return tried


def chosen_texts(count: int, seed: int) -> list[int]:
    """Return which of ``count`` texts are tried, in their order."""
    return sorted(np.random.default_rng(seed).permutation(count)[:MAX_TEXTS].tolist())


def most_relevant(found: Occurrences, text: int) -> list[int]:
    """Return the words of a text that are deleted, by their relevance in all of their occurrences."""
    inside = found.of_text(text)
    words, relevance = found.words[inside], found.relevance[inside]
    words, relevance = (one[found.places[inside] != SPECIAL_PLACE] for one in (words, relevance))
    names, places = np.unique(words, return_inverse=True)
    sums = np.bincount(places, relevance, len(names))
    order = np.argsort(-sums, kind="stable")[:WORDS_EACH]
    return [int(names[one]) for one in order if sums[one] > 0]


def flipping(tried: Sequence[Removal], vocabulary: Sequence[str]) -> list[Flipping]:
    """Return the words without which predictions change, those without which most change first."""
    by_word: dict[tuple[int, int], list[Removal]] = {}
    for one in tried:
        by_word.setdefault((one.target, one.word), []).append(one)
    found = []
    for (target, word), of_word in by_word.items():
        flipped = [one for one in of_word if one.flips]
        if flipped:
            becomes = int(np.bincount([one.becomes for one in flipped]).argmax())
            texts = tuple(one.text for one in flipped)
            found.append(Flipping(target, vocabulary[word], len(of_word), len(flipped), becomes, texts))
    return sorted(found, key=lambda one: (-one.flips, one.tried, one.text))


def _jobs(
    pairs: Sequence[tuple[int, int]], sample: Callable[[int], TextSample], found: Occurrences
) -> Iterator[Job]:
    for text, word in pairs:
        inside = found.of_text(text)
        places = found.places[inside][found.words[inside] == word]
        yield Job(without(sample(text), set(places.tolist())))
