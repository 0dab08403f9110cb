"""Weights from files that are never unpickled beyond ``weights_only``, and whether they fit a network."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from app.errors import SourceError, first_line
from app.models.sources.protocol import SourceOptions

NAMED = 3
"""Tensors that a message names."""
_COUNTER = "num_batches_tracked"
"""Buffer of batch norms that older files lack, and that no result depends on."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a ``state_dict`` that torch saved; raises `SourceError`."""
    try:
        content = safetensors.load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise SourceError(f"{path}: not a safetensors file: {error}") from None
    if not content or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise SourceError(
            f"{path}: must be a state_dict, names and tensors only, but has {_named(list(map(str, content)))}; "
            "write it with torch.save(network.state_dict(), FILE)"
        )
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give ``network`` the weights of a file; raises `SourceError` unless names and shapes are its own."""
    own = network.state_dict()
    missing = [name for name in own if name not in tensors and not name.endswith(_COUNTER)]
    unexpected = [name for name in tensors if name not in own]
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = [
        f"{len(names)} {what}: {_named(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise SourceError(f"{path}: not the weights of {type(network).__name__}; {'; '.join(problems)}")
    network.load_state_dict({**own, **tensors})
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise SourceError(f"{path}: {name} holds values that are not finite numbers")


def needed_weights(options: SourceOptions, source: str) -> dict[str, Tensor] | None:
    """Return the weights that the options name; ``None`` for random ones, which must be asked for."""
    if options.random_weights:
        return None
    if options.weights is None:
        raise SourceError(
            f"{source} needs --weights FILE, safetensors or a state_dict: nothing is downloaded. "
            "--weights none keeps random weights, for a try"
        )
    return read_weights(options.weights)


def refuse_weights(options: SourceOptions, source: str) -> None:
    """Raise `SourceError` if weights are given to a source that has its own."""
    if options.weights is not None or options.random_weights:
        raise SourceError(f"--weights cannot be given with {source}, which has weights of its own")


def built(
    build: Callable[[int], nn.Module],
    count: int,
    options: SourceOptions,
    source: str,
    renamed: Callable[[str], str] = str,
) -> tuple[nn.Module, int]:
    """Return a network with the weights of the options, in evaluation mode, and how many classes it has.

    Args:
        build: Makes the network for a number of classes.
        count: That number, unless the weights are for another one, or are random and the options name classes.
        options: Name the weights.
        source: For messages.
        renamed: Returns the network's name of a tensor for that in the file.

    """
    tensors, path = needed_weights(options, source), options.weights
    if tensors is None or path is None:
        count = len(options.classes or ()) or count
        return build(count).eval(), count
    tensors = {renamed(name): tensor for name, tensor in tensors.items()}
    network = build(count)
    found = _class_count(network, tensors)
    if found is not None:
        network, count = build(found), found
    load_weights(network, tensors, path)
    return network.eval(), count


def _class_count(network: nn.Module, tensors: Mapping[str, Tensor]) -> int | None:
    """Return for how many classes a file's weights are, if that is all in which they differ from ``network``.

    Then all tensors of another shape, those of the last layer, have as many rows.
    """
    own = network.state_dict()
    different = [tensors[name] for name in own if name in tensors and tensors[name].shape != own[name].shape]
    counts = {len(tensor) for tensor in different if tensor.dim()}
    return counts.pop() if len(counts) == 1 else None


def _unpickled(path: Path) -> Mapping[str, object]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise SourceError(
            f"{path}: cannot be read as tensors alone ({first_line(error)}); code in it is never run. "
            "Write it with torch.save(network.state_dict(), FILE), or as safetensors"
        ) from None
    if not isinstance(content, Mapping):
        raise SourceError(
            f"{path}: holds a {type(content).__name__}; it must be a state_dict: "
            "torch.save(network.state_dict(), FILE)"
        )
    return content


def _named(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
