"""The bars of a drawing: which there are, in which order, and their scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.modalities.drawing.scale import Scale, of_sign, scale_of_values
from app.modalities.drawing.style import ColourStyle, Sign
from app.modalities.table.scores import ScoredFeature

MAX_BARS = 24
"""Bars of one chart; the smallest ones beyond are added up in one bar."""
BIAS = "bias"


@dataclass(frozen=True)
class Bar:
    """One bar: what it is for, and its relevance."""

    name: str
    value: str
    """Value with its unit; empty if it has none."""
    relevance: float
    is_marked: bool = False
    """Whether the value is outside the range of the training data."""
    is_rest: bool = False
    """Whether the bar stands below those of single features: other features together, or the bias."""


def bars_of_features(features: Sequence[ScoredFeature], bias: float | None) -> list[Bar]:
    """Return a bar for each feature, and the bias if it is given."""
    bars = [
        Bar(feature.name, _value(feature), feature.relevance, feature.outside_training_range)
        for feature in features
    ]
    return _ordered(bars, "features", bias)


def bars_of_units(relevance: npt.NDArray[Any], bias: float | None) -> list[Bar]:
    """Return a bar for each unit of a hidden layer, (units,), and the bias if it is given."""
    bars = [Bar(f"unit {index}", "", float(value)) for index, value in enumerate(relevance.ravel())]
    return _ordered(bars, "units", bias)


def shown(bars: Sequence[Bar], sign: Sign) -> list[Bar]:
    """Return the bars whose relevance is of this sign."""
    match sign:
        case Sign.ALL:
            return list(bars)
        case Sign.POSITIVE:
            return [bar for bar in bars if bar.relevance > 0]
        case Sign.NEGATIVE:
            return [bar for bar in bars if bar.relevance < 0]


def scale_of_bars(charts: Sequence[Sequence[Bar]], style: ColourStyle) -> Scale:
    """Return one scale for all bars of all ``charts``. Zero is on it, as bars start there."""
    values = np.array([0.0, *(bar.relevance for bars in charts for bar in bars)])
    return scale_of_values([of_sign(values, style.sign)], style)


def _ordered(bars: list[Bar], kind: str, bias: float | None) -> list[Bar]:
    """Return the largest bars first, then one for all others, then the bias."""
    bars = sorted(bars, key=lambda bar: -abs(bar.relevance))
    if len(bars) > MAX_BARS:
        others = bars[MAX_BARS - 1 :]
        total = sum(bar.relevance for bar in others)
        bars = [*bars[: MAX_BARS - 1], Bar(f"{len(others)} other {kind}", "", total, is_rest=True)]
    return bars if bias is None else [*bars, Bar(BIAS, "", bias, is_rest=True)]


def _value(feature: ScoredFeature) -> str:
    match feature.value:
        case None:
            return "missing"
        case str():
            return feature.value
    return f"{feature.value:.6g} {feature.unit or ''}".rstrip()
