"""Architectures whose checkpoints can be loaded. A new one is one row."""

from collections.abc import Mapping

from app.models.architectures.minivgg import MiniVGG

ARCHITECTURES: Mapping[str, type[MiniVGG]] = {"MiniVGG": MiniVGG}
"""Architectures by their name in model cards."""
