"""``--model`` of commands that use one model: a name, a folder or a card."""

import json
from pathlib import Path

import pytest
from test_cli import run

from app.command_line.settings import settings_of_one
from app.errors import RefusedToStartError
from app.models.architectures.minivgg import MiniVGG
from app.models.checkpoint import save
from app.models.image_card import Normalisation
from app.models.repository import served_model


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the models ``one`` and ``two``; the default one is elsewhere."""
    normalisation = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    for folder, name in (("models", "one"), ("models", "two"), ("elsewhere", "three")):
        save(MiniVGG(2), tmp_path / folder, name=name, classes=("yes", "no"), normalisation=normalisation)
    monkeypatch.setenv("LRP_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LRP_MODEL", str(tmp_path / "elsewhere/three"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "three"),
        ("one", "one"),
        ("two", "two"),
        ("models/one", "one"),
        ("models/two/card.json", "two"),
        ("models/two.json", "two"),
        ("elsewhere/three", "three"),
    ],
)
@pytest.mark.usefixtures("models")
def test_a_name_is_of_the_folder_of_models_and_anything_else_is_a_path(given: str | None, name: str) -> None:
    assert served_model(settings_of_one(given)).card.name == name


def test_a_folder_that_exists_is_one_even_if_it_could_be_a_name(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models / "elsewhere")
    assert served_model(settings_of_one("three")).card.name == "three"


@pytest.mark.usefixtures("models")
def test_a_default_of_the_environment_is_not_that_of_a_model_that_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LRP_MODEL")
    monkeypatch.setenv("LRP_DEFAULT_MODEL", "two")
    assert served_model(settings_of_one(None)).card.name == "two"
    assert served_model(settings_of_one("one")).card.name == "one"
    assert served_model(settings_of_one("elsewhere/three")).card.name == "three"


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(("given", "message"), [("four", "'four'.*one, two"), ("four.json", "four.json")])
def test_a_model_that_does_not_exist_is_named(given: str, message: str) -> None:
    with pytest.raises(RefusedToStartError, match=message):
        served_model(settings_of_one(given))


def test_predict_uses_the_model_that_is_named(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cat_png: bytes
) -> None:
    (models / "cat.png").write_bytes(cat_png)
    assert run(monkeypatch, "predict", "cat.png", "--model", "two", "--json") == 0
    assert json.loads(capsys.readouterr().out)["model"]["name"] == "two"
