"""What differs between surveys of pictures, texts and tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy.typing as npt
import pyarrow as pa

from app.survey.findings import Findings
from app.survey.network import Network
from app.survey.stages import Stages
from app.survey.store import Layout

FindingsT = TypeVar("FindingsT", bound=Findings)


@dataclass(frozen=True)
class Section:
    """A section of a report: a template of ``page/``, and what it is filled with."""

    name: str
    """Of its address within the report."""
    title: str
    template: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Page:
    """What the report of one kind of input has that others do not."""

    noun: str
    """One input."""
    mistakes: str
    """What is shown of each mistake, in a sentence."""
    sections: Sequence[Section]
    """After those of errors."""
    method: Section
    """How it was computed."""
    files: str
    """What the folder has beside the report, in words."""
    script: str
    """File of ``page/`` that draws items."""
    drawing: Callable[[int], Any]
    """Number of an input -> JSON that the script draws it from."""
    found_by: str = ""
    """What items are found by besides their names: text in their drawings."""
    items: Sequence[int] = ()
    """Inputs that the sections show, the most important first."""
    more: Sequence[int] = ()
    """Inputs that are shown if there is room, after the neighbours of the others."""
    figures: Sequence[tuple[str, str]] = ()
    """Names and numbers at the head of the report."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON for the script."""


class SurveyKind(Protocol[FindingsT]):
    """Surveys of one kind of input."""

    @property
    def layout(self) -> Layout:
        """What is kept of each input."""

    def content(self, sample: Any) -> npt.NDArray[Any]:
        """Return what is kept of an `app.modalities.protocol.Sample`, of `layout`."""

    def find(self, found: Findings, network: Network, stages: Stages) -> FindingsT:
        """Return what the maps of the inputs say; raises `LRPServeError`."""

    def columns(self, findings: FindingsT) -> Mapping[str, pa.Array]:
        """Return columns of ``items.parquet`` for all inputs that were explained."""

    def summary(self, findings: FindingsT) -> Mapping[str, Any]:
        """Return members of ``summary.json``."""

    def page(self, findings: FindingsT) -> Page:
        """Return what the report shows."""

    def write(self, findings: FindingsT, folder: Path) -> None:
        """Write further files."""
