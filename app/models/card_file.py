"""Reading of model cards from files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.errors import RefusedToStartError
from app.models.card import ModelCard
from app.models.image_card import ImageCard
from app.models.table_card import TableCard
from app.models.text_card import TextCard

CARDS: Mapping[str, type[ModelCard]] = {"image": ImageCard, "text": TextCard, "table": TableCard}
"""Classes of cards by what their networks take. A card without ``kind`` is that of a network for images."""


def card_of(fields: object) -> ModelCard:
    """Return the card with these fields; raises `ValueError`, of which pydantic's `ValidationError` is one."""
    kind: Any = fields.get("kind", "image") if isinstance(fields, dict) else "image"
    if kind not in CARDS:
        raise ValueError(f"kind: {kind!r} is none of {', '.join(CARDS)}")
    return CARDS[kind].model_validate(fields)


def read_card(path: Path) -> ModelCard:
    """Read the card in this file; raises `RefusedToStartError` that names the file and what is wrong."""
    try:
        return card_of(json.loads(read(path)))
    except RecursionError:
        raise RefusedToStartError(f"{path}: not a model card: nested too deeply") from None
    except ValueError as error:  # pydantic's ValidationError and json's JSONDecodeError both are
        raise RefusedToStartError(f"{path}: not a model card: {first_line(error)}") from None


def read(path: Path, advice: str = "name a model's folder or card") -> bytes:
    """Read a file; raises `RefusedToStartError` that ends with ``advice``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedToStartError(f"{path}: cannot be read ({error.strerror}); {advice}") from None


def first_line(error: ValueError) -> str:
    """Return the first thing that is wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        text = first["msg"].removeprefix("Value error, ")  # pydantic's own prefix
        return ": ".join(filter(None, [".".join(map(str, first["loc"])), text]))
    return str(error)
