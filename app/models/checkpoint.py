"""Loading and saving of networks: a folder of weights, their model card and, if it has its own, the graph."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from app.errors import GraphError, RefusedToStartError
from app.lrp.graph.graph import BATCH, Graph, from_json, to_json
from app.lrp.graph.rates import dropout_rates, with_dropout_rates
from app.lrp.graph.traced import TracedModel
from app.lrp.graph.weights import check_weights
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import ARCHITECTURES, graph_of
from app.models.card import GRAPH, ModelCard
from app.models.card_file import card_of, read_card
from app.models.files import CARD, WEIGHTS, locate, read_files
from app.models.image_card import ImageCard, Normalisation, image_card
from app.models.records import TrainingRecord


def load(path: Path) -> tuple[TracedModel, ModelCard]:
    """Return the network of a model's folder or card, and the card.

    Verifies the SHA-256 of the files, because safetensors has no checksum, and that the weights' names and shapes
    are the graph's and their values are finite. Raises `RefusedToStartError` with the file's path and reason.
    """
    card_path = locate(path)
    card = read_card(card_path)
    graph = None if GRAPH in card.files else _shipped_graph(card, card_path)
    files = read_files(card, card_path, card.files)
    if graph is None:
        graph = _own_graph(files[GRAPH], card, card_path)
    weights_path = card_path.with_name(card.weights)
    tensors = _read_tensors(files[card.weights], weights_path)
    _check_tensors(graph, tensors, weights_path)
    return TracedModel(_with_dropout(graph, card, card_path), tensors), card


def load_image(path: Path) -> tuple[TracedModel, ImageCard]:
    """Return what `load` does, for a network that takes images; raises `RefusedToStartError` for another."""
    model, card = load(path)
    return model, image_card(card)


def load_assets(path: Path) -> dict[str, str]:
    """Return the text of a model's files besides weights and graph, such as a tokenizer, by name.

    Raises `RefusedToStartError` for a file that is damaged, missing or not UTF-8.
    """
    card_path = locate(path)
    card = read_card(card_path)
    names = [name for name in card.files if name not in (card.weights, GRAPH)]
    try:
        return {name: data.decode() for name, data in read_files(card, card_path, names).items()}
    except UnicodeDecodeError:
        raise RefusedToStartError(f"{card_path}: lists a file that is not UTF-8") from None


def load_module(path: Path) -> tuple[MiniVGG, ImageCard]:
    """Return the network of a model as a module of its architecture, in evaluation mode, and the card.

    Raises `RefusedToStartError` as `load` does, and for a network that is none of `ARCHITECTURES`.
    """
    model, card = load_image(path)
    if card.architecture not in ARCHITECTURES or GRAPH in card.files:
        known = " or ".join(ARCHITECTURES)
        raise RefusedToStartError(f"{path}: architecture {card.architecture}; only {known} can be trained")
    module = ARCHITECTURES[card.architecture](len(card.classes)).eval()
    module.load_state_dict(dict(model.weights))
    return module, card


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
    fields = {
        "name": name,
        "architecture": type(model).__name__,
        "classes": classes,
        "normalisation": normalisation,
        "input_size": model.input_size,
        "dropout": dropout,
        "training": training,
    }
    return _write(fields, {WEIGHTS: content}, folder)


def save_traced(
    model: TracedModel,
    folder: Path,
    *,
    name: str,
    assets: Mapping[str, bytes] = MappingProxyType({}),
    **fields: Any,
) -> Path:
    """Write the folder ``<name>`` of a network with its own graph into ``folder``. Return the card's path.

    ``assets`` are other files of the model by name, such as a tokenizer. ``fields`` are those of the class of
    card. Without ``dropout``, the probabilities are those of the graph.
    """
    rates = dropout_rates(model.graph)
    content = {
        **assets,
        WEIGHTS: safetensors.save({key: _apart(tensor) for key, tensor in model.weights.items()}),
        GRAPH: to_json(model.graph).encode(),
    }
    return _write({"name": name, "dropout": rates or None, **fields}, content, folder)


def _apart(tensor: Tensor) -> Tensor:
    """Return a copy: tensors that share memory cannot be saved together."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _write(fields: dict[str, Any], content: dict[str, bytes], folder: Path) -> Path:
    """Write the files of a model, the card last."""
    files = {file: hashlib.sha256(data).hexdigest() for file, data in content.items()}
    card = card_of({**fields, "files": files})
    card_path = folder / card.name / CARD
    card_path.parent.mkdir(parents=True, exist_ok=True)
    for file, data in content.items():
        _replace(card_path.with_name(file), data)
    write_card(card, card_path)
    return card_path


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card to ``path``, atomically."""
    _replace(path, (card.model_dump_json(indent=1) + "\n").encode())


def _shipped_graph(card: ModelCard, path: Path) -> Graph:
    """Return the graph of the card's architecture."""
    shape, architecture = card.input_shape[1:], ARCHITECTURES.get(card.architecture)
    if architecture is None or shape != architecture.input_size:
        known = " or ".join(f"{name} with input {one.input_size}" for name, one in ARCHITECTURES.items())
        raise RefusedToStartError(
            f"{path}: architecture {card.architecture} with input {shape}; without a {GRAPH} only {known} can be "
            "served"
        )
    return graph_of(card.architecture, len(card.classes))


