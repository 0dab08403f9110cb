"""The tokenizer of the project's text models: whole words, and the clitics and marks of the Penn Treebank."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFD, Lowercase, Replace, StripAccents
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import Split

UNKNOWN = "[UNK]"
"""Token of all words that are not in the vocabulary; its id is 0."""
PATTERN = (
    r"n't\b"  # don't: do n't, can't: ca n't
    r"|'(?:s|re|ve|ll|d|m|em|\d0s)\b"  # it's: it 's; '70s
    r"|[\p{L}\p{M}\p{N}]+?(?=n't\b)"
    r"|[\p{L}\p{M}\p{N}]+"
    r"|[,!?'\"()]"
    r"|[^\s\p{P}\p{L}\p{M}\p{N}]+"  # emoji and other symbols
)
"""What becomes a token. The rest, spaces, full stops, dashes and other punctuation, belongs to none."""


def create_tokenizer(vocabulary: Sequence[str]) -> Tokenizer:
    """Return the tokenizer with these words, whose ids are 1, 2, …

    It lowers case and strips accents; offsets are those of characters in the text as given.
    """
    ids = {word: index for index, word in enumerate((UNKNOWN, *vocabulary))}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    # Only replacements of one character by one: offsets after others would be shifted.
    tokenizer.normalizer = Normalizers(
        [
            NFD(),
            StripAccents(),
            Lowercase(),
            Replace(Regex("[‘’`´]"), "'"),
            Replace(Regex("[“”„«»]"), '"'),
        ]
    )
    tokenizer.pre_tokenizer = Split(Regex(PATTERN), "removed", invert=True)
    return tokenizer


def fit_tokenizer(texts: Iterable[str], min_count: int) -> Tokenizer:
    """Return the tokenizer whose vocabulary are the words that ``texts`` have ``min_count`` times or more.

    Words are ordered by how often they occur, then by the alphabet.
    """
    split = create_tokenizer(())
    counts = Counter(word for text in texts for word in _words(split, text))
    kept = [word for word, count in counts.items() if count >= min_count]
    return create_tokenizer(sorted(kept, key=lambda word: (-counts[word], word)))


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    assert tokenizer.normalizer is not None
    assert tokenizer.pre_tokenizer is not None
    normalized = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]
