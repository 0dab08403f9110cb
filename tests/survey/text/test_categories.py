"""Kinds of words."""

import pytest
from fake_text_model import DESCRIPTION, MAX_TOKENS

from app.modalities.text.modality import TextModality, TextOptions
from app.modalities.text.spec import TextSpec
from app.models.text_card import TOKENIZER
from app.survey.text.categories import Category, category_of, words_of


@pytest.mark.parametrize(
    ("word", "before", "expected"),
    [
        (",", "film", Category.PUNCTUATION),
        ("…", "", Category.PUNCTUATION),
        ("1930s", "in", Category.NUMBER),
        ("7", "", Category.NUMBER),
        ("Spielberg", "by", Category.NAME),
        ("Éric", "by", Category.NAME),
        ("The", "", Category.OTHER),
        ("The", "film.", Category.OTHER),
        ("The", '"', Category.OTHER),
        ("I", "and", Category.OTHER),
        ("film", "A", Category.OTHER),
        ("映画", "", Category.OTHER),
    ],
)
def test_a_word_has_the_category_of_its_characters(word: str, before: str, expected: Category) -> None:
    assert category_of(word, before, known=True) is expected


def test_a_word_that_is_not_in_the_vocabulary_is_unknown_unless_it_is_more() -> None:
    assert category_of("wonder", "a", known=False) is Category.UNKNOWN
    assert category_of("Wonder", "a", known=False) is Category.NAME


def test_words_of_a_text_have_their_characters() -> None:
    modality = TextModality(TextSpec(DESCRIPTION.assets[TOKENIZER], MAX_TOKENS))
    words, categories = words_of(modality.decode("A good  film , by Lynch", TextOptions()))
    assert words == ["A", "good", "film", ",", "by", "Lynch"]
    assert categories == [
        Category.OTHER,
        Category.OTHER,
        Category.OTHER,
        Category.PUNCTUATION,
        Category.UNKNOWN,
        Category.NAME,
    ]
