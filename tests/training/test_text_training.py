"""Training of text models: data, tokenizer, ensemble, and a whole training on made-up sentences."""

import dataclasses
import json
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from app.errors import DataError
from app.models.checkpoint import load
from app.models.records import Measured
from app.settings import shipped_model
from app.training.options import TrainOptions
from app.training.text.batches import TokenizedTexts, random_parts, shuffled, tokenize
from app.training.text.data import load_splits
from app.training.text.ensemble import vocabulary
from app.training.text.loop import TextTrainer, compute_logits
from app.training.text.naive_bayes import PENALTY, NaiveBayes, features
from app.training.text.network import embedding_of, folded, network_to_train
from app.training.text.recipe import CONVOLUTIONS, RECIPES, NetworkRecipe, TextRecipe
from app.training.text.run import train_text
from app.training.text.tokenizer import UNKNOWN, fit_tokenizer

SIZES = {
    "words-lstm": {"width": 8, "hidden": 8},
    "words-transformer": {"width": 8, "heads": 2, "blocks": 1, "max_tokens": 16},
}
WORDS = ("the", "tea", "was", "with", "milk", "and", "a", "cup", "of", "it")
SIGNS = {"bad": ("bitter", "cold"), "good": ("sweet", "warm")}


def small_network(recipe: NetworkRecipe, sizes: Mapping[str, int]) -> NetworkRecipe:
    return dataclasses.replace(
        recipe,
        sizes=sizes,
        dropout=tuple(0.1 for _ in recipe.dropout),
        epochs=3,
        batch_size=8,
        learning_rate=0.03,
        word_dropout=0.0,
    )


def small(name: str) -> TextRecipe:
    recipe = RECIPES[name]
    return dataclasses.replace(
        recipe,
        network=small_network(recipe.network, SIZES[name]),
        teacher=small_network(CONVOLUTIONS, {"width": 8, "channels": 8}),
        max_tokens=16,
        classes=("bad", "good"),
    )


def write_data(folder: Path, *, train: int = 64) -> Path:
    """Write sentences of which one word says whether they are good or bad, by name or number."""
    generator = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("dev", 20), ("test", 20)):
        lines = []
        for index in range(count):
            label = ("bad", "good")[index % 2]
            words = generator.choices(WORDS, k=generator.randint(2, 9))
            words.insert(generator.randrange(len(words)), generator.choice(SIGNS[label]))
            lines.append(f"{' '.join(words)}\t{label if split == 'dev' else index % 2}\n")
        (folder / f"{split}.tsv").write_text("".join(lines))
    return folder


def run(recipe: TextRecipe, data: Path, folder: Path, *, resume: bool = False) -> Path:
    options = TrainOptions(
        data=data,
        test_data=None,
        data_name="made up",
        output=folder / "out",
        runs=folder / "runs",
        name="tea",
        resume=resume,
        start=None,
        seed=1,
        device="cpu",
    )
    return train_text(recipe, options)


@pytest.mark.parametrize("name", RECIPES)
def test_training_writes_an_accurate_model_that_its_seed_reproduces(tmp_path: Path, name: str) -> None:
    data = write_data(tmp_path / "data")
    card_path = run(small(name), data, tmp_path / "first")
    model, card = load(card_path)
    assert (card.kind, card.classes, model.graph.input_shape) == ("text", ("bad", "good"), ("B", "T"))
    assert card.dropout == pytest.approx((0.1,) * len(card.dropout or ()))
    assert card.training is not None
    assert card.training.data == "made up"
    assert isinstance(card.training.test, Measured)
    assert card.training.test.count == 20
    assert card.training.test.accuracy >= 0.9
    assert len(card.training.history) == 3
    assert (tmp_path / "first/runs" / name / "learning-curve.png").exists()
    # The one is trained again, the other only exported again.
    resume = name == "words-transformer"
    again = run(small(name), data, tmp_path / ("first" if resume else "second"), resume=resume)
    assert load(again)[1].files == card.files


def test_an_interrupted_training_continues_as_if_it_was_not(tmp_path: Path) -> None:
    splits = load_splits(write_data(tmp_path / "data"), ("bad", "good"), 0)
    tokenizer = fit_tokenizer(splits.train.texts, 1)
    texts = TokenizedTexts(tokenize(tokenizer, splits.train.texts, 16), torch.eye(2)[splits.train.labels])
    recipe = small("words-lstm").network
    words = vocabulary(tokenizer)

    def trainer(folder: str, recipe: NetworkRecipe = recipe) -> TextTrainer:
        return TextTrainer(recipe, words, texts, texts, tmp_path / folder, seed=3)

    class InterruptionError(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise InterruptionError

    whole = trainer("whole").train()
    first = TextTrainer(recipe, words, texts, texts, tmp_path / "parts", seed=3, on_epoch=interrupt)
    with pytest.raises(InterruptionError):
        first.train()
    second = trainer("parts")
    assert second.resume() == 1
    parts = second.train()
    for actual, expected in zip(parts.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(actual, expected)
    with pytest.raises(DataError, match="another recipe"):
        trainer("parts", dataclasses.replace(recipe, word_dropout=0.5)).resume()


def test_options_without_use_and_data_of_another_form_are_refused(tmp_path: Path) -> None:
    recipe = small("words-lstm")
    options = TrainOptions(
        data=None,
        test_data=None,
        data_name=None,
        output=None,
        runs=tmp_path,
        name=None,
        resume=False,
        start=None,
        seed=0,
        device="cpu",
    )
    with pytest.raises(DataError, match="--start"):
        train_text(recipe, dataclasses.replace(options, start=shipped_model()))
    with pytest.raises(DataError, match="needs --data"):
        train_text(recipe, options)


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("train.tsv", "no label\n", "line 1"),
        ("train.tsv", "fine\t1\nfine\t2\n", "label 2 has no name"),
        ("train.tsv", "fine\t1\nfine\t1\n", "at least two"),
        ("test.tsv", "fine\tgreat\n", "great"),
        ("dev.tsv", "", "no lines"),
    ],
)
def test_data_of_another_form_are_refused(tmp_path: Path, file: str, lines: str, message: str) -> None:
    data = write_data(tmp_path)
    (data / file).write_text(lines)
    with pytest.raises(DataError, match=message):
        load_splits(data, ("bad", "good"), 0)


