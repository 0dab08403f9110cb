"""Figures as an HTML page of its own: no script, and nothing that is loaded from elsewhere."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

import numpy as np

from app.modalities.drawing.scale import Scale, labelled_ticks
from app.modalities.text.drawing.pieces import Colour, Kind, Piece, number, pieces_of
from app.modalities.text.drawing.scored import ScoredText

LEGEND_COLOURS = 33
OWN = ' dir="ltr"'
"""Attribute of what has no say in the direction of a text with ``dir=auto``."""
STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1b1b; --faint: #595959; --line: #767676; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181c; --ink: #ececec; --faint: #b0b0b0; --line: #8a8a8a; }
}
body { margin: 0; background: var(--page); color: var(--ink); font: 1.0625rem/1.5 system-ui, sans-serif; }
main { margin: 0 auto; padding: 1.25rem; }
h1 { font-size: 1.25rem; margin: 0 0 .5rem; }
h2, h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
h1, h2, h3 { overflow-wrap: anywhere; }
.maps { display: grid; gap: 0 2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.text { margin: 0; max-width: 45rem; line-height: 1.9; white-space: pre-wrap; overflow-wrap: anywhere; }
.word { border-radius: .2em; padding: .15em 0; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.special { font-size: .75em; border: 1px solid var(--line); margin: 0 .2em; padding: .1em .25em; }
.unknown { text-decoration: underline dotted; text-underline-offset: .2em; }
.cut { color: var(--faint); font-style: italic; }
.number { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; user-select: none; }
.legend { margin: 0; width: min(100%, 20rem); font-size: .875rem; }
.bar { height: .875rem; border: 1px solid var(--line); forced-color-adjust: none; }
.ticks { position: relative; height: 1.5em; font-variant-numeric: tabular-nums; }
.ticks span { position: absolute; transform: translateX(-50%); }
.ticks span:first-child { transform: none; }
.ticks span:last-child:not(:first-child) { transform: translateX(-100%); }
.note { color: var(--faint); font-size: .875rem; margin: .75rem 0 0; }
@media print { .word, .bar { print-color-adjust: exact; } }
"""


def page(figures: Sequence[ScoredText]) -> str:
    """Return a page with all of ``figures``, of one text and on one scale: a section for each rule."""
    drawn = [(figure, pieces_of(figure)) for figure in figures]
    first = figures[0]
    style = (
        STYLE + _colour_rules(piece for _, pieces in drawn for piece in pieces) + _legend_rules(first.scale)
    )
    sections = [
        _section(rule, list(rows)) for rule, rows in groupby(drawn, key=lambda one: one[0].captions.rule)
    ]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(first.captions.prediction)} – {escape(first.captions.question)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{escape(first.captions.prediction)}</h1>
{_legend(first.scale)}
{"".join(sections)}{_notes(drawn[0][1], first.cut)}</main>
</body>
</html>
"""


def _section(rule: str, maps: Sequence[tuple[ScoredText, Sequence[Piece]]]) -> str:
    texts = "".join(
        f"<div>\n<h3>{escape(figure.captions.question)}</h3>\n"
        f'<p class="text" dir="auto" lang="">{"".join(map(_piece, pieces))}</p>\n</div>\n'
        for figure, pieces in maps
    )
    return f'<section>\n<h2>Rule {escape(rule)}</h2>\n<div class="maps">\n{texts}</div>\n</section>\n'


def _piece(piece: Piece) -> str:
    text = escape(piece.text)
    match piece.kind:
        case Kind.BETWEEN:
            return text
        case Kind.CUT:
            return f'<span class="cut">{text}</span>'
    special = piece.kind is Kind.SPECIAL
    kinds = ["word", _class_of(piece.background), *["special"] * special, *["unknown"] * (not piece.known)]
    said = number(piece.relevance) + ("" if piece.known else ", unknown word")
    visible = f'<span aria-hidden="true">↵</span>{text}' if piece.is_line_break else text
    return (
        f'<data class="{" ".join(kinds)}" value="{piece.relevance:.9g}" title="{said}"{OWN * special}>{visible}'
        f'<span class="number"{OWN}> ({said})</span></data>'
    )


def _legend(scale: Scale) -> str:
    ticks = "".join(
        f'<span class="tick{place}">{text}</span> ' for place, (_, text) in enumerate(labelled_ticks(scale))
    )
    return (
        '<figure class="legend"><figcaption>Relevance</figcaption><div class="bar"></div>'
        f'<div class="ticks">{ticks}</div></figure>\n'
    )


def _notes(pieces: Sequence[Piece], cut: int) -> str:
    notes = []
    if not all(piece.known for piece in pieces):
        notes.append("Underlined: not in the model’s vocabulary.")
    if cut:
        notes.append(f"In italics: {cut} tokens that the model does not take.")
    return "".join(f'<p class="note">{note}</p>\n' for note in notes)


def _colour_rules(pieces: Iterable[Piece]) -> str:
    used = {piece.background: piece.ink for piece in pieces if piece.scored}
    return "".join(
        f".{_class_of(background)} {{ background: {_hex(background)}; color: {_hex(ink)}; }}\n"
        for background, ink in sorted(used.items())
    )


def _legend_rules(scale: Scale) -> str:
    colours = scale.colours(np.linspace(scale.vmin, scale.vmax, LEGEND_COLOURS)).tolist()
    span = scale.vmax - scale.vmin
    places = [(value - scale.vmin) / span if span > 0 else 0.5 for value, _ in labelled_ticks(scale)]
    return f".bar {{ background: linear-gradient(to right, {', '.join(map(_hex, colours))}); }}\n" + "".join(
        f".ticks .tick{tick} {{ left: {place:.1%}; }}\n" for tick, place in enumerate(places)
    )


def _class_of(colour: Colour) -> str:
    return "c" + _hex(colour)[1:]


def _hex(colour: Sequence[int]) -> str:
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
