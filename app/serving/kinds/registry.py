"""Kinds of input: how each is decoded, drawn and evaluated, and how answers about it look."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.modalities.image.modality import ImageModality
from app.modalities.protocol import Modality
from app.modalities.table.modality import TableModality
from app.modalities.text.modality import TextModality
from app.models.card import ModelCard
from app.models.image_card import image_card
from app.models.protocol import Description
from app.models.table_card import table_card
from app.models.text_card import TOKENIZER, text_card
from app.serving.answers import Answers
from app.serving.kinds.image import ImageAnswers, Patches
from app.serving.kinds.table import FeatureRemoval, TableAnswers
from app.serving.kinds.text import TextAnswers, WordRemoval
from app.serving.removal import Removal
from app.settings import Settings


@dataclass(frozen=True)
class InputKind:
    """What serving needs to know of a kind of input."""

    modality: Callable[[Description, Settings], Modality[Any, Any, Any]]
    answers: Answers
    removal: Callable[[ModelCard], Removal]


def _image(described: Description, settings: Settings) -> ImageModality:
    return ImageModality(image_card(described.card).spec, settings.max_pixels)


def _text(described: Description, _: Settings) -> TextModality:
    return TextModality(text_card(described.card).spec(described.assets[TOKENIZER]))


def _table(described: Description, _: Settings) -> TableModality:
    return TableModality(table_card(described.card).spec)


KINDS: Mapping[str, InputKind] = {
    "image": InputKind(_image, ImageAnswers(), Patches),
    "text": InputKind(_text, TextAnswers(), WordRemoval),
    "table": InputKind(_table, TableAnswers(), FeatureRemoval),
}
"""By the ``kind`` on a model's card."""
