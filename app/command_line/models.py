"""The commands for a folder of models: list them, remove one."""

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from app.models.card import ModelCard
from app.models.repository import StoredModel, find_folder

HEADINGS = ("name", "version", "kind", "architecture", "classes", "input", "default")
GAP = "  "
IS_DEFAULT = "*"


def model_lines(stored: Sequence[StoredModel], defaults: Collection[str]) -> list[str]:
    """Return a table of models, one line each; those named ``defaults`` answer where a request names none."""
    rows = [HEADINGS, *(_row(one.card, one.card.name in defaults) for one in stored)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def remove_model(models: Path, name: str, confirm: Callable[[str], None]) -> Path:
    """Delete the folder of a model, with all that is in it; return its path.

    Args:
        models: Folder of models.
        name: Name of the model, as its card says.
        confirm: Is called with a question before anything is deleted; raises if the answer is no.

    Raises:
        RefusedToStartError: No folder, or several, have a model of that name, or it is a link.

    """
    folder = find_folder(models, name)
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    size = sum(path.lstat().st_size for path in files) / 2**20
    confirm(f"Delete {folder}, {len(files)} file{'s' * (len(files) != 1)}, {size:.1f} MiB?")
    shutil.rmtree(folder)
    return folder


def _row(card: ModelCard, is_default: bool) -> tuple[str, ...]:
    return (
        card.name,
        card.version,
        card.kind,
        card.architecture,
        str(len(card.classes)),
        "×".join(map(str, card.input_shape[1:])),
        IS_DEFAULT if is_default else "",
    )
