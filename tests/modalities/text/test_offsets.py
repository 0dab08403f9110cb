"""Texts become tokens, each with its place in the text as sent."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_tokenizers import CLS, SEP, UNK, byte_level, modality, pieces, vocabulary, word_level, word_piece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from app.errors import InvalidParameterError, RefusedToStartError, TooLargeError
from app.modalities.text.modality import TextModality, TextOptions, TextSample, groups, without
from app.modalities.text.reading import MAX_CHARACTERS
from app.modalities.text.spec import TextSpec

KINDS = {kind.__name__: modality(kind()) for kind in (word_level, word_piece, byte_level, pieces)}
ALL_BYTES = modality(byte_level(), max_tokens=1000)
TEXTS = st.lists(
    st.sampled_from(
        ["a", "film", "witty", "[PAD]", "</s>", "<s>", "Été", "e\u0301", "😀", "👩‍👧", "שלום", "日本", "!"]
    )
    | st.sampled_from([" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000"])
    | st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=3),
    min_size=1,
    max_size=12,
).map("".join)


def decoded(text: bytes | str, kind: TextModality = KINDS["word_piece"]) -> TextSample:
    return kind.decode(text, TextOptions())


def places(sample: TextSample) -> list[tuple[str, int, int, int | None]]:
    return [(token.text, token.start, token.end, token.word) for token in sample.tokens]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@settings(deadline=None)
@given(TEXTS)
@example(" \u0301")
@example("  a film")
def test_every_token_is_the_text_at_its_place(kind: TextModality, text: str) -> None:
    try:
        sample = decoded(text, kind)
    except InvalidParameterError:
        return
    assert sample.text == text
    assert sample.input.dtype == np.int64
    assert sample.input.shape == (len(sample.tokens),)
    word, start = -1, 0
    for token in sample.tokens:
        assert 0 <= token.start <= token.end <= len(text)
        assert token.text
        if token.start < token.end:
            assert token.text == text[token.start : token.end]
        if token.word is not None:
            assert token.word in (word, word + 1)
            assert token.start >= start
            word, start = token.word, token.start


@settings(deadline=None)
@given(TEXTS)
def test_words_of_a_tokenizer_of_words_are_those_between_white_space(text: str) -> None:
    words = text.split()
    if not words:
        return
    sample = decoded(text, KINDS["word_level"])
    assert [token.text for token in sample.tokens] == words
    ids = [vocabulary().get(word.lower(), UNK) for word in words]
    assert sample.input.tolist() == [UNK if number < UNK + 3 else number for number in ids]
    assert [token.known for token in sample.tokens] == [number != UNK for number in sample.input]


@settings(deadline=None)
@given(TEXTS)
def test_the_tokens_of_all_bytes_are_all_of_the_text(text: str) -> None:
    if not text.strip():
        return
    sample = decoded(text, ALL_BYTES)
    covered = {place for token in sample.tokens for place in range(token.start, token.end)}
    assert all(letter.isspace() for place, letter in enumerate(text) if place not in covered)


def test_places_are_counted_in_characters_of_the_text_as_sent() -> None:
    assert places(decoded("  WITTY 😀 e\u0301te\u0301!", KINDS["word_piece"])) == [
        ("[CLS]", 0, 0, None),
        ("WIT", 2, 5, 0),
        ("TY", 5, 7, 0),
        ("😀", 8, 9, 1),
        ("e\u0301te\u0301", 10, 15, 2),
        ("!", 15, 16, 3),
        ("[SEP]", 16, 16, None),
    ]
    assert places(decoded("שלום film", KINDS["byte_level"]))[-1] == ("film", 5, 9, 1)
    assert [place[1:3] for place in places(decoded("😀😀", KINDS["byte_level"]))] == [(0, 1)] * 4 + [
        (1, 2)
    ] * 4
    assert places(decoded("a film", KINDS["pieces"])) == [
        ("a", 0, 1, 0),
        ("film", 2, 6, 1),
        ("</s>", 6, 6, None),
    ]


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        ("word_level", "[pad] [PAD] [CLS]", None),
        ("word_piece", "[PAD] [CLS] [SEP]", None),
        ("byte_level", "a <s> film", 0),
        ("pieces", "a</s> film", 1),
    ],
)
def test_the_name_of_a_special_token_in_a_text_is_only_text(kind: str, text: str, number: int | None) -> None:
    sample = decoded(text, KINDS[kind])
    of_text = [
        int(number)
        for number, token in zip(sample.input, sample.tokens, strict=True)
        if token.word is not None
    ]
    assert set(of_text).isdisjoint({number} if number is not None else {0, CLS, SEP})


def test_of_a_long_text_the_first_tokens_are_taken_and_the_last_special_one() -> None:
    sample = decoded("a witty film, a gorgeous film!", modality(word_piece(), max_tokens=6))
    assert [token.text for token in sample.tokens] == ["[CLS]", "a", "wit", "ty", "film", "[SEP]"]
    assert sample.cut == 5
    assert sample.warnings == (
        "the text has more tokens than the model takes; the last 5 are left out, from character 12 on",
    )


def test_padding_and_truncation_of_the_file_are_switched_off() -> None:
    tokenizer = word_piece()
    tokenizer.enable_padding(length=50)
    tokenizer.enable_truncation(3)
    assert [token.text for token in decoded("a film !", modality(tokenizer)).tokens] == [
        "[CLS]",
        "a",
        "film",
        "!",
        "[SEP]",
    ]


def test_what_the_model_does_not_know_is_told() -> None:
    assert decoded("qwerty 😀").warnings == ("the model knows no word of this text",)
    sample = decoded("a qwerty film")
    assert [token.known for token in sample.tokens] == [True, True, False, True, True]
    assert sample.warnings == ()
    deleting = word_level()
    deleting.normalizer = normalizers.Replace(Regex("[日本!]"), "")
    assert decoded("a日 !film本", modality(deleting)).warnings == (
        "the model does not read the characters 日",
    )


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        ("", InvalidParameterError, "is empty"),
        (b"\xef\xbb\xbf", InvalidParameterError, "is empty"),
        (" \t\n\u3000", InvalidParameterError, "is empty"),
        (b"caf\xe9", InvalidParameterError, "is not UTF-8: byte 3"),
        ("a\0b", InvalidParameterError, r"U\+0000 at position 1"),
        ("ab\x1b[31m", InvalidParameterError, r"U\+001B at position 2"),
        ("a\ud83d", InvalidParameterError, r"U\+D83D"),
        ("a" * (MAX_CHARACTERS + 1), TooLargeError, "10000"),
        (b"a" * (4 * MAX_CHARACTERS + 8), TooLargeError, "10000"),
    ],
)
def test_what_is_not_a_text_is_refused(data: bytes | str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        decoded(data)


def test_a_text_without_tokens_is_refused() -> None:
    deleting = word_level()
    deleting.normalizer = normalizers.Replace(Regex("[日本]"), "")
    with pytest.raises(InvalidParameterError, match="has no token"):
        decoded("日本", modality(deleting))


def test_bytes_are_utf_8_with_or_without_a_byte_order_mark() -> None:
    assert (
        decoded("été\r\n\tfilm".encode()).text
        == decoded("été\r\n\tfilm".encode("utf-8-sig")).text
        == "été\r\n\tfilm"
    )
    assert len(decoded("😀" * MAX_CHARACTERS, KINDS["byte_level"]).tokens) == 64
    assert decoded(("\ufeff" + "a " * (MAX_CHARACTERS // 2)).encode()).cut == MAX_CHARACTERS // 2 - 62


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "cannot be read"),
        ("{}", "cannot be read"),
        (Tokenizer(models.BPE({"a": 0}, [])).to_str(), "passes over letters"),
        (Tokenizer(models.Unigram([("a", -1.0)])).to_str(), "passes over letters"),
        (word_piece().to_str().replace('"WordPiece"', '"Wordpiece"'), "cannot be read"),
        (
            word_level().to_str().replace('"[UNK]":1,', "").replace('"content":"[UNK]"', '"content":"[X]"'),
            r"lacks its unknown token '\[UNK\]'",
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_refused_at_the_start(content: str, says: str) -> None:
    with pytest.raises(RefusedToStartError, match=says):
        TextModality(TextSpec(content, 64))


def test_a_network_must_take_more_than_special_tokens() -> None:
    with pytest.raises(RefusedToStartError, match="max_tokens is 2"):
        modality(word_piece(), max_tokens=2)
    assert len(decoded("a film", modality(word_piece(), max_tokens=3)).tokens) == 3


def test_words_are_deleted_with_all_their_tokens() -> None:
    sample = decoded("a witty film")
    assert groups(sample).tolist() == [-1, 0, 1, 1, 2, -1]
    kept = without(sample, {1})
    assert kept.tolist() == [CLS, vocabulary()["a"], vocabulary()["film"], SEP]
    assert without(sample, {0, 1, 2}).tolist() == [CLS, SEP]
    words_only = decoded("a film", KINDS["word_level"])
    assert without(words_only, {0, 1}).tolist() == [UNK]


def test_punctuation_is_a_word_where_the_tokenizer_splits_it_off() -> None:
    sample = decoded("a film!", modality(word_level(pre_tokenizers.Whitespace())))
    assert [token.text for token in sample.tokens] == ["a", "film", "!"]
    assert groups(sample).tolist() == [0, 1, 2]
