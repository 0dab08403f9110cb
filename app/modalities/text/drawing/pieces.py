"""Pieces: a text cut where its colours change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from app.modalities.drawing.scale import of_sign
from app.modalities.text.drawing.scored import ScoredText

Colour = tuple[int, int, int]
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
LINE_BREAKS = "\n\r\x85\u2028\u2029"
LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Shares of red, green and blue (WCAG 2, relative luminance)."""


class Kind(Enum):
    """What a piece is."""

    WORD = auto()
    SPECIAL = auto()
    """A token without characters in the text, shown by its name."""
    BETWEEN = auto()
    """Characters that are in no token, such as white space."""
    CUT = auto()
    """What the network does not take."""


@dataclass(frozen=True)
class Piece:
    """Some of a text. Words and special tokens have a relevance, its colour, and a colour to write on it."""

    kind: Kind
    text: str
    known: bool = True
    relevance: float = 0.0
    background: Colour = WHITE
    ink: Colour = BLACK

    @property
    def scored(self) -> bool:
        """Whether it has a relevance."""
        return self.kind in (Kind.WORD, Kind.SPECIAL)

    @property
    def is_line_break(self) -> bool:
        """Whether a colour behind its characters would not be seen."""
        return self.kind is Kind.WORD and not self.text.strip() and any(c in LINE_BREAKS for c in self.text)


def pieces_of(figure: ScoredText) -> list[Piece]:
    """Return the pieces of a figure's text: their texts joined, without special tokens, are the text.

    Tokens that share characters, such as the bytes of one letter, are one piece with the sum of their relevance.
    """
    pieces: list[Piece] = []
    place, last = 0, -1  # where the last word ends, and which piece it is
    for token in figure.tokens:
        if token.special:
            pieces.append(Piece(Kind.SPECIAL, token.text, token.known, token.relevance))
        elif token.start < place and last >= 0:
            joined = pieces[last]
            pieces[last] = replace(
                joined,
                text=joined.text + figure.text[place : token.end],
                known=joined.known and token.known,
                relevance=joined.relevance + token.relevance,
            )
            place = max(place, token.end)
        else:
            if place < token.start:
                pieces.append(Piece(Kind.BETWEEN, figure.text[place : token.start]))
            last = len(pieces)
            pieces.append(Piece(Kind.WORD, token.text, token.known, token.relevance))
            place = token.end
    if place < len(figure.text):
        pieces.append(Piece(Kind.CUT if figure.cut else Kind.BETWEEN, figure.text[place:]))
    return _coloured(pieces, figure)


def number(value: float) -> str:
    """Return a relevance as it is written beside its word."""
    return f"{value:+.3g}".replace("-", "−") if value else "0"


def ink_on(background: Colour) -> Colour:
    """Return black or white, which has more contrast (WCAG 2, contrast ratio)."""
    luminance = sum(
        share * (level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4)
        for share, level in zip(LUMINANCE, (channel / 255 for channel in background), strict=True)
    )
    return BLACK if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else WHITE


def _coloured(pieces: Sequence[Piece], figure: ScoredText) -> list[Piece]:
    values = np.array([piece.relevance for piece in pieces], np.float64)
    colours = figure.scale.colours(of_sign(values, figure.sign)).tolist()
    return [
        replace(piece, background=tuple(colour), ink=ink_on(tuple(colour))) if piece.scored else piece
        for piece, colour in zip(pieces, colours, strict=True)
    ]
