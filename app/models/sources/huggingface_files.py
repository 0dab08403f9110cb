"""The files that transformers' ``save_pretrained`` writes: configurations and weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from app.errors import SourceError, first_line
from app.models.sources.names import imported, told_apart

CONFIG = "config.json"


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of the folder; raises `SourceError`."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}); name the folder that save_pretrained wrote, of the "
            "network and of its image processor or tokenizer"
        ) from None
    except ValueError as error:
        raise SourceError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise SourceError(f"{path}: not a JSON object")
    return content


def pretrained(auto_class: str, folder: Path, attention: str) -> nn.Module:
    """Return the network in a folder, in evaluation mode; raises `SourceError`.

    Args:
        auto_class: Class of transformers that loads it, such as ``AutoModelForImageClassification``.
        folder: What ``save_pretrained`` wrote.
        attention: Name of transformers' implementation of attention.

    """
    transformers = imported("transformers", "huggingface")
    try:
        network, found = getattr(transformers, auto_class).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            attn_implementation=attention,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(f"{folder}: transformers cannot load it ({first_line(error)})") from None
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found[what]:
            raise SourceError(
                f"{folder}: not the weights of this network; {what.replace('_', ' ')}: {found[what]}"
            )
    result: nn.Module = network.eval()
    return result


def labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the network's outputs, if the configuration has one for each."""
    found = config.get("id2label") or {}
    names = [found.get(str(index)) for index in range(len(found))]
    return told_apart(map(str, names)) if names and all(names) else None
