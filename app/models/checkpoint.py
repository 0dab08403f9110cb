"""Loading and saving of networks: a folder of a safetensors file and its model card, with the weights' hash."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from app.errors import RefusedToStartError
from app.lrp.engine.ops.dropout import DROPOUTS
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import ARCHITECTURES
from app.models.card import ModelCard, Normalisation, TrainingRecord, read_card
from app.models.files import CARD, WEIGHTS, locate, read_files


def load(path: Path) -> tuple[MiniVGG, ModelCard]:
    """Return the network of a model's folder or card, in evaluation mode, and the card.

    Verifies the SHA-256 of the files, because safetensors has no checksum, and that the weights' names and shapes
    are the network's and their values are finite. Raises `RefusedToStartError` with the file's path and reason.
    """
    card_path = locate(path)
    card = read_card(card_path)
    network = _network(card, card_path)
    weights_path = card_path.with_name(card.weights)
    tensors = _read_tensors(read_files(card, card_path)[card.weights], weights_path)
    _load_tensors(network, tensors, weights_path)
    return network, card


def save(
    model: MiniVGG,
    folder: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    normalisation: Normalisation,
    dropout: tuple[float, ...] | None = None,
    training: TrainingRecord | None = None,
) -> Path:
    """Write the model's folder ``<name>``, with card and weights, into ``folder``. Return the card's path.

    Any MiniVGG can be saved and served, with its own classes and normalisation::

        model = MiniVGG(num_classes=2)
        model.load_state_dict(torch.load("mine.pt", weights_only=True))
        normalisation = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        save(model, Path("mine"), name="mine", classes=("cat", "dog"), normalisation=normalisation)

    Then run ``LRP_MODEL=mine/mine lrpserve serve``. ``dropout`` are the probabilities that it was trained
    with, one for each dropout layer; without them ``sampling=dropout`` is refused.
    """
    content = safetensors.save({key: value.contiguous() for key, value in model.state_dict().items()})
    card = ModelCard(
        name=name,
        architecture=type(model).__name__,
        classes=classes,
        normalisation=normalisation,
        input_size=model.input_size,
        files={WEIGHTS: hashlib.sha256(content).hexdigest()},
        dropout=dropout,
        training=training,
    )
    card_path = folder / name / CARD
    card_path.parent.mkdir(parents=True, exist_ok=True)
    _replace(card_path.with_name(WEIGHTS), content)
    write_card(card, card_path)
    return card_path


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card to ``path``, atomically."""
    _replace(path, (card.model_dump_json(indent=1) + "\n").encode())


def _network(card: ModelCard, path: Path) -> MiniVGG:
    """Return the network of a card with untrained weights, in evaluation mode."""
    if card.kind != "image":
        raise RefusedToStartError(f"{path}: only models of kind image can be served, not of kind {card.kind}")
    architecture = ARCHITECTURES.get(card.architecture)
    if architecture is None or card.input_size != architecture.input_size:
        known = " or ".join(f"{name} with input {one.input_size}" for name, one in ARCHITECTURES.items())
        raise RefusedToStartError(
            f"{path}: architecture {card.architecture} with input {card.input_size}; only {known} can be served"
        )
    network = architecture(len(card.classes)).eval()
    _set_dropout(network, card, path)
    return network


def dropout_rates(model: nn.Module) -> tuple[float, ...]:
    """Return the probabilities of the dropout layers of ``model``, in their order."""
    return tuple(layer.p for layer in model.modules() if isinstance(layer, DROPOUTS))


def _set_dropout(network: nn.Module, card: ModelCard, path: Path) -> None:
    """Give the dropout layers the probabilities on the card, if it has them."""
    layers = [layer for layer in network.modules() if isinstance(layer, DROPOUTS)]
    if card.dropout is None:
        return
    if len(card.dropout) != len(layers):
        raise RefusedToStartError(
            f"{path}: dropout has {len(card.dropout)} probabilities, and {card.architecture} has {len(layers)} "
            "dropout layers"
        )
    for layer, rate in zip(layers, card.dropout, strict=True):
        layer.p = rate


def _read_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.load(content)
    except SafetensorError as error:
        raise RefusedToStartError(f"{path}: not a safetensors file: {error}") from None
    except KeyError as error:  # safetensors knows more types of numbers than torch
        raise RefusedToStartError(
            f"{path}: holds numbers of type {error}, which torch does not have"
        ) from None


def _load_tensors(model: MiniVGG, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())  # torch's message has several lines
        raise RefusedToStartError(f"{path}: not the weights of this card's network: {reason}") from None
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise RefusedToStartError(f"{path}: {name} holds values that are not finite numbers")


def _replace(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(content)
    unfinished.replace(path)
