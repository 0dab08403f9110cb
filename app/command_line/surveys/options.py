"""Options of the command ``survey``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.command_line.many import OnRay
from app.command_line.options import Values
from app.errors import DataError
from app.survey.image.clusters import METHODS
from app.survey.image.export import ClusterName

NOT_IN_COMPOSITE = ("layers", "attention", "baseline")
"""Options on which maps depend, besides the rule and its parameters."""


@dataclass(frozen=True)
class SurveyOptions:
    """Options of the command; those that are ``None`` are not given."""

    data: Path
    folder: Path
    given: Values = field(default_factory=dict)
    """Options of ``lrpserve explain`` on which maps depend."""
    split: str | None = None
    method: str | None = None
    """Of clustering."""
    masks: Path | None = None
    seed: int = 0
    exported: tuple[ClusterName, ...] = ()
    """Clusters whose pictures are written as files."""
    on_ray: OnRay | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """What maps depend on besides the rule and its parameters, as JSON."""
        return {name: self.given[name] for name in NOT_IN_COMPOSITE if name in self.given}

    def refuse(self, items: str, *names: str) -> None:
        """Raise `DataError` for an option that is given and not for ``items``."""
        options = {
            "split": ("--split", self.split),
            "method": ("--cluster", self.method),
            "masks": ("--masks", self.masks),
            "exported": ("--export-cluster", self.exported or None),
            "on_ray": ("--ray", self.on_ray),
        }
        for option, value in (options[name] for name in names):
            if value is not None:
                raise DataError(f"{option}: is not for {items}; leave it out")


def options_of(
    data: Path,
    out: Path | None = None,
    given: Values | None = None,
    *,
    split: str | None = None,
    method: str | None = None,
    masks: Path | None = None,
    seed: int = 0,
    exported: Sequence[str] = (),
    on_ray: OnRay | None = None,
) -> SurveyOptions:
    """Return the options; ``exported`` are ``CLASS:NUMBER``.

    Raises `DataError` for a clustering that there is not, and for what is no name of a cluster.
    """
    if method is not None and method not in METHODS:
        raise DataError(f"--cluster: there is no {method!r}; use {' or '.join(METHODS)}")
    folder = out or Path(f"{data.resolve().stem}-survey")
    names = tuple(dict.fromkeys(map(ClusterName.parse, exported)))
    return SurveyOptions(data, folder, given or {}, split, method, masks, seed, names, on_ray)
