"""The architectures whose checkpoints can be loaded. A new one is one row."""

from collections.abc import Mapping

from app.models.architectures.minivgg import MiniVGG

ARCHITECTURES: Mapping[str, type[MiniVGG]] = {"MiniVGG": MiniVGG}
"""By the name that a card gives."""
