"""The models that there are: each a folder with a card, in one folder. Reads cards only, and imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from app.errors import RefusedToStartError
from app.models.card import ModelCard
from app.models.card_file import read_card
from app.models.files import CARD, locate
from app.settings import SHIPPED_NAME, Settings


@dataclass(frozen=True)
class StoredModel:
    """A model on disk; its files are read, and verified, when it is loaded."""

    card_path: Path
    card: ModelCard


def find_models(models: Path, model: Path | None) -> tuple[StoredModel, ...]:
    """Return the models to serve, ordered by name.

    Args:
        models: Folder in which each sub-folder with a card is a model, except those whose name begins with a dot.
        model: A single model to serve instead, in any form that `app.models.files.locate` takes.

    Raises:
        RefusedToStartError: There is no model, two have one name, or a card cannot be read.

    """
    cards = _cards_in(models) if model is None else [locate(model)]
    found = sorted((StoredModel(path, read_card(path)) for path in cards), key=lambda one: one.card.name)
    for one, other in pairwise(found):
        if one.card.name == other.card.name:
            raise RefusedToStartError(
                f"{one.card_path.parent} and {other.card_path.parent} are both models of the name "
                f"{one.card.name!r}: rename one, in its card, or remove it"
            )
    return tuple(found)


def default_model(stored: Sequence[StoredModel], wanted: str | None) -> StoredModel:
    """Return the one of ``stored`` whose name is `default_name`; raises what that raises."""
    name = default_name([one.card.name for one in stored], wanted)
    return next(one for one in stored if one.card.name == name)


def default_name(names: Sequence[str], wanted: str | None) -> str:
    """Return the name of the model that answers where a request names none.

    That is ``wanted``; without it, the shipped model if it is among ``names``, else the only one.

    Raises:
        RefusedToStartError: No model has the name ``wanted``, or there are several and none is wanted.

    """
    listed = ", ".join(names)
    if wanted is not None:
        if wanted not in names:
            raise RefusedToStartError(
                f"no model {wanted!r}; there are {listed}: set --model or LRP_DEFAULT_MODEL to one of them"
            )
        return wanted
    if SHIPPED_NAME in names:
        return SHIPPED_NAME
    if len(names) > 1:
        raise RefusedToStartError(
            f"there are several models, {listed}: set LRP_DEFAULT_MODEL to the name of the one that answers "
            "where a request names none"
        )
    return names[0]


def served_model(settings: Settings) -> StoredModel:
    """Return the default model of the settings; raises `RefusedToStartError`."""
    return default_model(find_models(settings.models, settings.model), settings.default_model)


def find_folder(models: Path, name: str) -> Path:
    """Return the folder of one model in the folder ``models``, to delete it.

    A model whose card cannot be read is found by the name of its folder.

    Raises:
        RefusedToStartError: There is none, there are several, or it is a link.

    """
    named = {path.parent: _name_of(path) for path in _cards_in(models)}
    folders = [folder for folder, found in named.items() if found == name]
    if not folders:
        raise RefusedToStartError(
            f"{models}: no model {name!r}; there are {', '.join(sorted(named.values()))}"
        )
    if len(folders) > 1:
        raise RefusedToStartError(
            f"{' and '.join(map(str, folders))} are both models of the name {name!r}: delete one yourself"
        )
    (folder,) = folders
    if folder.is_symlink():
        raise RefusedToStartError(f"{folder}: is a link to {folder.resolve()}; delete the link yourself")
    return folder


def _name_of(card_path: Path) -> str:
    try:
        return read_card(card_path).name
    except RefusedToStartError:
        return card_path.parent.name


def _cards_in(models: Path) -> list[Path]:
    """Return the paths of the cards of all models in a folder."""
    try:
        folders = sorted(path for path in models.iterdir() if not path.name.startswith("."))
        cards = [path / CARD for path in folders if _has_card(path)]
    except OSError as error:
        raise RefusedToStartError(
            f"{error.filename}: cannot be read ({error.strerror}); LRP_MODELS must name a folder of models"
        ) from None
    if not cards:
        raise RefusedToStartError(
            f"{models}: holds no model, a folder with a {CARD}; to serve a single one, name it in LRP_MODEL"
        )
    return cards


def _has_card(path: Path) -> bool:
    """Return whether there is a card in ``path``; a link that leads nowhere is one, which is then refused."""
    try:
        (path / CARD).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
