"""The models that there are: each a folder with a card, in one folder. Reads cards only, and imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from app.errors import RefusedToStartError
from app.models.card import ModelCard, read_card
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
    """Return the model that answers where a request names none.

    That is the one named ``wanted``; without it, the shipped one if it is among ``stored``, else the only one.

    Raises:
        RefusedToStartError: No model has that name, or there are several and none is ``wanted``.

    """
    by_name = {one.card.name: one for one in stored}
    names = ", ".join(by_name)
    if wanted is not None:
        if wanted not in by_name:
            raise RefusedToStartError(f"LRP_DEFAULT_MODEL: no model {wanted!r}; there are {names}")
        return by_name[wanted]
    if SHIPPED_NAME in by_name:
        return by_name[SHIPPED_NAME]
    if len(stored) > 1:
        raise RefusedToStartError(
            f"there are several models, {names}: set LRP_DEFAULT_MODEL to the name of the one that answers where "
            "a request names none"
        )
    return stored[0]


def served_model(settings: Settings) -> StoredModel:
    """Return the default model of the settings; raises `RefusedToStartError`."""
    return default_model(find_models(settings.models, settings.model), settings.default_model)


def _cards_in(models: Path) -> list[Path]:
    """Return the paths of the cards of all models in a folder."""
    try:
        folders = sorted(path for path in models.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise RefusedToStartError(
            f"{models}: cannot be read ({error.strerror}); LRP_MODELS must name a folder of models"
        ) from None
    cards = [path / CARD for path in folders if (path / CARD).exists()]
    if not cards:
        raise RefusedToStartError(
            f"{models}: holds no model, a folder with a {CARD}; to serve a single one, name it in LRP_MODEL"
        )
    return cards
