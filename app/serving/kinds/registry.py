"""Kinds of input: how each is decoded and drawn, and how answers about it look."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.modalities.image.modality import ImageModality
from app.modalities.protocol import Modality
from app.models.image_card import image_card
from app.models.protocol import Description
from app.serving.answers import Answers
from app.serving.kinds.image import ImageAnswers
from app.settings import Settings


@dataclass(frozen=True)
class InputKind:
    """What serving needs to know of a kind of input."""

    modality: Callable[[Description, Settings], Modality[Any, Any, Any]]
    answers: Answers


def _image(described: Description, settings: Settings) -> ImageModality:
    return ImageModality(image_card(described.card).spec, settings.max_pixels)


KINDS: Mapping[str, InputKind] = {
    "image": InputKind(_image, ImageAnswers()),
}
"""By the ``kind`` on a model's card."""
