"""Files of a stored model: where its card is, and the content of the files that the card lists."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from app.errors import RefusedToStartError
from app.models.card import ModelCard
from app.models.card_file import read

CARD = "card.json"
"""File name of the card in a model's folder."""
WEIGHTS = "weights.safetensors"
"""File name of the weights in a model's folder."""


def locate(path: Path) -> Path:
    """Return the path of the card that ``path`` names: a model's folder, or a card itself.

    Version 0.1 wrote a card ``X.json`` where there is a folder ``X`` now: ``X.json`` is ``X/card.json`` if only
    that exists.
    """
    if path.is_dir():
        return path / CARD
    moved = path.with_suffix("") / CARD
    return moved if path.suffix == ".json" and moved.exists() and not path.exists() else path


def read_files(card: ModelCard, card_path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of ``names``, files that the card lists, by their names.

    Raises `RefusedToStartError` with the file's path if one cannot be read or has another SHA-256 than listed.
    """
    return {name: _read_verified(card_path.with_name(name), card.files[name], card_path) for name in names}


def _read_verified(path: Path, digest: str, card_path: Path) -> bytes:
    content = read(path, f"{card_path.name} lists it: restore the model's files together")
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise RefusedToStartError(
            f"{path}: its SHA-256 is {found[:12]}…, but {card_path.name} says {digest[:12]}…; "
            "the file is damaged or another one: restore the two together"
        )
    return content