def test_without_a_file_of_validation_texts_a_tenth_is_held_out(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    whole = load_splits(data, ("bad", "good"), 0).train
    (data / "dev.tsv").unlink()
    splits = load_splits(data, ("bad", "good"), 0)
    assert (len(splits.train), len(splits.validation)) == (58, 6)
    assert sorted((*splits.train.texts, *splits.validation.texts)) == sorted(whole.texts)


def test_text_in_the_form_of_the_penn_treebank_is_read_as_people_write_it(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    (data / "test.tsv").write_text("they do n't say `` it 's tea '' lrb or 'twas rrb\t1\n")
    assert load_splits(data, ("bad", "good"), 0).test.texts == ("they don't say \" it's tea \" ( or 'twas )",)


def test_ids_follow_how_often_words_occur() -> None:
    tokenizer = fit_tokenizer(["b a", "b c", "b Á"], min_count=1)
    assert json.loads(tokenizer.to_str())["model"]["vocab"] == {UNKNOWN: 0, "b": 1, "a": 2, "c": 3}
    assert fit_tokenizer(["b a", "b c", "b a"], min_count=2).encode("a b c").ids == [2, 1, 0]


def test_folding_subwords_keeps_the_logits() -> None:
    recipe = small("words-lstm").network
    torch.manual_seed(0)
    network = network_to_train(recipe, [UNKNOWN, "warm", "warmer", "of"], 2).eval()
    ids = torch.tensor([[1, 2, 3, 0], [3, 3, -1, -1]])
    with torch.inference_mode():
        torch.testing.assert_close(folded(network, recipe, 2)(ids), network(ids))
        vectors = embedding_of(network).folded()
        own = vectors - embedding_of(network).words
    assert own[3].abs().max() == 0  # a short word has no parts
    assert torch.cosine_similarity(own[1], own[2], 0) > 0.3


@pytest.mark.parametrize("name", RECIPES)
def test_padding_does_not_change_the_logits(name: str) -> None:
    torch.manual_seed(0)
    network = network_to_train(small(name).network, [UNKNOWN, *WORDS], 2).eval()
    texts = [torch.tensor([3, 1]), torch.tensor([5, 4, 3, 2, 1, 6])]
    with torch.inference_mode():
        alone = torch.cat([network(ids[None]) for ids in texts])
    torch.testing.assert_close(compute_logits(network, texts), alone)


def test_an_epoch_has_every_text_once_with_its_targets() -> None:
    ids = [torch.arange(1, length + 1) for length in (3, 1, 4, 2, 6, 5)]
    texts = TokenizedTexts(ids, torch.tensor([[float(len(one)), 0] for one in ids]))
    torch.manual_seed(0)
    seen = [
        (int((row >= 0).sum()), float(target[0]))
        for batch, targets in shuffled(texts, 2, 0.0)
        for row, target in zip(batch, targets, strict=True)
    ]
    assert sorted(seen) == [(n, float(n)) for n in range(1, 7)]
    everything = torch.cat([batch[batch >= 0] for batch, _ in shuffled(texts, 2, 1.0)])
    assert not everything.any()


def test_random_parts_are_contiguous() -> None:
    ids = [torch.arange(10, 18), torch.tensor([7])]
    parts = random_parts(ids, 50, seed=0)
    assert {len(part) for part in parts[:50]} == set(range(3, 9))
    for part in parts[:50]:
        assert torch.equal(part, torch.arange(int(part[0]), int(part[0]) + len(part)))
        assert part[0] >= 10
        assert part[-1] < 18
    assert all(part.tolist() == [7] for part in parts[50:])


def test_naive_bayes_agrees_with_scikit_learn(tmp_path: Path) -> None:
    splits = load_splits(write_data(tmp_path), ("bad", "good"), 0)
    train, test = ([text.split() for text in part.texts] for part in (splits.train, splits.test))
    labels = splits.train.labels
    names = sorted({name for words in train for name in features(words)})
    has = torch.tensor([[name in found for name in names] for words in train for found in [features(words)]])
    shares = [1 + has[labels == label].sum(0).double() for label in (0, 1)]
    ratio = ((shares[1] / shares[1].sum()) / (shares[0] / shares[0].sum())).log()
    # Two weights w0 = -w1 of opposite ratios: their penalty is half of that of one weight of twice the size.
    fitted = LogisticRegression(C=2 / PENALTY, fit_intercept=False, tol=1e-8, max_iter=1000)
    fitted.fit((has * ratio).numpy(), labels.numpy())
    there = torch.tensor([[name in found for name in names] for words in test for found in [features(words)]])
    expected = torch.from_numpy(fitted.predict_proba((there * ratio).numpy())).float()
    torch.testing.assert_close(NaiveBayes(train, labels, 2).probabilities(test), expected, rtol=0, atol=2e-3)
