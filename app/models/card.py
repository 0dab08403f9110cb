"""The JSON card of a network: what it is, how it was trained, and what its weights must hash to."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from app.errors import RefusedToStartError

INPUT_CHANNELS = 3
INPUT_SIDE = 32
ARCHITECTURE = "MiniVGG"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a model may be called: the name is a part of file names and URLs."""

Deviation = Annotated[FiniteFloat, Field(gt=0)]


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Normalisation(_Card):
    """Per channel, of pictures in 0…1: what is subtracted, and what that is divided by."""

    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    std: tuple[Deviation, Deviation, Deviation]


class Measured(_Card):
    """How good the network is on one set of pictures. Rows of ``confusion`` are the true classes."""

    count: int
    accuracy: float
    per_class: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float = Field(description="Expected calibration error, 15 bins (Guo et al. 2017).")
    negative_log_likelihood: float


class EpochRecord(_Card):
    """What one epoch came to: mean loss, accuracies in 0…1, learning rate at its end, seconds."""

    epoch: int
    side: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


class TrainingRecord(_Card):
    """How the weights came to be and how good they are."""

    recipe: dict[str, object]
    seed: int
    data: str
    history: tuple[EpochRecord, ...]
    validation: Measured
    test: Measured
    versions: dict[str, str]
    date: str = Field(description="Day of the export, ISO 8601.")


class ModelCard(_Card):
    """Everything one must know to use the weights; ``training`` may be missing for weights from elsewhere."""

    name: Annotated[str, Field(pattern=NAME)]
    architecture: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    normalisation: Normalisation
    input_size: tuple[int, int, int] = (INPUT_CHANNELS, INPUT_SIDE, INPUT_SIDE)
    weights: Annotated[
        str, Field(description="File name beside the card.", pattern=r"^[^/\\\x00]+\.safetensors$")
    ]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    training: TrainingRecord | None = None

    @field_validator("classes")
    @classmethod
    def _told_apart(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes) or not all(classes):
            raise ValueError("every class needs a name of its own")
        return classes

    @property
    def version(self) -> str:
        """First 12 hex digits of the weights' SHA-256."""
        return self.sha256[:12]


def read_card(path: Path) -> ModelCard:
    """The card in this file; raises `RefusedToStartError` naming the file and what is wrong with it."""
    try:
        card = ModelCard.model_validate(json.loads(read(path)))
    except ValueError as error:  # pydantic's ValidationError and json's JSONDecodeError both are
        raise RefusedToStartError(f"{path}: not a model card: {_first_line(error)}") from None
    if card.architecture != ARCHITECTURE or card.input_size != (INPUT_CHANNELS, INPUT_SIDE, INPUT_SIDE):
        raise RefusedToStartError(
            f"{path}: architecture {card.architecture} with input {card.input_size}; only {ARCHITECTURE} "
            f"with input {(INPUT_CHANNELS, INPUT_SIDE, INPUT_SIDE)} can be served"
        )
    return card


def read(path: Path) -> bytes:
    """What the file holds; raises `RefusedToStartError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedToStartError(
            f"{path}: cannot be read ({error.strerror}); LRP_MODEL must name a model card"
        ) from None


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
