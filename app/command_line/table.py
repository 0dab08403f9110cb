"""Rows of tables on the command line, and the relevance of their features in a terminal."""

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import typer
from pydantic import Field, create_model
from rich.box import SIMPLE_HEAD
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from app.api.kinds.table import ExplainTableParameters, PredictTableParameters
from app.command_line.kind import FORMS, STANDARD, TOP, Inputs, Item, KindOnCommandLine, Sources
from app.command_line.options import Offered
from app.modalities.table.drawing.axis import Axis
from app.modalities.table.drawing.bars import BIAS, Bar, shown
from app.modalities.table.drawing.chart import FOOTNOTE, MARK, Chart
from app.modalities.table.drawing.figure import TableFigure
from app.modalities.table.drawing.lettering import signed
from app.modalities.table.parsing import read_csv
from app.serving import representations
from app.serving.answers import RenderedExplanation

BAR_CELLS = 25
"""Width of the column of bars."""
BLOCK = "█"
SUM = "sum"


@dataclass(frozen=True)
class RowItem:
    """A row of a table that a command is given; an `Item`."""

    path: Path | None
    """The table; ``None``: standard input."""
    number: int
    """From 1."""
    row: Mapping[str, str] = field(compare=False)
    is_named_itself: bool = True

    def __str__(self) -> str:
        return f"{STANDARD if self.path is None else self.path} row {self.number}"

    @property
    def names(self) -> dict[str, str | int]:
        """See `Item`."""
        return {"file": STANDARD if self.path is None else str(self.path), "row": self.number}

    def copy(self, output: str | None) -> Path | None:
        """See `Item`."""
        stem = "stdin" if self.path is None else self.path.stem
        return None if output is None else Path(output, f"{stem}-row-{self.number}.csv")

    def read(self) -> Mapping[str, str]:
        """See `Item`."""
        return self.row


def find_rows(sources: Sources) -> Inputs:
    """Return the rows of the table that is given; raises `UnreadableTableError` and `OSError`."""
    assert sources.table is not None
    path = None if sources.table == STANDARD else Path(sources.table)
    header, rows = read_csv(sys.stdin.buffer.read() if path is None else path.read_bytes())
    return Inputs(
        tuple(
            RowItem(path, number, dict(zip(header, row, strict=True))) for number, row in enumerate(rows, 1)
        )
    )


def print_bars(figure: TableFigure, console: Console | None = None) -> None:
    """Print the features with values, relevance and bars, the largest first, then the bias and the sum of all.

    Without colours, as with NO_COLOR or into a file, the bars remain.
    """
    console = console or Console(highlight=False)
    chart = figure.content
    assert isinstance(chart, Chart)
    bars = shown(chart.bars, figure.style.sign)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column("feature", SUM, overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column(
        "relevance", signed(sum(bar.relevance for bar in chart.bars)), justify="right", no_wrap=True
    )
    table.add_column("", no_wrap=True)
    axis = Axis(figure.scale, 0, BAR_CELLS)
    for bar in bars:
        table.add_row(
            Text(bar.name, Style(dim=bar.is_rest)),
            Text(bar.value + MARK * bar.is_marked),
            signed(bar.relevance),
            _drawn(bar, axis),
        )
    console.print(Text(f"{chart.prediction}, {chart.question}", Style(bold=True)))
    console.print(table)
    if any(bar.is_marked for bar in bars):
        console.print(Text(FOOTNOTE, Style(dim=True)))


def json_of_rows(explained: Sequence[RenderedExplanation], *, values: bool) -> bytes:
    """Return the answer of ``/explain/table`` to several rows."""
    return representations.results(
        [one.answer(values=values).model_dump_json().encode() for one in explained]
    )


def csv_of_rows(explained: Sequence[RenderedExplanation], *, values: bool) -> bytes:  # noqa: ARG001 # a protocol's
    """Return the relevance as CSV: a line for each row, a column for each feature, or unit, and the bias."""
    scores = [_scores(one) for one in explained]
    text = io.StringIO()
    lines = csv.DictWriter(text, list(scores[0]))
    lines.writeheader()
    lines.writerows(scores)
    return text.getvalue().encode()


def _scores(explained: RenderedExplanation) -> dict[str, float]:
    """Return the relevance by the name of the feature; of a layer by the number of its unit."""
    features = explained.figure.features
    of_features = {feature.name: feature.relevance for feature in features}
    of_units = {f"unit {index}": float(value) for index, value in enumerate(explained.relevance.ravel())}
    return (of_features or of_units) | {BIAS: explained.report.relevance.bias}


def _drawn(bar: Bar, axis: Axis) -> Text:
    """Return a bar from zero to its relevance, as wide as the axis."""
    left, right = sorted((axis.position(0.0), axis.position(bar.relevance)))
    colour = Color.from_rgb(*axis.scale.colours(np.array([bar.relevance]))[0].tolist())
    return Text(" " * left).append(BLOCK * (right - left + 1), Style(color=colour))


def _show(item: Item, explained: RenderedExplanation) -> None:
    typer.echo(f"{item}")
    print_bars(explained.figure)


FORM: Any = (Literal["json", "csv", "png", "npy"] | None, Field(None))
"""The field ``format``, with a form of answer that HTTP does not have."""

ROWS = KindOnCommandLine(
    kind="table",
    items="rows",
    sources={"table": "--table"},
    find=find_rows,
    predict=Offered("rows", PredictTableParameters, {"top_k": TOP}),
    explain=Offered(
        "rows",
        create_model("RowsParameters", __base__=ExplainTableParameters, format=FORM),
        {"format": FORMS},
    ),
    forms=("json", "csv", "png", "npy"),
    show=_show,
    documents={"json": json_of_rows, "csv": csv_of_rows},
)
