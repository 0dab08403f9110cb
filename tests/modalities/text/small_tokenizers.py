"""Tokenizers of a few words, one of each common kind."""

from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from app.modalities.text.modality import TextModality
from app.modalities.text.spec import TextSpec

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PAD, UNK, CLS, SEP = range(4)
WORDS = ("a", "gorgeous", ",", "wit", "##ty", "film", "été", "!")
SENTENCES = ["a gorgeous, witty film", "a film of wit"]


def word_level(split: Any = None) -> Tokenizer:
    """Whole words, lower case, at white space unless ``split`` says otherwise; no tokens of its own."""
    tokenizer = Tokenizer(models.WordLevel(vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = split or pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def word_piece() -> Tokenizer:
    """Like BERT's: words and parts of words, [CLS] and [SEP] around them."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary(), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return tokenizer


def byte_level() -> Tokenizer:
    """Like GPT-2's: pairs of bytes, of which a letter has up to four."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def pieces() -> Tokenizer:
    """Like SentencePiece's: spaces are letters, the text is not split, special names are in the vocabulary."""
    letters = [(letter, -3.0) for letter in "▁abcdefghilmnorstuwy<>/"]
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("</s>", 0.0), ("▁film", -1.0), *letters], unk_id=0)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def vocabulary() -> dict[str, int]:
    """The words by id: those of `SPECIAL` first."""
    return {word: number for number, word in enumerate((*SPECIAL, *WORDS))}


def modality(tokenizer: Tokenizer, max_tokens: int = 64) -> TextModality:
    """Return the modality of a network with this tokenizer."""
    return TextModality(TextSpec(tokenizer.to_str(), max_tokens))
