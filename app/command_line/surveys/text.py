"""Surveys of texts on the command line."""

from itertools import zip_longest

from rich.markup import escape
from rich.table import Table

from app.command_line.surveys.kind import Data, Printed, SurveyOnCommandLine
from app.command_line.surveys.request import Request
from app.command_line.surveys.tables import confusions, table_of
from app.command_line.text import TEXTS
from app.errors import DataError
from app.models.text_card import TOKENIZER, text_card
from app.survey.counted import counted
from app.survey.numerals import number
from app.survey.text.findings import ClassWords, TextFindings
from app.survey.text.items import find_texts
from app.survey.text.kind import TextKind
from app.survey.text.words import unsupported

MAX_CLASSES = 4
MAX_SHOWN = 8
"""Words of each list that are printed."""


def _kind(request: Request) -> TextKind:
    described = request.pipeline.description
    if described.card.output == "value":
        raise DataError("surveys of texts are for models that predict classes")
    return TextKind(text_card(described.card).spec(described.assets[TOKENIZER]))


def _find(request: Request) -> Data:
    options = request.options
    if not options.data.is_dir():
        options.refuse("a single file", "split")
    return Data(find_texts(options.data, request.pipeline.card.classes, options.split))


def _tables(findings: TextFindings) -> list[Printed]:
    classes = sorted(findings.by_class, key=lambda one: -one.count)[:MAX_CLASSES]
    words = [_words(findings, one) for one in classes]
    return [*words, *([_flips(findings)] if findings.flipping else []), *confusions(findings)]


def _words(findings: TextFindings, one: ClassWords) -> Table:
    name = escape(findings.classes[one.target])
    table = table_of(
        f"Words of {name}: {counted(one.count, 'text')}",
        "for it",
        "",
        "against it",
        "",
        "for it, not in labels",
        "",
    )
    speaking = [word for word in one.words[:MAX_SHOWN] if word.mean > 0]
    against = [word for word in one.words[: -MAX_SHOWN - 1 : -1] if word.mean < 0]
    lists = (speaking, against, unsupported(one.words)[:MAX_SHOWN])
    for words in zip_longest(*lists):
        cells = [
            (escape(word.text), number(word.mean, 2, signed=True)) if word else ("", "") for word in words
        ]
        table.add_row(*(cell for pair in cells for cell in pair))
    return table


def _flips(findings: TextFindings) -> Table:
    table = table_of(
        "Words that change predictions when they are deleted",
        "word",
        "prediction",
        "without it",
        "deleted",
        "changes",
    )
    for one in findings.flipping[:MAX_SHOWN]:
        names = (findings.classes[one.target], findings.classes[one.becomes])
        table.add_row(escape(one.text), *map(escape, names), str(one.tried), str(one.flips))
    return table


TEXT_SURVEY = SurveyOnCommandLine(
    TEXTS, ("method", "masks", "exported"), kind=_kind, find=_find, tables=_tables
)
