"""The input of a network that takes rows of a table, as its card describes it."""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise


@dataclass(frozen=True)
class Number:
    """A numerical feature; the network takes it as (x − mean) / std."""

    name: str
    unit: str | None
    mean: float
    std: float
    minimum: float
    """Smallest value in the training data."""
    maximum: float
    """Largest value in the training data."""
    imputes: bool = False
    """Whether a missing value is replaced by the mean."""

    @property
    def columns(self) -> int:
        """Columns of the network's input."""
        return 1


@dataclass(frozen=True)
class Category:
    """A categorical feature; the network takes a column for each category, 1 for the row's own and else 0."""

    name: str
    categories: tuple[str, ...]
    shares: tuple[float, ...]
    """Share of each category in the training data, the mean of its column."""
    imputes: bool = False
    """Whether the shares replace a missing category."""
    unit: None = field(default=None, init=False)
    """Categories have none."""

    @property
    def columns(self) -> int:
        """Columns of the network's input."""
        return len(self.categories)


Feature = Number | Category


@dataclass(frozen=True)
class TableSpec:
    """Features in the order of the network's columns."""

    features: tuple[Feature, ...]

    @property
    def columns(self) -> int:
        """Columns of the network's input."""
        return sum(feature.columns for feature in self.features)

    @cached_property
    def places(self) -> tuple[slice, ...]:
        """Columns of each feature."""
        ends = list(accumulate((feature.columns for feature in self.features), initial=0))
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """Features by name."""
        return {feature.name: feature for feature in self.features}
