"""Texts on the command line, and the relevance of their words in a terminal."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from app.api.kinds.text import ExplainTextParameters, PredictTextParameters
from app.command_line.kind import FORMS, STANDARD, TOP, Inputs, Item, KindOnCommandLine, Sources
from app.command_line.options import Offered
from app.modalities.text.drawing.pieces import Colour, Kind, Piece, number, pieces_of
from app.modalities.text.drawing.scored import ScoredText
from app.serving.answers import RenderedExplanation

LARGEST = 10
"""Words that are listed with their numbers."""
LEGEND_CELLS = 33
SUMMED = "all others"
NAMED_CHARACTERS = 60
"""Of a text in messages."""


@dataclass(frozen=True)
class TextItem:
    """A text that a command is given; an `Item`."""

    number: int
    """From 1 in the order given."""
    text: str
    path: None = None
    is_named_itself: bool = True

    def __str__(self) -> str:
        line = " ".join(self.text.split())
        return line if len(line) <= NAMED_CHARACTERS else line[:NAMED_CHARACTERS] + "…"

    @property
    def names(self) -> dict[str, str | int]:
        """See `Item`."""
        return {"text": self.text}

    def copy(self, output: str | None) -> Path | None:
        """See `Item`."""
        return None if output is None else Path(output, f"text-{self.number}.txt")

    def read(self) -> str | bytes:
        """See `Item`."""
        return sys.stdin.buffer.read() if self.text == STANDARD else self.text


def find_texts(sources: Sources) -> Inputs:
    """Return the texts that are given, each once."""
    return Inputs(tuple(TextItem(number, text) for number, text in enumerate(dict.fromkeys(sources.text), 1)))


def print_text(figure: ScoredText, console: Console | None = None) -> None:
    """Print a text with coloured words, the scale, and the words with the largest relevance of either sign.

    Without colours, as with NO_COLOR or into a file, the numbers remain.
    """
    console = console or Console(highlight=False)
    pieces = pieces_of(figure)
    captions = figure.captions
    console.print(Text(f"{captions.prediction}, {captions.question} Rule {captions.rule}", Style(bold=True)))
    console.print(Text.assemble(*map(_coloured, pieces)), overflow="fold")
    if console.is_terminal and not console.no_color:
        console.print(_legend(figure))
    console.print(_largest([piece for piece in pieces if piece.scored]))


def _coloured(piece: Piece) -> tuple[str, Style]:
    if not piece.scored:
        return piece.text, Style(dim=piece.kind is Kind.CUT)
    text = f" {piece.text} " if piece.kind is Kind.SPECIAL else piece.text
    style = Style(color=_color(piece.ink), bgcolor=_color(piece.background), underline=not piece.known)
    return text, style


def _legend(figure: ScoredText) -> Text:
    values = np.linspace(figure.vmin, figure.vmax, LEGEND_CELLS)
    bar = [(" ", Style(bgcolor=_color(colour))) for colour in figure.scale.colours(values).tolist()]
    return Text.assemble(f"{number(figure.vmin)} ", *bar, f" {number(figure.vmax)}")


def _largest(pieces: Sequence[Piece]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("word", overflow="fold")
    table.add_column("relevance", justify="right", no_wrap=True)
    ranked = sorted(pieces, key=lambda piece: -abs(piece.relevance))
    for piece in ranked[:LARGEST]:
        note = "" if piece.known else " (unknown)"
        table.add_row(Text(piece.text.strip() or repr(piece.text)) + note, number(piece.relevance))
    if others := ranked[LARGEST:]:
        table.add_row(Text(SUMMED, Style(dim=True)), number(sum(piece.relevance for piece in others)))
    return table


def _color(colour: Colour) -> Color:
    return Color.from_rgb(*colour)


def _show(_: Item, explained: RenderedExplanation) -> None:
    print_text(explained.figure)


TEXTS = KindOnCommandLine(
    kind="text",
    items="texts",
    sources={"text": "--text"},
    find=find_texts,
    predict=Offered("texts", PredictTextParameters, {"top_k": TOP}),
    explain=Offered("texts", ExplainTextParameters, {"format": FORMS}),
    forms=("json", "html", "png", "npy"),
    show=_show,
)
