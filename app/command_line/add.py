"""The command ``add``: options, and what it prints of the network that it added."""

import re
from collections.abc import Iterator
from pathlib import Path

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.adding import AddedModel, add, check_name
from app.models.card import ModelCard
from app.models.image_card import ImageCard, Preprocessing
from app.models.sources.names import read_classes
from app.models.sources.protocol import SourceOptions
from app.models.sources.registry import load
from app.models.text_card import TextCard

NO_WEIGHTS = "none"
"""Value of ``--weights`` for random weights."""
_MAX_SIDE = 2048
_SIDES = re.compile(r"(\d{1,4})(?:[x×](\d{1,4}))?")
_COLUMNS = ("layer", "operation", "rule", "leak")


def add_model(
    source: str,
    name: str,
    models: Path,
    *,
    weights: str | None,
    classes: Path | None,
    mean: str | None,
    std: str | None,
    size: str | None,
    resize: str | None,
    interpolation: str | None,
) -> AddedModel:
    """Add the network of ``source`` to the folder ``models``; raises `SourceError` or `GraphError`."""
    check_name(name, models)  # before the network is loaded, which may take long
    options = SourceOptions(
        weights=Path(weights) if weights not in (None, NO_WEIGHTS) else None,
        random_weights=weights == NO_WEIGHTS,
        classes=None if classes is None else read_classes(classes),
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        size=_size(size),
        resize=_sides("--resize", resize),
        interpolation=_resampling(interpolation),
    )
    return add(load(source, options), name, models)


def lines(added: AddedModel) -> Iterator[str]:
    """Return what is known of an added model: what it takes, one line for each layer, and what was compared."""
    card = added.card
    yield from _input_lines(card)
    rows = [_COLUMNS, *((one.name, one.operation, one.rule, _percent(one.absorbed)) for one in added.layers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for *texts, leak in rows:
        cells = [text.ljust(width) for text, width in zip(texts, widths, strict=False)]
        yield "  ".join([*cells, leak.rjust(widths[-1])])
    yield f"leak {added.leak:z.1%} of the relevance put in, for a random input by the default rule"
    yield f"scores: graph and network differ by {added.score_error:.0e} of their norm"
    yield f"relevance: engine and {added.reference} differ by {added.relevance_error:.0e}"
    yield f"wrote {added.path} ({card.architecture}, {_counted(card)}, version {card.version})"


def _input_lines(card: ModelCard) -> Iterator[str]:
    """Return what a network takes and gives."""
    if isinstance(card, ImageCard):
        yield from _picture_lines(card)
    if isinstance(card, TextCard):
        yield f"input: text of at most {card.text.max_tokens} tokens, special ones included"
    yield f"{card.output}: {card.classes[0]}{f' … {card.classes[-1]}' if card.classes[1:] else ''}"


def _picture_lines(card: ImageCard) -> Iterator[str]:
    channels, height, width = card.input_size
    normalisation, how = card.normalisation, card.preprocessing
    colours = "RGB" if channels == 3 else "greyscale"
    yield f"input: {height}×{width}, {colours}; {_resized(how, height, width)}"
    for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
        yield f"{name}: {', '.join(f'{value:.4g}' for value in values)}"


def _resized(how: Preprocessing | None, height: int, width: int) -> str:
    """Return how pictures are resized, in words."""
    if how is None:
        return "the largest centred part of a picture is resized (lanczos)"
    resize = how.trained_resize(height, width)
    if not resize.keeps_aspect:
        return f"pictures are stretched to {resize.height}×{resize.width} ({how.interpolation})"
    side = f"{resize.height}" if resize.height == resize.width else f"{resize.height}×{resize.width} at least"
    return f"pictures are resized to a shorter side of {side} ({how.interpolation}), then cropped"


def _counted(card: ModelCard) -> str:
    """Return how many outputs there are, in words."""
    return "one value" if card.output == "value" else f"{len(card.classes)} {card.output}"


def _percent(share: float) -> str:
    """Return a share in percent; nothing where it rounds to zero."""
    text = f"{share:z.1%}"
    return "" if text == "0.0%" else text


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise SourceError(f"{option}: one number for each channel, as 0.485,0.456,0.406; not {text!r}")
    return values


def _size(text: str | None) -> tuple[int, int] | None:
    sides = _sides("--size", text)
    return (sides, sides) if isinstance(sides, int) else sides


def _sides(option: str, text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    found = _SIDES.fullmatch(text)
    sides = [int(side) for side in found.groups() if side] if found else []
    if not sides or not all(1 <= side <= _MAX_SIDE for side in sides):
        raise SourceError(f"{option}: a side in pixels, or HEIGHTxWIDTH, from 1 to {_MAX_SIDE}; not {text!r}")
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]


def _resampling(text: str | None) -> Resampling | None:
    if text is None:
        return None
    try:
        return Resampling(text)
    except ValueError:
        raise SourceError(f"--interpolation: one of {', '.join(Resampling)}; not {text!r}") from None
