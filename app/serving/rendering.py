"""What is done to pictures, before the model and after it: uploads are opened, explanations are drawn.

All of it can be done in another process: what goes in and what comes out are numbers, small pictures and words.
"""

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.errors import InvalidParameterError
from app.lrp.request import Ask
from app.modalities.image.decoding import (
    Facts,
    Fit,
    Floats,
    decode,
    facts,
    fit_to_model,
    from_pixels,
    normalise,
    to_input,
)
from app.modalities.image.heatmap import (
    Backdrop,
    Captions,
    Heatmap,
    Scale,
    Style,
    backdrop_of,
    contact_sheet,
    longest_side,
    render,
    scale_of,
)
from app.models.card import ModelCard
from app.models.protocol import Done
from app.serving.reports import Receipts
from app.serving.schemas import CompareAnswer, ExplainAnswer, ExplainReceipt, HeatmapReport, PredictAnswer

T = TypeVar("T")

Upload = bytes | Floats
"""A picture's file, or pixels of the model's own size: float32 (3, 32, 32) in 0…1."""
LIBRARIES = ("lrpserve", "torch", "zennit", "numpy", "pillow")
MOST_PIXELS_COMPARED = 2**24
"""Of all maps of a comparison: 16 of the largest size, some two seconds of drawing."""
KEPT_ON_SHEET: Any = {
    "target": True,
    "versus": True,
    "layer": True,
    "rule": {"name", "parameters"},
    "relevance": {"start", "sum", "min", "max", "leak"},
}
"""What a contact sheet's chunk says of each map."""


@dataclass(frozen=True)
class Opened:
    """What is kept of an upload until it is answered. However large it was, this is as small as what is drawn."""

    facts: Facts
    image: Floats
    """As the model takes it, (3, 32, 32)."""
    pixels: npt.NDArray[np.uint8]
    """What the model sees, (32, 32, 3)."""
    backdrop: Backdrop


@dataclass(frozen=True)
class Look:
    """How explanations are to be shown."""

    style: Style
    top_k: int | None = None
    """So many scores; none is all."""


@dataclass(frozen=True)
class Explained:
    """One explanation in every form that it may be answered in. ``relevance`` is (3, 32, 32) or the layer's
    shape; ``pixels``, uint8 (32, 32, 3), is what the model saw.
    """

    receipt: ExplainReceipt
    heatmap: Heatmap
    relevance: Floats
    pixels: npt.NDArray[np.uint8]

    def answer(self, *, values: bool = False) -> ExplainAnswer:
        """The JSON answer, with the map and what the model saw as nested numbers if ``values``."""
        fields = dict(self.receipt)
        if values:
            fields["relevance"] = self.receipt.relevance.model_copy(
                update={"values": self.relevance.tolist()}
            )
            fields["input"] = self.receipt.input.model_copy(update={"pixels": self.pixels.tolist()})
        return ExplainAnswer(**fields, heatmap=_report(self.heatmap))


@dataclass(frozen=True)
class Compared:
    """Explanations on one scale, rule by rule and target by target, and all of them in one picture."""

    predicted: PredictAnswer
    explained: list[Explained]
    sheet: Heatmap

    def answer(self, *, values: bool = False) -> CompareAnswer:
        """The JSON answer."""
        return CompareAnswer(
            **dict(self.predicted),
            explanations=[one.answer(values=values) for one in self.explained],
            sheet=_report(self.sheet),
        )


