"""What becomes of the explanations of a command: they are printed, or written to files."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import typer

from app.command_line.kind import Item, KindOnCommandLine
from app.command_line.outputs import DRAWING, Outputs, document, outputs, write
from app.serving import representations
from app.serving.answers import RenderedExplanation
from app.serving.representations import Format
from app.serving.schemas import Prediction, Score, Value


class Writer(Protocol):
    """Takes the explanations of a command, one after another."""

    def take(self, item: Item, explained: RenderedExplanation) -> None:
        """Write or keep an explanation; raises `OSError`."""

    def finish(self) -> None:
        """Write what was kept; raises `OSError`."""


def writer_of(
    kind: KindOnCommandLine, items: Sequence[Item], output: str | None, form: str | None, *, values: bool
) -> Writer:
    """Return the writer of explanations in this ``form``; ``None``: they are printed, or drawn.

    ``values`` is the parameter of the endpoint. Raises `DataError` for an ``output`` that cannot be used.
    """
    if form is None and kind.show is not None:
        return _Printed(kind.show)
    form = form or DRAWING
    if form in kind.documents:
        body = partial(kind.documents[form], values=values)
        return _Together(document(items, output, form), form, kind.items, body)
    return _Separate(outputs(items, output, form), Format(form), values=values)


def said(*predictions: Prediction | Score | Value) -> str:
    """Return predictions in a few words: classes with their probabilities, or a value with its unit."""
    return ", ".join(
        f"{one.name} {one.value:.4g} {one.unit or ''}".rstrip()
        if isinstance(one, Value)
        else f"{one.label} {one.probability:.1%}"
        for one in predictions
    )


class _Printed:
    """Prints each explanation."""

    def __init__(self, show: Callable[[Item, RenderedExplanation], None]) -> None:
        self._show = show

    def take(self, item: Item, explained: RenderedExplanation) -> None:
        """See `Writer`."""
        self._show(item, explained)
        _print_warnings(explained)

    def finish(self) -> None:
        """See `Writer`: nothing is kept."""


class _Separate:
    """Writes each explanation to a file of its own."""

    def __init__(self, places: Outputs, form: Format, *, values: bool) -> None:
        self._places, self._form, self._values = places, form, values

    def take(self, item: Item, explained: RenderedExplanation) -> None:
        """See `Writer`."""
        place = self._places[item]
        content = representations.explanation(explained, self._form, values=self._values)
        write(place, content.body, self._form)
        _print_written(f"{item}: {said(explained.report.prediction)}", place)
        _print_warnings(explained)

    def finish(self) -> None:
        """See `Writer`: nothing is kept."""


class _Together:
    """Writes all explanations to one file."""

    def __init__(
        self,
        place: Path | None,
        form: str,
        items: str,
        body: Callable[[Sequence[RenderedExplanation]], bytes],
    ) -> None:
        self._place, self._form, self._items, self._body = place, form, items, body
        self._kept: list[RenderedExplanation] = []

    def take(self, item: Item, explained: RenderedExplanation) -> None:  # noqa: ARG002 # a protocol's method
        """See `Writer`."""
        self._kept.append(explained)

    def finish(self) -> None:
        """See `Writer`."""
        if self._kept:
            write(self._place, self._body(self._kept), self._form)
            _print_written(f"{len(self._kept)} {self._items}", self._place)


def _print_written(what: str, place: Path | None) -> None:
    """Print the output, on standard error where standard output is the explanation."""
    typer.echo(f"{what} -> {'standard output' if place is None else place}", err=place is None)


def _print_warnings(explained: RenderedExplanation) -> None:
    for warning in explained.report.warnings:
        typer.echo(f"  note: {warning}", err=True)
