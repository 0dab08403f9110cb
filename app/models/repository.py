"""The models that there are: each a folder with a card, in one folder. Reads cards only, and imports no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from app.errors import RefusedToStartError
from app.models.card import Kind, ModelCard
from app.models.card_file import read_card
from app.models.files import CARD, locate
from app.settings import SHIPPED_NAMES, Settings


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
    """Return the first of the `default_names`; raises what that raises."""
    name = next(iter(default_names([one.card for one in stored], wanted).values()))
    return next(one for one in stored if one.card.name == name)


def default_names(cards: Sequence[ModelCard], wanted: str | None) -> dict[Kind, str]:
    """Return the name of the model of each kind of input that answers where a request names none.

    That is the one in ``wanted``, names with commas between them; else the shipped model of the kind if it is
    among ``cards``, else the only one of the kind. The kinds of ``wanted`` come first, then those of images,
    text and tables.

    Raises:
        RefusedToStartError: A wanted name is no model's, two are of one kind, or none is wanted of several.

    """
    found = _wanted_names(cards, wanted)
    for kind in SHIPPED_NAMES:
        if kind not in found and (names := _names_of(kind, cards)):
            found[kind] = _default_of(names, SHIPPED_NAMES[kind])
    return found


def _wanted_names(cards: Sequence[ModelCard], wanted: str | None) -> dict[Kind, str]:
    """Return the names in ``wanted`` by the kinds of their models; raises as `default_names` does."""
    kinds = {card.name: card.kind for card in cards}
    found: dict[Kind, str] = {}
    for name in filter(None, map(str.strip, (wanted or "").split(","))):
        if name not in kinds:
            raise no_model(name, kinds)
        if found.setdefault(kinds[name], name) != name:
            raise RefusedToStartError(
                f"LRP_DEFAULT_MODEL: {found[kinds[name]]} and {name} both take {kinds[name]} input; name one"
            )
    return found


def no_model(name: str, names: Iterable[str]) -> RefusedToStartError:
    """Return the error for a ``name`` that is none of the models' ``names``."""
    return RefusedToStartError(
        f"no model {name!r}; there are {', '.join(names)}: set --model or LRP_DEFAULT_MODEL to one of them"
    )


def _names_of(kind: Kind, cards: Sequence[ModelCard]) -> list[str]:
    return [card.name for card in cards if card.kind == kind]


def _default_of(names: Sequence[str], shipped: str) -> str:
    if shipped not in names and len(names) > 1:
        raise RefusedToStartError(
            f"there are several models, {', '.join(names)}: set LRP_DEFAULT_MODEL to the name of the one that "
            "answers where a request names none"
        )
    return shipped if shipped in names else names[0]


def served_model(settings: Settings, kind: Kind = "image") -> StoredModel:
    """Return the model that answers, by the settings, where a request with an input of ``kind`` names none.

    Raises `RefusedToStartError` if there is none, and as `default_names` does.
    """
    stored = {one.card.name: one for one in find_models(settings.models, settings.model)}
    cards = [one.card for one in stored.values()]
    names = _names_of(kind, cards)
    if not names:
        others = ", ".join(f"{card.name} takes {card.kind}" for card in cards)
        raise RefusedToStartError(f"no model takes {kind} input: {others}; name another one with --model")
    wanted = _wanted_names(cards, settings.default_model)
    return stored[wanted.get(kind) or _default_of(names, SHIPPED_NAMES[kind])]


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