class Pictures:
    """Opens uploads and draws explanations, in terms of one model's card."""

    def __init__(self, card: ModelCard, receipts: Receipts, max_pixels: int) -> None:
        self._receipts = receipts
        self._side = card.input_size[-1]
        self._normalisation = card.normalisation.mean, card.normalisation.std
        self._max_pixels = max_pixels

    def open(self, data: Upload, fit: Fit, style: Style) -> Opened:
        """The picture in ``data``; raises what `app.modalities.image.decoding.decode` does."""
        picture = from_pixels(data) if isinstance(data, np.ndarray) else decode(data, self._max_pixels)
        seen = fit_to_model(picture, fit, self._side)
        if isinstance(data, np.ndarray):  # not by way of 8 bits
            image = normalise(data, *self._normalisation)
        else:
            image = to_input(seen.image, *self._normalisation)
        return Opened(facts(picture, seen), image, np.asarray(seen.image), backdrop_of(picture, style))

    def explain(self, opened: Opened, ask: Ask, done: Done, look: Look, write: Callable[[Explained], T]) -> T:
        """What ``write`` makes of the explanation that ``ask`` asked for and that is ``done``."""
        predicted = self._receipts.prediction(opened.facts, done.logits, look.top_k)
        return write(self._explained(opened, predicted, ask, done, 0, look.style, None))

    def compare(
        self, opened: Opened, asks: Sequence[Ask], done: Done, look: Look, write: Callable[[Compared], T]
    ) -> T:
        """What ``write`` makes of several explanations.

        Raises `InvalidParameterError` where they are more than is drawn at once.
        """
        _refuse_too_large(len(asks), longest_side(look.style, opened.backdrop.size))
        predicted = self._receipts.prediction(opened.facts, done.logits, look.top_k)
        scale = scale_of([outcome.relevance for outcome in done.outcomes], look.style)
        explained = [
            self._explained(opened, predicted, ask, done, index, look.style, scale)
            for index, ask in enumerate(asks)
        ]
        return write(Compared(predicted, explained, _sheet(opened, explained, look.style, scale)))

    def _explained(
        self,
        opened: Opened,
        predicted: PredictAnswer,
        ask: Ask,
        done: Done,
        index: int,
        style: Style,
        scale: Scale | None,
    ) -> Explained:
        """Explanation ``index`` of what is ``done``, with its receipt, on its own scale if none is given."""
        outcome = done.outcomes[index]
        verified = None if done.verified is None else done.verified[index]
        receipt = self._receipts.explanation(predicted, outcome, ask, verified)
        heatmap = render(
            outcome.relevance,
            style,
            opened.backdrop,
            opened.facts.rectangle,
            {**receipt.model_dump(mode="json"), "versions": _versions()},
            _captions(receipt),
            scale,
        )
        return Explained(receipt, heatmap, outcome.relevance, opened.pixels)


def as_it_is(thing: T) -> T:
    """Writes nothing, for those who want the explanation itself."""
    return thing


def _refuse_too_large(count: int, side: int) -> None:
    if count * side**2 > MOST_PIXELS_COMPARED:
        raise InvalidParameterError(
            "size",
            f"{count} maps of {side} pixels are more than is drawn at once; compare fewer, or ask for "
            f"{math.isqrt(MOST_PIXELS_COMPARED // count)}",
        )


def _sheet(opened: Opened, explained: Sequence[Explained], style: Style, scale: Scale) -> Heatmap:
    rows: dict[str, list[Floats]] = {}
    for one in explained:
        rows.setdefault(one.receipt.rule.name, []).append(one.relevance)
    first = explained[: len(explained) // len(rows)]
    metadata = {
        **PredictAnswer.model_validate(explained[0].receipt, from_attributes=True).model_dump(mode="json"),
        "explanations": [one.receipt.model_dump(mode="json", include=KEPT_ON_SHEET) for one in explained],
        "versions": _versions(),
    }
    columns = [_captions(one.receipt).relevance for one in first]
    return contact_sheet(rows, columns, style, scale, Image.fromarray(opened.pixels), metadata)


def _report(heatmap: Heatmap) -> HeatmapReport:
    return HeatmapReport(
        media_type="image/png",
        width=heatmap.width,
        height=heatmap.height,
        colormap=heatmap.colormap,
        vmin=heatmap.vmin,
        vmax=heatmap.vmax,
        data=base64.b64encode(heatmap.png).decode(),
    )


def _captions(receipt: ExplainReceipt) -> Captions:
    best, target, versus = receipt.prediction, receipt.target, receipt.versus
    rather_than = f" rather than {versus.label}" if versus else ""
    return Captions(f"{best.label} {best.probability:.0%}", f"why {target.label}{rather_than}?")


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
