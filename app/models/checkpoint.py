"""Weights and their card: a safetensors file, and a JSON file that says what it is and must hash to."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from app.errors import RefusedToStartError
from app.models.minivgg import INPUT_CHANNELS, INPUT_SIDE, MiniVGG

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


def load(card_path: Path) -> tuple[MiniVGG, ModelCard]:
    """The network of a card, in evaluation mode, and the card.

    The weights' hash, names, shapes and finiteness are verified (safetensors itself loads a flipped bit
    silently). Raises `RefusedToStartError` naming the file and what is wrong with it.
    """
    card = _read_card(card_path)
    weights_path = card_path.parent / card.weights
    content = _read(weights_path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise RefusedToStartError(
            f"{weights_path}: its SHA-256 is {digest[:12]}…, but {card_path.name} says {card.version}…; "
            "the file is damaged or another one: restore the two together"
        )
    model = MiniVGG(len(card.classes)).eval()
    _fill(model, _tensors(content, weights_path), weights_path)
    return model, card


def save(
    model: MiniVGG,
    folder: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    normalisation: Normalisation,
    training: TrainingRecord | None = None,
) -> Path:
    """Write ``<name>.safetensors`` and its card ``<name>.json`` into ``folder``; returns the card's path.

    The way to serve any MiniVGG, with classes and normalisation of its own::

        model = MiniVGG(num_classes=2)
        model.load_state_dict(torch.load("mine.pt", weights_only=True))
        normalisation = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        save(model, Path("mine"), name="mine", classes=("cat", "dog"), normalisation=normalisation)

    and then ``LRP_MODEL=mine/mine.json lrpserve serve``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = safetensors.save({key: value.contiguous() for key, value in model.state_dict().items()})
    card = ModelCard(
        name=name,
        architecture=ARCHITECTURE,
        classes=classes,
        normalisation=normalisation,
        weights=f"{name}.safetensors",
        sha256=hashlib.sha256(content).hexdigest(),
        training=training,
    )
    card_path = folder / f"{name}.json"
    _replace(folder / card.weights, content)
    _replace(card_path, (card.model_dump_json(indent=1) + "\n").encode())
    return card_path


def _read_card(path: Path) -> ModelCard:
    try:
        card = ModelCard.model_validate(json.loads(_read(path)))
    except ValueError as error:  # pydantic's ValidationError and json's JSONDecodeError both are
        raise RefusedToStartError(f"{path}: not a model card: {_first_line(error)}") from None
    if card.architecture != ARCHITECTURE or card.input_size != (INPUT_CHANNELS, INPUT_SIDE, INPUT_SIDE):
        raise RefusedToStartError(
            f"{path}: architecture {card.architecture} with input {card.input_size}; only {ARCHITECTURE} "
            f"with input {(INPUT_CHANNELS, INPUT_SIDE, INPUT_SIDE)} can be served"
        )
    return card


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedToStartError(
            f"{path}: cannot be read ({error.strerror}); LRP_MODEL must name a model card"
        ) from None


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.load(content)
    except SafetensorError as error:
        raise RefusedToStartError(f"{path}: not a safetensors file: {error}") from None


def _fill(model: MiniVGG, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        said = " ".join(str(error).split())  # torch says it on several lines
        raise RefusedToStartError(f"{path}: not the weights of this card's network: {said}") from None
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise RefusedToStartError(f"{path}: {name} holds values that are not finite numbers")


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _replace(path: Path, content: bytes) -> None:
    """Write at once or not at all."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)  # noqa: PTH105 - says what it does
