"""Text as a modality: texts are split into tokens, relevance is drawn as coloured words."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import InternalError
from app.modalities.drawing.scale import of_sign, scale_of_values
from app.modalities.drawing.style import ColourStyle
from app.modalities.protocol import Map
from app.modalities.text.drawing.figure import TextFigure, TextSheet
from app.modalities.text.drawing.scored import ScoredToken, TextCaptions
from app.modalities.text.reading import read
from app.modalities.text.spec import TextSpec
from app.modalities.text.tokenizer import Ids, TextTokenizer
from app.modalities.text.tokens import Token, tokens_of, trimmed, unread

MAX_LISTED = 5
"""Characters that a warning names."""


class Unit(StrEnum):
    """What has a number of its own in a drawing."""

    WORD = "word"
    TOKEN = "token"  # noqa: S105 # no password


@dataclass(frozen=True)
class TextOptions:
    """How the relevance of a text is drawn."""

    unit: Unit = Unit.WORD
    style: ColourStyle = field(default_factory=ColourStyle)


@dataclass(frozen=True, eq=False)
class TextSample:
    """A text, and the tokens that the network takes of it."""

    text: str
    """As sent."""
    input: Ids
    """Ids of the tokens, (T,)."""
    tokens: tuple[Token, ...]
    cut: int
    """Tokens at the end of the text that are left out."""
    unknown: int
    """Id of a token that stands for nothing: the unknown token, or the first of the vocabulary."""
    warnings: tuple[str, ...]
    baseline: None = None


class TextModality:
    """Decodes texts for a network with this input ``spec``, and draws its relevance; a `Modality`."""

    def __init__(self, spec: TextSpec) -> None:
        """Raises `RefusedToStartError` for a tokenizer that cannot be used."""
        self._tokenizer = TextTokenizer(spec.tokenizer, spec.max_tokens)

    def decode(self, data: bytes | str, options: TextOptions) -> TextSample:  # noqa: ARG002 # a protocol's method
        """Split a text into tokens.

        Raises what `app.modalities.text.reading.read` raises, and `InvalidTextError` for a text without
        tokens.
        """
        text = read(data)
        encoded = self._tokenizer.encode(text)
        tokens = tokens_of(text, encoded)
        unknown = self._tokenizer.unknown or 0
        return TextSample(
            text, encoded.ids, tokens, encoded.cut, unknown, tuple(_warnings(text, tokens, encoded.cut))
        )

    def render(self, maps: Sequence[Map], sample: TextSample, options: TextOptions) -> list[TextFigure]:
        """Draw each of ``maps``, (T,) or (T, …), as a text with coloured words, all on one scale.

        Raises `InternalError` for relevance that is not finite, or of a layer that has no place in the text.
        """
        scored = [_scored(_of_tokens(one.relevance, sample), sample, options.unit) for one in maps]
        shown = [
            of_sign(np.array([token.relevance for token in tokens]), options.style.sign) for tokens in scored
        ]
        scale = scale_of_values(shown, options.style)
        return [
            TextFigure(
                sample.text,
                tokens,
                scale,
                options.style.sign,
                TextCaptions(one.prediction, one.question, one.rule),
                sample.cut,
                one.metadata,
            )
            for one, tokens in zip(maps, scored, strict=True)
        ]

    def render_together(
        self, maps: Sequence[Map], sample: TextSample, options: TextOptions, metadata: Mapping[str, Any]
    ) -> TextSheet:
        """Draw ``maps`` as one sheet on one scale: a row for each rule, a column for each question."""
        return TextSheet(self.render(maps, sample, options), metadata)


def groups(sample: TextSample) -> npt.NDArray[np.int64]:
    """Return the index of the word that each token belongs to, −1 for special tokens: (T,)."""
    return np.array([-1 if token.word is None else token.word for token in sample.tokens], np.int64)


def without(sample: TextSample, words: Set[int]) -> Ids:
    """Return the sample's input with the tokens of these words deleted: (T,) -> (t,).

    Where no token would be left, it is one unknown token.
    """
    kept = sample.input[[token.word is None or token.word not in words for token in sample.tokens]]
    return kept if len(kept) else np.array([sample.unknown], np.int64)


def _warnings(text: str, tokens: Sequence[Token], cut: int) -> list[str]:
    of_text = [token for token in tokens if token.word is not None]
    warnings = []
    if cut:
        warnings.append(
            f"the text has more tokens than the model takes; the last {cut} are left out, "
            f"from character {of_text[-1].end} on"
        )
    if not any(token.known for token in of_text):
        warnings.append("the model knows no word of this text")
    if skipped := unread(text, tokens):
        more = " and others" if len(skipped) > MAX_LISTED else ""
        warnings.append(f"the model does not read the characters {skipped[:MAX_LISTED]}{more}")
    return warnings


def _of_tokens(relevance: npt.NDArray[Any], sample: TextSample) -> npt.NDArray[np.float64]:
    """Return the relevance of each token: (T, …) -> (T,)."""
    if len(relevance) != len(sample.tokens):
        raise InternalError("the relevance does not have values for each token")
    if not np.isfinite(relevance).all():
        raise InternalError("the relevance is not finite")
    sums: npt.NDArray[np.float64] = relevance.astype(np.float64).reshape(len(relevance), -1).sum(1)
    return sums


def _scored(values: npt.NDArray[np.float64], sample: TextSample, unit: Unit) -> tuple[ScoredToken, ...]:
    scored = [
        (token.word, ScoredToken(token.text, token.start, token.end, token.known, float(value)))
        for token, value in zip(sample.tokens, values, strict=True)
    ]
    if unit is Unit.TOKEN:
        return tuple(token for _, token in scored)
    return tuple(
        token
        for word, tokens in groupby(scored, key=lambda pair: pair[0])
        for token in _joined(sample.text, [token for _, token in tokens], special=word is None)
    )


def _joined(text: str, tokens: list[ScoredToken], *, special: bool) -> list[ScoredToken]:
    """Return the one word that ``tokens`` make, or special ones as they are."""
    if special or len(tokens) == 1:
        return tokens
    placed = [token for token in tokens if not token.special] or tokens
    start, end = trimmed(text, min(token.start for token in placed), max(token.end for token in placed))
    relevance = sum(token.relevance for token in tokens)
    known = all(token.known for token in tokens)
    return [replace(placed[0], text=text[start:end], start=start, end=end, known=known, relevance=relevance)]
