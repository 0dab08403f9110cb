"""Statistics of words."""

import numpy as np
import pytest
from scipy import stats

from app.survey.predictions import Predictions
from app.survey.text.categories import CATEGORIES, Category
from app.survey.text.occurrences import Occurrences
from app.survey.text.words import category_means, least_texts, words_of_class


def occurrences(*rows: tuple[int, str, float]) -> Occurrences:
    """Return words, each of a text, with a relevance; those of marks are punctuation."""
    vocabulary = tuple(dict.fromkeys(word for _, word, _ in rows))
    kinds = [Category.PUNCTUATION if word == "," else Category.OTHER for _, word, _ in rows]
    return Occurrences(
        vocabulary,
        np.array([text for text, _, _ in rows]),
        np.array([vocabulary.index(word) for _, word, _ in rows]),
        np.arange(len(rows)),
        np.array([CATEGORIES.index(one) for one in kinds], np.int8),
        np.array([relevance for _, _, relevance in rows], np.float32),
    )


def predictions(classes: list[int], labels: list[int]) -> Predictions:
    return Predictions(np.eye(2)[classes], np.array(labels, np.int32))


FOUND = occurrences(
    (0, "x", 1.0), (0, "x", 2.0), (0, ",", -0.5), (1, "x", 6.0), (1, "y", 1.0), (2, "x", -4.0), (2, ",", 0.25)
)


def test_a_mean_is_over_occurrences_and_its_error_is_that_of_scipy() -> None:
    words = {word.text: word for word in words_of_class(1, FOUND, predictions([1, 1, 0], [1, 0, 0]))}
    assert words["x"].mean == pytest.approx(3)
    assert words["x"].error == pytest.approx(stats.sem([1.0, 2.0, 6.0]))
    assert (words["x"].count, words["x"].labelled) == (2, 3)
    assert words["x"].share == pytest.approx(1 / 3)
    assert (words[","].mean, words[","].error, words[","].category) == (-0.5, 0, Category.PUNCTUATION)


def test_unknown_labels_support_nothing() -> None:
    words = words_of_class(1, FOUND, predictions([1, 1, 0], [2, 2, 2]))
    assert {word.share for word in words} == {None}
    assert not any(word.is_unsupported for word in words)


def test_kinds_of_words_have_their_share_of_relevance() -> None:
    marks, others = category_means(1, FOUND, predictions([1, 1, 0], [1, 0, 0]))
    assert (marks["category"], marks["occurrences"], marks["share"]) == ("punctuation", 1, 0.2)
    assert marks["share_of_relevance"] == pytest.approx(0.5 / 10.5)
    assert others["mean"] == pytest.approx(10 / 4)


def test_words_are_in_enough_texts_to_be_listed() -> None:
    assert [least_texts(count) for count in (3, 199, 200, 450, 10_000)] == [1, 1, 2, 4, 5]
