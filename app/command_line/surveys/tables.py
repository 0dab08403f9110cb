"""Tables that a survey prints."""

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from app.survey.findings import Findings
from app.survey.predictions import Predictions

MAX_SHOWN = 8
LEFT = ("label", "predicted as", "class", "word", "prediction", "without it", "feature", "depends on")
"""Columns of names; numbers are on the right."""


def table_of(title: str, *columns: str, caption: str | None = None) -> Table:
    """Return an empty table, whose numbers fit into 80 columns."""
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        is_name = column in LEFT or column.startswith(("for it", "against it"))
        table.add_column(column, justify="left" if is_name else "right", overflow="fold")
    return table


def confusions(findings: Findings) -> list[Table]:
    """Return the most frequent confusions, if there are any."""
    predictions, classes = findings.predictions, findings.classes
    if not isinstance(predictions, Predictions) or not len(predictions.mistakes()):
        return []
    table = table_of("The most frequent confusions", "label", "predicted as", "items")
    matrix = predictions.confusion()
    pairs = [(int(matrix[a, b]), a, b) for a in range(len(matrix)) for b in matrix[a].nonzero()[0] if a != b]
    for count, label, prediction in sorted(pairs, key=lambda one: -one[0])[:MAX_SHOWN]:
        table.add_row(escape(classes[label]), escape(classes[prediction]), str(count))
    return [table]
