"""The text models that are part of the project."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from app.lrp.attribution import Batch
from app.lrp.engine.engine import Engine
from app.models.checkpoint import load
from app.models.text_card import TOKENIZER, TextCard
from app.settings import shipped_models

NAMES = ("words-lstm", "words-transformer")
SENTENCES = {
    "It's a gorgeous, witty film!": "positive",
    "I loved every minute of it": "positive",
    "A dull, lifeless mess.": "negative",
    "The plot isn't funny, and it's too long.": "negative",
}


def folder(name: str) -> Path:
    return shipped_models() / name


@pytest.mark.parametrize("name", NAMES)
def test_plain_sentences_get_their_sentiment(name: str) -> None:
    model, card = load(folder(name))
    assert isinstance(card, TextCard)
    tokenizer, engine = Tokenizer.from_file(str(folder(name) / TOKENIZER)), Engine(model)
    for text, sentiment in SENTENCES.items():
        logits = engine.run(Batch(torch.tensor([tokenizer.encode(text).ids]), (), ())).logits
        assert card.classes[int(logits.argmax())] == sentiment


def test_both_models_have_less_than_8_mb() -> None:
    assert sum(file.stat().st_size for name in NAMES for file in folder(name).iterdir()) < 8e6


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's a gorgeous, witty film!", ["It", "'s", "a", "gorgeous", ",", "witty", "film", "!"]),
        ("I don’t “love” it (much).", ["I", "do", "n’t", "“", "love", "”", "it", "(", "much", ")"]),
        ("  can't\n\twon't ", ["ca", "n't", "wo", "n't"]),
        ("well-made — a naïve, naïve film", ["well", "made", "a", "naïve", ",", "naïve", "film"]),
        ("a 👩‍🚀 film 🙂👍🏽!", ["a", "👩‍🚀", "film", "🙂👍🏽", "!"]),
        ("סרט נפלא film", ["סרט", "נפלא", "film"]),
        ("", []),
    ],
)
def test_tokens_are_found_at_their_place_in_the_text(text: str, tokens: list[str]) -> None:
    tokenizer = Tokenizer.from_file(str(shipped_models() / "words-lstm" / TOKENIZER))
    assert [text[start:end] for start, end in tokenizer.encode(text).offsets] == tokens
