"""Files of weights: read without running code, and refused where they do not fit."""

import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from app.errors import SourceError
from app.models.sources.protocol import SourceOptions
from app.models.sources.weights import built, load_weights, read_weights


def network(classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, classes))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_are_those_of_the_file(tmp_path: Path, suffix: str) -> None:
    path, saved = tmp_path / f"weights{suffix}", network()
    save: Any = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
    save(saved.state_dict(), path)
    found, count = built(network, 1000, SourceOptions(weights=path), "test")
    assert count == 3
    assert not found.training
    for name, tensor in saved.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(network(), path)  # the module itself, which is unpickled by running its class
    with pytest.raises(SourceError, match="code in it is never run"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"state_dict": {}, "epoch": 3},
            r"must be a state_dict, names and tensors only, but has state_dict, epoch",
        ),
        ({}, "must be a state_dict"),
        (torch.ones(3), "holds a Tensor"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(SourceError, match=message):
        read_weights(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.pth", None, "cannot be read"),
        ("weights.safetensors", None, "cannot be read"),
        ("weights.safetensors", b"no weights at all", "not a safetensors file"),
        ("weights.pth", b"no weights at all", "cannot be read as tensors alone"),
    ],
)
def test_files_of_no_weights_are_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_weights(tmp_path / name)


def test_all_that_does_not_fit_is_said() -> None:
    tensors = network().state_dict()
    tensors["module.2.bias"] = tensors.pop("2.bias")
    tensors["0.weight"] = torch.zeros(5, 7)
    message = (
        "w.pth: not the weights of Sequential; 1 missing: 2.bias; 1 unexpected: module.2.bias; "
        "1 of another shape: 0.weight (5, 7) instead of (5, 4)"
    )
    with pytest.raises(SourceError, match=re.escape(message)):
        load_weights(network(), tensors, Path("w.pth"))


def test_counters_of_batch_norms_may_be_missing() -> None:
    tensors = network().state_dict()
    del tensors["1.num_batches_tracked"]
    load_weights(network(), tensors, Path("w.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    tensors = network().state_dict()
    tensors["1.running_var"][2] = value
    with pytest.raises(SourceError, match=r"w\.pth: 1\.running_var holds values that are not finite"):
        load_weights(network(), tensors, Path("w.pth"))


def test_random_weights_must_be_asked_for() -> None:
    with pytest.raises(SourceError, match="test needs --weights FILE"):
        built(network, 3, SourceOptions(), "test")
    options = SourceOptions(random_weights=True, classes=("a", "b"))
    assert built(network, 3, options, "test")[1] == 2
