"""The command ``add``."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_transformers import network_of, write
from test_cli import run
from torch import nn

from app.models.architectures.minivgg import MiniVGG
from app.models.card_file import read_card
from app.models.image_card import image_card
from app.settings import shipped_model

SQUEEZENET = ("torchvision:squeezenet1_1", "--weights", "none", "--size", "64")
SERVES = """
import sys
from pathlib import Path
import numpy as np
from app.lrp.composites import resolve
from app.lrp.request import ExplanationRequest
from app.models.local import LocalModel
from app.models.protocol import Job

model = LocalModel.load(Path(sys.argv[1]), "cpu", 1)
composite = resolve(model.description.chain, "epsilon_gamma_box", {}, ())
(result,) = model.run([Job(np.zeros((3, 64, 64), np.float32), (ExplanationRequest(composite),))])
assert len(result.logits) == 1000 and result.explanations[0].relevance.shape == (3, 64, 64)
print(*(name for name in ("torchvision", "timm", "transformers") if name in sys.modules))
"""


def test_a_network_of_torchvision_is_added_and_served_without_torchvision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "add", *SQUEEZENET, "--name", "mine", "--to", str(tmp_path)) == 0
    output = capsys.readouterr().out
    assert "features.3.squeeze" in output
    assert "wrote" in output
    card = image_card(read_card(tmp_path / "mine" / "card.json"))
    assert card.classes[281] == "tabby"
    assert card.input_size == (3, 64, 64)
    served = subprocess.run(
        [sys.executable, "-c", SERVES, str(tmp_path / "mine")], capture_output=True, text=True, check=False
    )
    assert (served.returncode, served.stdout) == (0, "\n"), served.stderr


def test_a_network_for_texts_is_added_with_its_tokenizer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(network_of("distilbert", n_layers=1, id2label={0: "bad", 1: "so so", 2: "good"}), tmp_path / "mine")
    source = f"huggingface:{tmp_path / 'mine'}"
    assert run(monkeypatch, "add", source, "--name", "reviews", "--to", str(tmp_path / "models")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["input: text of at most 40 tokens, special ones included", "classes: bad … good"]
    assert any(line.split()[:3] == ["classifier", "linear", "epsilon(epsilon=1e-06)"] for line in lines)
    assert "(DistilBertForSequenceClassification, 3 classes, version " in lines[-1]
    assert (tmp_path / "models" / "reviews" / "tokenizer.json").exists()


def test_weights_and_names_of_classes_are_those_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(MiniVGG(2).state_dict(), tmp_path / "weights.pth")
    (tmp_path / "classes.txt").write_text("cat\ndog\n", "utf-8")
    given = ("--weights", str(tmp_path / "weights.pth"), "--classes", str(tmp_path / "classes.txt"))
    options = ("--mean", "0.5,0.5,0.5", "--std", "0.2,0.2,0.2", "--to", str(tmp_path / "models"))
    assert run(monkeypatch, "add", "minivgg", "--name", "mine", *given, *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("input: 32×32, RGB")
    assert any(line.split()[:3] == ["features.3", "conv2d", "z_plus"] for line in lines)
    card = image_card(read_card(tmp_path / "models" / "mine" / "card.json"))
    assert card.classes == ("cat", "dog")
    assert card.normalisation.std == (0.2, 0.2, 0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tensorflow:resnet",), "no source 'tensorflow:resnet'; there are minivgg, torchvision:NAME"),
        (("torchvision",), "torchvision needs more: torchvision:NAME"),
        (("torchvision:resnet81",), "did you mean resnet18"),
        (("torchvision:resnet18",), "torchvision:resnet18 needs --weights FILE"),
        (("minivgg:small",), "minivgg takes nothing after a colon"),
        (("minivgg", "--weights", "none"), "give --mean and --std"),
        (("minivgg", "--weights", "none", "--mean", "0.5"), "give both --mean and --std"),
        (("minivgg", "--mean", "a,b,c"), "--mean: one number for each channel"),
        (("minivgg", "--size", "0"), "--size: a side in pixels"),
        (("minivgg", "--size", "64"), "--size: MiniVGG takes 32×32 only"),
        (("minivgg", "--resize", "big"), "--resize: a side in pixels"),
        (("minivgg", "--interpolation", "area"), "--interpolation: one of nearest, bilinear"),
        (("minivgg", "--weights", "missing.pth"), "missing.pth: cannot be read"),
        (("minivgg", "--classes", "missing.txt"), "--classes: missing.txt cannot be read"),
        (("exported:missing.pt2",), "missing.pt2: cannot be read"),
        (("exported:missing.pt2", "--weights", "none"), "has weights of its own"),
        (("huggingface:missing",), "config.json: cannot be read"),
    ],
)
def test_what_cannot_be_added_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert run(monkeypatch, "add", *arguments, "--name", "mine", "--to", str(tmp_path)) == 2
    refused = capsys.readouterr().err
    assert message in refused
    assert refused.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_program_for_texts_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 3))
    free = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(network, (torch.zeros(2, 2, dtype=torch.long),), dynamic_shapes=free)
    torch.export.save(program, tmp_path / "text.pt2")
    source = f"exported:{tmp_path / 'text.pt2'}"
    assert run(monkeypatch, "add", source, "--name", "mine", "--to", str(tmp_path / "models")) == 2
    refused = capsys.readouterr().err
    assert "takes integers of shape" in refused
    assert "huggingface:FOLDER" in refused


@pytest.mark.parametrize(
    ("content", "message"),
    [("cat\n\ndog\n", "line 2"), ("cat\ncat\n", "'cat' twice"), ("cat\n", "at least two names")],
)
def test_files_of_classes_are_checked(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    message: str,
) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(content, "utf-8")
    assert run(monkeypatch, "add", "minivgg", "--name", "mine", "--classes", str(path)) == 2
    assert message in capsys.readouterr().err


def test_the_name_of_a_model_that_exists_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shipped_model().parent
    assert run(monkeypatch, "add", "minivgg", "--name", folder.name, "--to", str(folder.parent)) == 2
    assert f"lrpserve remove {folder.name}" in capsys.readouterr().err
