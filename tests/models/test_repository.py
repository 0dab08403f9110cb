"""The models of a folder are found by their cards, and one of them is the default."""

import shutil
from pathlib import Path

import pytest

from app.errors import RefusedToStartError
from app.models.architectures.minivgg import MiniVGG
from app.models.card_file import read_card
from app.models.checkpoint import save, write_card
from app.models.image_card import Normalisation
from app.models.repository import StoredModel, default_model, find_models, served_model
from app.settings import Settings, shipped_model

GREY = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def write(folder: Path, *names: str) -> list[Path]:
    """Write a model of each name into the folder; return the paths of their cards."""
    return [save(MiniVGG(2), folder, name=name, classes=("yes", "no"), normalisation=GREY) for name in names]


def names(stored: tuple[StoredModel, ...]) -> list[str]:
    return [one.card.name for one in stored]


def test_every_folder_with_a_card_is_a_model(tmp_path: Path) -> None:
    two, one = write(tmp_path, "two", "one")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("not a model")
    assert find_models(tmp_path, None) == (
        StoredModel(one, read_card(one)),
        StoredModel(two, read_card(two)),
    )


def test_hidden_folders_are_no_models(tmp_path: Path) -> None:
    """Kubernetes mounts a ConfigMap with a hidden folder that holds every file a second time."""
    write(tmp_path, "one")
    shutil.copytree(tmp_path / "one", tmp_path / "..data")
    assert names(find_models(tmp_path, None)) == ["one"]


def test_linked_folders_are_models(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "one")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "one").symlink_to(tmp_path / "elsewhere" / "one")
    assert names(find_models(tmp_path / "models", None)) == ["one"]


def test_a_model_is_called_as_its_card_says(tmp_path: Path) -> None:
    write(tmp_path, "one")[0].parent.rename(tmp_path / "folder")
    assert names(find_models(tmp_path, None)) == ["one"]


@pytest.mark.parametrize("path", ["elsewhere/one", "elsewhere/one/card.json", "elsewhere/one.json"])
def test_a_single_model_is_served_instead_of_those_in_the_folder(tmp_path: Path, path: str) -> None:
    write(tmp_path / "models", "two", "three")
    card_path = write(tmp_path / "elsewhere", "one")[0]
    assert find_models(tmp_path / "models", tmp_path / path) == (
        StoredModel(card_path, read_card(card_path)),
    )


def test_two_models_of_one_name_are_refused_with_both_folders(tmp_path: Path) -> None:
    for path in write(tmp_path, "one", "two"):
        write_card(read_card(path).model_copy(update={"name": "same"}), path)
    with pytest.raises(RefusedToStartError, match="'same'") as refused:
        find_models(tmp_path, None)
    assert str(tmp_path / "one") in refused.value.detail
    assert str(tmp_path / "two") in refused.value.detail


def test_one_card_that_cannot_be_read_is_refused_by_its_path(tmp_path: Path) -> None:
    _, broken = write(tmp_path, "one", "two")
    broken.write_text("{")
    with pytest.raises(RefusedToStartError, match="not a model card") as refused:
        find_models(tmp_path, None)
    assert str(broken) in refused.value.detail


def test_a_card_that_is_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    _, card = write(tmp_path, "one", "two")
    card.unlink()
    card.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RefusedToStartError, match="cannot be read") as refused:
        find_models(tmp_path, None)
    assert str(card) in refused.value.detail


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    for folder in (tmp_path / "one", tmp_path / "nowhere", tmp_path / "one" / "card.json"):
        with pytest.raises(RefusedToStartError, match="LRP_MODEL") as refused:
            find_models(folder, None)
        assert str(folder) in refused.value.detail


def test_a_single_model_that_does_not_exist_is_refused_by_its_path(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path / "none.json", tmp_path):
        with pytest.raises(RefusedToStartError, match="cannot be read") as refused:
            find_models(tmp_path, path)
        assert str(path) in refused.value.detail


@pytest.mark.parametrize(
    ("there", "wanted", "default"),
    [
        (("mine",), None, "mine"),
        (("a", "minivgg-cifar10", "z"), None, "minivgg-cifar10"),
        (("a", "minivgg-cifar10", "z"), "z", "z"),
        (("a", "z"), "a", "a"),
    ],
)
def test_the_default_is_the_wanted_one_else_the_shipped_one_else_the_only_one(
    tmp_path: Path, there: tuple[str, ...], wanted: str | None, default: str
) -> None:
    write(tmp_path, *there)
    assert default_model(find_models(tmp_path, None), wanted).card.name == default


@pytest.mark.parametrize(
    ("wanted", "message"), [(None, "several models, a, z.*LRP_DEFAULT_MODEL"), ("b", "no model 'b'.* a, z")]
)
def test_a_default_that_is_not_clear_is_refused(tmp_path: Path, wanted: str | None, message: str) -> None:
    write(tmp_path, "a", "z")
    with pytest.raises(RefusedToStartError, match=message):
        default_model(find_models(tmp_path, None), wanted)


def test_the_shipped_model_is_the_default() -> None:
    assert served_model(Settings()).card_path == shipped_model()


def test_the_path_of_version_0_1_finds_the_shipped_model() -> None:
    path = shipped_model().parent.with_suffix(".json")
    assert path.name == "minivgg-cifar10.json"
    assert served_model(Settings(model=path)).card_path == shipped_model()


def test_the_settings_choose_folder_and_default(tmp_path: Path) -> None:
    write(tmp_path, "a", "z")
    assert served_model(Settings(models=tmp_path, default_model="z")).card.name == "z"
