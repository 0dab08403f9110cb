"""Checkpoints of a training: what it needs to go on after an epoch as if it had not been interrupted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.models.records import EpochRecord
from app.training.run_folder import CHECKPOINT

Parts = Iterable[tuple[str, Any]]
"""Names and objects that have ``state_dict`` and ``load_state_dict``, such as the network and the optimizer."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a run's checkpoint."""

    state: dict[str, Any]

    @property
    def recipe(self) -> str:
        """The recipe, as text."""
        return str(self.state["recipe"])

    @property
    def seed(self) -> int | None:
        """The seed; ``None`` in a checkpoint that does not name it."""
        return self.state.get("seed")

    def restore(self, parts: Parts) -> list[EpochRecord]:
        """Load the state of ``parts``, and return the records of the epochs done."""
        for name, part in parts:
            part.load_state_dict(self.state[name])
        return [EpochRecord(**epoch) for epoch in self.state["history"]]


def read_checkpoint(run: Path, device: torch.device) -> Checkpoint | None:
    """Return the checkpoint in a run's folder with its tensors on ``device``, or ``None`` if there is none."""
    path = run / CHECKPOINT
    return Checkpoint(torch.load(path, map_location=device, weights_only=True)) if path.exists() else None


def write_checkpoint(run: Path, parts: Parts, history: Sequence[EpochRecord], recipe: str, seed: int) -> None:
    """Write the checkpoint of a run into its folder, atomically."""
    state = {name: part.state_dict() for name, part in parts}
    state["history"] = [epoch.model_dump() for epoch in history]
    state["recipe"] = recipe
    state["seed"] = seed
    run.mkdir(parents=True, exist_ok=True)
    unfinished = run / f"{CHECKPOINT}.tmp"
    torch.save(state, unfinished)
    unfinished.replace(run / CHECKPOINT)
