"""Captions of panels and tiles."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Captions:
    """Captions of the panels of a side-by-side view."""

    picture: str = "picture"
    relevance: str = "relevance"


DEFAULT_CAPTIONS = Captions()


def shortened(text: str, font: Any, width: int) -> str:
    """Return ``text``, cut and ended with an ellipsis where it is wider than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
