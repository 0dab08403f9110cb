"""``lrpserve models`` lists a folder of models, ``lrpserve remove`` deletes one of them."""

import io
import shutil
import sys
from pathlib import Path

import pytest
from test_cli import run

from app.models.architectures.minivgg import MiniVGG
from app.models.card_file import read_card
from app.models.checkpoint import save, write_card
from app.models.image_card import Normalisation
from app.settings import shipped_model

GREY = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two models, which LRP_MODELS names."""
    folder = tmp_path / "models"
    for name in ("fruit", "a-longer-name"):
        save(MiniVGG(2), folder, name=name, classes=("ripe", "unripe"), normalisation=GREY)
    monkeypatch.setenv("LRP_MODELS", str(folder))
    return folder


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def listed(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_models_are_listed_with_version_kind_input_and_default(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LRP_DEFAULT_MODEL", "fruit")
    assert run(monkeypatch, "models") == 0
    other, fruit = (read_card(models / name / "card.json").version for name in ("a-longer-name", "fruit"))
    assert listed(capsys) == [
        ["name", "version", "kind", "architecture", "classes", "input", "default"],
        ["a-longer-name", other, "image", "MiniVGG", "2", "3×32×32"],
        ["fruit", fruit, "image", "MiniVGG", "2", "3×32×32", "*"],
    ]


def test_columns_are_aligned(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "models", "--models", str(models))
    heading, *lines = capsys.readouterr().out.splitlines()
    assert {line.index("image") for line in lines} == {heading.index("kind")}


@pytest.mark.usefixtures("models")
def test_models_are_listed_although_the_default_is_unclear(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "models") == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 3
    assert "*" not in printed.out
    assert "LRP_DEFAULT_MODEL" in printed.err


def test_a_single_model_is_listed_alone_unless_a_folder_is_named(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LRP_MODEL", str(shipped_model()))
    run(monkeypatch, "models")
    assert [row[0] for row in listed(capsys)] == ["name", "minivgg-cifar10"]
    run(monkeypatch, "models", "--models", str(models))
    assert [row[0] for row in listed(capsys)] == ["name", "a-longer-name", "fruit"]


def test_a_model_is_removed_when_the_question_is_answered(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "y\n")
    assert run(monkeypatch, "remove", "fruit") == 0
    assert [path.name for path in models.iterdir()] == ["a-longer-name"]
    assert f"Delete {models / 'fruit'}, 2 files" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["n\n", "\n", ""])
def test_nothing_is_removed_without_a_yes(models: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    answer(monkeypatch, text)
    assert run(monkeypatch, "remove", "fruit") == 1
    assert (models / "fruit" / "weights.safetensors").exists()


def test_yes_removes_without_a_question(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "")
    assert run(monkeypatch, "remove", "fruit", "--yes") == 0
    assert not (models / "fruit").exists()


def test_a_model_is_removed_by_the_name_on_its_card(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "fruit").rename(models / "elsewhere")
    assert run(monkeypatch, "remove", "fruit", "--yes") == 0
    assert not (models / "elsewhere").exists()


def test_a_damaged_model_is_removed_by_its_folder(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "fruit" / "card.json").write_text("{")
    assert run(monkeypatch, "remove", "fruit", "--yes") == 0
    assert not (models / "fruit").exists()


@pytest.mark.parametrize("name", ["nothing", "../models", ".", "", "fruit/../fruit", "/tmp"])
def test_what_is_no_model_of_the_folder_is_not_removed(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(monkeypatch, "remove", "--yes", name) == 2
    assert f"no model {name!r}; there are a-longer-name, fruit" in capsys.readouterr().err
    assert len(list(models.rglob("*.safetensors"))) == 2


def test_a_folder_without_a_card_is_not_removed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "notes").mkdir()
    assert run(monkeypatch, "remove", "notes", "--yes") == 2
    assert (models / "notes").exists()


def test_a_linked_model_is_not_removed(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = models.parent / "elsewhere"
    (models / "fruit").rename(elsewhere)
    (models / "fruit").symlink_to(elsewhere)
    assert run(monkeypatch, "remove", "fruit", "--yes") == 2
    assert f"is a link to {elsewhere}" in capsys.readouterr().err
    assert (elsewhere / "weights.safetensors").exists()


def test_what_links_in_a_model_lead_to_is_not_removed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = models.parent / "elsewhere"
    shutil.copytree(models / "fruit", elsewhere)
    (models / "fruit" / "linked").symlink_to(elsewhere)
    assert run(monkeypatch, "remove", "fruit", "--yes") == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["card.json", "weights.safetensors"]


def test_one_of_two_models_of_one_name_is_not_chosen(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = models / "a-longer-name" / "card.json"
    write_card(read_card(card).model_copy(update={"name": "fruit"}), card)
    assert run(monkeypatch, "remove", "fruit", "--yes") == 2
    said = capsys.readouterr().err
    assert str(models / "fruit") in said
    assert str(models / "a-longer-name") in said
    assert len(list(models.rglob("*.safetensors"))) == 2


def test_the_service_does_not_start_with_two_models_of_one_name(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.cli.configure", lambda _: None)  # it would replace pytest's log handlers
    card = models / "a-longer-name" / "card.json"
    write_card(read_card(card).model_copy(update={"name": "fruit"}), card)
    assert run(monkeypatch, "serve", "--port", "0") == 2
    said = capsys.readouterr().err
    assert str(models / "fruit") in said
    assert str(models / "a-longer-name") in said
