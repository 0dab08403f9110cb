"""Surveys of rows of tables on the command line."""

from typing import cast

from rich.markup import escape

from app.command_line.surveys.kind import Data, Printed, SurveyOnCommandLine
from app.command_line.surveys.request import Request
from app.command_line.surveys.tables import confusions, table_of
from app.command_line.table import ROWS
from app.modalities.table.modality import TableOptions
from app.models.table_card import table_card
from app.survey.counted import counted
from app.survey.numerals import number
from app.survey.table.findings import OutputFeatures, TableFindings
from app.survey.table.items import find_rows
from app.survey.table.kind import TableKind

MAX_OUTPUTS = 4
MAX_SHOWN = 12
"""Features that are printed."""


def _kind(request: Request) -> TableKind:
    options = cast("TableOptions", request.asked.input_options())
    return TableKind(table_card(request.pipeline.card).spec, options)


def _find(request: Request) -> Data:
    return Data(find_rows(request.options.data, table_card(request.pipeline.card)))


def _tables(findings: TableFindings) -> list[Printed]:
    outputs = sorted(findings.by_output, key=lambda one: -len(one.rows))[:MAX_OUTPUTS]
    return [*(_features(findings, one) for one in outputs), *confusions(findings)]


def _features(findings: TableFindings, one: OutputFeatures) -> Printed:
    name = escape(findings.classes[one.target])
    table = table_of(
        f"Features of {name}: {counted(len(one.rows), 'row')}",
        "feature",
        "depends on",
        "mean |relevance|",
        "mean",
    )
    features = findings.table.features
    for feature in one.features[:MAX_SHOWN]:
        other = "" if feature.interaction is None else features[feature.interaction].name
        numbers = (number(feature.magnitude, 3), number(feature.mean, 3, signed=True))
        table.add_row(escape(features[feature.number].name), escape(other), *numbers)
    return table


TABLE_SURVEY = SurveyOnCommandLine(
    ROWS, ("split", "method", "masks", "exported"), kind=_kind, find=_find, tables=_tables
)