def _own_graph(content: bytes, card: ModelCard, card_path: Path) -> Graph:
    """Return the graph in the model's folder."""
    path = card_path.with_name(GRAPH)
    try:
        graph = from_json(content.decode())
    except (UnicodeDecodeError, RecursionError) as error:
        raise RefusedToStartError(f"{path}: not a graph: {type(error).__name__}") from None
    except GraphError as error:
        raise RefusedToStartError(f"{path}: {' '.join(error.detail.split())}") from None
    takes, gives = card.input_shape, (BATCH, len(card.classes))
    if graph.input_shape != takes or graph.output.shape != gives:
        raise RefusedToStartError(
            f"{path}: takes {graph.input_shape} and gives {graph.output.shape}, but by {card_path.name} it takes "
            f"{takes} and gives {gives}"
        )
    return graph


def _with_dropout(graph: Graph, card: ModelCard, path: Path) -> Graph:
    """Give the dropout layers the probabilities on the card, if it has them."""
    if card.dropout is None:
        return graph
    count = sum(node.op == "dropout" for node in graph)
    if len(card.dropout) != count:
        raise RefusedToStartError(
            f"{path}: dropout has {len(card.dropout)} probabilities, and {card.architecture} has {count} dropout "
            "layers"
        )
    return with_dropout_rates(graph, card.dropout)


def _read_tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        tensors = safetensors.load(content)
    except SafetensorError as error:
        raise RefusedToStartError(f"{path}: not a safetensors file: {error}") from None
    except KeyError as error:  # safetensors knows more types of numbers than torch
        raise RefusedToStartError(
            f"{path}: holds numbers of type {error}, which torch does not have"
        ) from None
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def _check_tensors(graph: Graph, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        check_weights(graph, {name: tensor.shape for name, tensor in tensors.items()})
    except GraphError as error:
        raise RefusedToStartError(f"{path}: not the weights of this card's network: {error.detail}") from None
    for name in not_finite(TracedModel(graph, tensors)):
        raise RefusedToStartError(f"{path}: {name} holds values that are not finite numbers")


def not_finite(model: TracedModel) -> Iterator[str]:
    """Return the names of tensors that hold values that are not finite numbers; constants may be masks."""
    for node in model.graph:
        is_valid = _is_mask if node.op == "constant" else torch.isfinite
        yield from (name for name in node.weights.values() if not is_valid(model.weights[name]).all())


def _is_mask(tensor: Tensor) -> Tensor:
    """Return where values are finite or minus infinity, which masks them in a softmax."""
    return torch.isfinite(tensor) | torch.isneginf(tensor)


def _replace(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(content)
    unfinished.replace(path)
