"""What is particular to a kind of input on the command line, and the inputs that a command is given."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from app.api.parameters import ScoreParameters, SingleParameters
from app.command_line.options import Difference, Offered
from app.models.card import Kind
from app.serving.answers import RenderedExplanation

STANDARD = "-"
"""As a path: standard input, or standard output."""

TOP = Difference(default="3", description="So many classes, the most probable first.")
"""Of ``predict``."""
FORMS = Difference(
    description="The drawing; the whole answer in JSON; the relevance as a NumPy array, of rows also as CSV; "
    "of texts a page. Default: the suffix of `--output`, else the drawing, but texts and rows without `--output` "
    "are printed."
)
"""Of ``explain``."""


class Document(Protocol):
    """Writes several explanations as one file."""

    def __call__(self, explained: Sequence[RenderedExplanation], *, values: bool) -> bytes:
        """Return the file; ``values`` is the parameter of the endpoint."""


class Item(Protocol):
    """One input of a command; it can be hashed."""

    @property
    def path(self) -> Path | None:
        """File that it is read from, which no output may replace; ``None``: there is none."""

    @property
    def is_named_itself(self) -> bool:
        """Whether it was given alone, not as one of a folder or a table, so that ``--output`` may be its file."""

    @property
    def names(self) -> Mapping[str, str | int]:
        """Members of JSON that tell it from others."""

    def copy(self, output: str | None) -> Path | None:
        """Return where a copy would be, beside which its output is written; ``None``: standard output.

        ``output`` is the folder of outputs, by default one that the item chooses.
        """

    def read(self) -> Any:
        """Return what the modality decodes; raises `OSError`."""


@dataclass(frozen=True)
class Skipped:
    """A file or folder that is not read, and why."""

    path: Path
    reason: str


MAX_NAMED = 10
"""Skipped files that are named for each reason."""


class SkippedCounts:
    """How many files are skipped for each reason, and the names of the first ones."""

    def __init__(self, skipped: Iterable[Skipped] = ()) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, list[str]] = {}
        for one in skipped:
            self.add(one)

    def add(self, one: Skipped) -> None:
        """Count a file."""
        self._counts[one.reason] += 1
        first = self._first.setdefault(one.reason, [])
        if len(first) < MAX_NAMED:
            first.append(str(one.path))

    def lines(self) -> list[str]:
        """Return a line for each reason."""
        return [
            f"{count} skipped, {reason}: {', '.join(self._first[reason])}"
            + (f" and {count - MAX_NAMED} more" if count > MAX_NAMED else "")
            for reason, count in self._counts.items()
        ]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a command, each once, and what is skipped."""

    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...] = ()

    def skipped_lines(self) -> list[str]:
        """Return a line for each reason, with the number and the names of what was skipped."""
        return SkippedCounts(self.skipped).lines()


@dataclass(frozen=True)
class Sources:
    """What a command is given to work on."""

    paths: Sequence[str] = ()
    recursive: bool = False
    files_from: str | None = None
    text: Sequence[str] = ()
    table: str | None = None


@dataclass(frozen=True, eq=False)
class KindOnCommandLine:
    """Sources, options and outputs of one kind of input."""

    kind: Kind
    items: str
    """Several inputs, in messages."""
    sources: Mapping[str, str]
    """Fields of `Sources` that it is found by, and how they are written."""
    find: Callable[[Sources], Inputs]
    """Raises `DataError`."""
    predict: Offered[ScoreParameters]
    explain: Offered[SingleParameters]
    forms: Sequence[str]
    """Of what is written."""
    show: Callable[[Item, RenderedExplanation], None] | None = None
    """Prints an explanation; ``None``: explanations are written to files by default."""
    documents: Mapping[str, Document] = field(default_factory=dict)
    """Forms in which one file has the explanations of all inputs."""
