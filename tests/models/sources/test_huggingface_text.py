"""Networks of transformers for texts: what their folders state, and that their modules take tokens alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_transformers import (
    CLASSES,
    NETWORKS,
    POSITIONS,
    VOCABULARY,
    network_of,
    random_tokens,
    scores_of,
    write,
)

from app.errors import SourceError
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.registry import load
from app.models.sources.text_input import TextInput


def loaded(folder: Path) -> SourceModel:
    return load(f"huggingface:{folder}", SourceOptions())


@pytest.mark.parametrize("model_type", NETWORKS)
def test_scores_are_those_of_transformers(model_type: str, tmp_path: Path) -> None:
    own = network_of(model_type)
    write(own, tmp_path)
    found = loaded(tmp_path)
    assert isinstance(found.network, torch.nn.Module)
    assert isinstance(found.input, TextInput)
    has_offset = model_type == "roberta"  # its first two positions are those of padding
    assert found.input.max_tokens == POSITIONS - (2 if has_offset else 0)
    for tokens in (random_tokens(9, 5), random_tokens(found.input.max_tokens)):
        with torch.no_grad():
            torch.testing.assert_close(found.network(tokens), scores_of(own, tokens), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    write(network_of("bert", id2label={0: "bad", 1: "so so", 2: "good"}), folder)
    return folder


def changed(folder: Path, to: Path, **fields: Any) -> Path:
    """Copy the files of ``folder``, with other fields in its configuration."""
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | fields))
    return to


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({}, "classes"),
        ({"problem_type": "single_label_classification"}, "classes"),
        ({"problem_type": "multi_label_classification"}, "labels"),
    ],
)
def test_outputs_are_classes_or_labels(
    fields: dict[str, Any], output: str, folder: Path, tmp_path: Path
) -> None:
    found = loaded(changed(folder, tmp_path, **fields))
    assert (found.architecture, found.output) == ("BertForSequenceClassification", output)
    assert found.classes == ("bad", "so so", "good")


@pytest.mark.parametrize("labels", [{0: "LABEL_0"}, {0: "stars"}])
def test_a_network_of_one_output_returns_a_value(labels: dict[int, str], tmp_path: Path) -> None:
    write(network_of("bert", num_labels=1, id2label=labels), tmp_path)
    found = loaded(tmp_path)
    assert (found.output, found.classes) == ("value", None if labels[0] == "LABEL_0" else ("stars",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model_type": "longformer"},
            "networks of type 'longformer' cannot be served; those of type bert, ",
        ),
        ({"problem_type": "regression"}, f"a regression of {CLASSES} numbers; only one can be served"),
        ({"problem_type": "ranking"}, "problem_type 'ranking' is none of single_label_classification, "),
        (
            {"architectures": ["BertForMaskedLM"]},
            "ForImageClassification or ForSequenceClassification, not Bert",
        ),
        ({"architectures": None}, "ForImageClassification or ForSequenceClassification, not none"),
        ({"num_hidden_layers": 3}, "not the weights of this network; missing keys"),
        ({"is_decoder": True}, "reads tokens from left to right"),
    ],
)
def test_folders_that_cannot_be_served_are_refused(
    fields: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=message):
        loaded(changed(folder, tmp_path, **fields))


def test_a_folder_without_a_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    changed(folder, tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(
        SourceError, match=r"tokenizer\.json: cannot be read .*AutoTokenizer\.from_pretrained"
    ):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "not a tokenizer"),
        ('"text"', "not a tokenizer"),
        (
            json.dumps({"model": {"type": "WordLevel", "vocab": {"a": VOCABULARY}, "unk_token": "a"}}),
            f"it has {VOCABULARY + 1} tokens, and the network knows {VOCABULARY}",
        ),
    ],
)
def test_the_tokenizer_of_another_network_is_refused(
    content: str, message: str, folder: Path, tmp_path: Path
) -> None:
    changed(folder, tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(SourceError, match=message):
        loaded(tmp_path)


def test_options_of_pictures_are_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match="--mean is for networks that take pictures; this one takes text"):
        load(f"huggingface:{folder}", SourceOptions(mean=(0.5,)))
