"""Adding of networks for texts: the folder, its card, and scores that do not depend on padding."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from small_transformers import CLASSES, NETWORKS, POSITIONS, network_of, random_tokens, scores_of, write

from app.errors import SourceError, UnsupportedNetworkError
from app.lrp.attribution import Batch
from app.lrp.engine.engine import Engine
from app.models.adding import add
from app.models.checkpoint import load
from app.models.sources.protocol import SourceOptions
from app.models.sources.registry import load as source_of
from app.models.text_card import TextCard


@pytest.mark.parametrize("model_type", NETWORKS)
def test_what_is_stored_gives_the_scores_of_transformers(model_type: str, tmp_path: Path) -> None:
    own = network_of(model_type)
    write(own, tmp_path / "source")
    added = add(source_of(f"huggingface:{tmp_path / 'source'}", SourceOptions()), "mine", tmp_path)
    assert added.score_error < 1e-5
    assert added.relevance_error < 1e-9
    model, card = load(added.path)
    assert isinstance(card, TextCard)
    assert card.text.max_tokens == POSITIONS - (2 if model_type == "roberta" else 0)
    for tokens in (random_tokens(9, 1, 5), random_tokens(card.text.max_tokens)):
        scores = Engine(model).run(Batch(tokens, (), ())).logits
        torch.testing.assert_close(scores, scores_of(own, tokens), rtol=1e-4, atol=1e-5)


def test_the_card_has_labels_and_the_tokenizer(tmp_path: Path) -> None:
    own = network_of(
        "bert",
        num_hidden_layers=1,
        problem_type="multi_label_classification",
        id2label={0: "a", 1: "b", 2: "c"},
    )
    write(own, tmp_path / "source")
    add(source_of(f"huggingface:{tmp_path / 'source'}", SourceOptions()), "mine", tmp_path)
    card = json.loads((tmp_path / "mine" / "card.json").read_text())
    tokenizer = (tmp_path / "mine" / "tokenizer.json").read_bytes()
    assert tokenizer == (tmp_path / "source" / "tokenizer.json").read_bytes()
    assert card["files"]["tokenizer.json"] == hashlib.sha256(tokenizer).hexdigest()
    assert (card["kind"], card["output"], card["classes"]) == ("text", "labels", ["a", "b", "c"])
    assert card["dropout"] == [0.1] * 4


def test_a_regression_has_one_value(tmp_path: Path) -> None:
    write(network_of("bert", num_hidden_layers=1, num_labels=1), tmp_path / "source")
    card = add(source_of(f"huggingface:{tmp_path / 'source'}", SourceOptions()), "mine", tmp_path).card
    assert (card.output, card.classes) == ("value", ("value",))


def test_a_wrong_number_of_labels_is_refused(tmp_path: Path) -> None:
    write(
        network_of("bert", num_hidden_layers=1, problem_type="multi_label_classification"),
        tmp_path / "source",
    )
    options = SourceOptions(classes=("one", "two"))
    with pytest.raises(SourceError, match=f"2 names, but the network has {CLASSES} labels"):
        add(source_of(f"huggingface:{tmp_path / 'source'}", options), "mine", tmp_path)


def test_operations_that_relevance_cannot_pass_are_named(tmp_path: Path) -> None:
    write(network_of("bert", num_hidden_layers=1, hidden_act="laplace"), tmp_path / "source")
    with pytest.raises(
        UnsupportedNetworkError,
        match=r"(?s)not supported:\n- aten\.erf.* in bert\.encoder\.layer\.0\..*\.py:\d+",
    ):
        add(source_of(f"huggingface:{tmp_path / 'source'}", SourceOptions()), "mine", tmp_path)
