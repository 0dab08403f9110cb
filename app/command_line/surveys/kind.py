"""What is particular to a kind of input in surveys on the command line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.table import Table

from app.command_line.kind import KindOnCommandLine
from app.command_line.surveys.options import SurveyOptions
from app.command_line.surveys.request import Request
from app.survey.findings import Findings
from app.survey.items import Item
from app.survey.kept import MapSource
from app.survey.kind import SurveyKind

Printed = Table | str


@dataclass(frozen=True)
class Data:
    """The inputs of a survey."""

    items: Sequence[Item]
    kept: MapSource | None = None
    """See `app.survey.survey.Options`."""


class After(Protocol):
    """What is done when a survey is written."""

    def __call__(self, findings: Any, options: SurveyOptions) -> Sequence[str]:
        """Do it; return what is said of it, a line each."""


def nothing(findings: Findings, options: SurveyOptions) -> Sequence[str]:  # noqa: ARG001 # an `After`
    """Do nothing."""
    return ()


@dataclass(frozen=True)
class SurveyOnCommandLine:
    """Data, options and output of surveys of one kind of input."""

    on_command_line: KindOnCommandLine
    """With the options of ``lrpserve explain``."""
    refused: Sequence[str]
    """Fields of `SurveyOptions` that are not for it."""
    kind: Callable[[Request], SurveyKind[Any]]
    """Raises `DataError` for options that do not fit the model."""
    find: Callable[[Request], Data]
    """Raises `DataError`."""
    tables: Callable[[Any], list[Printed]]
    """Findings -> what is printed."""
    after: After = nothing
