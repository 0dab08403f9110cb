"""Hyper-parameters of training on tables."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True)
class TableRecipe:
    """Hyper-parameters of one training, and what is known of the table."""

    name: str
    data: Path | None = None
    """CSV file; ``None``: an option names it."""
    attribution: str | None = None
    """Source and licence of ``data``."""
    target: str | None = None
    """Column that is predicted; ``None``: an option names it."""
    unit: str | None = None
    """Unit of the target."""
    units: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Units of features by name."""
    alike: tuple[str, ...] = ()
    """Features that rows of one group differ in: rows that are equal in all others are never on both sides of a
    split."""
    widths: tuple[int, ...] = (64, 64)
    """Units of each hidden layer of a member."""
    members: int = 8
    """Networks whose mean is served, as one network. Each is trained without one of as many folds."""
    steps: int = 2000
    batch_size: int = 1024
    learning_rate: float = 0.01
    """Maximum learning rate of AdamW; it rises over a tenth of the steps and then decays to 0."""
    weight_decay: float = 0.3
    """Weight decay of AdamW; not applied to biases."""
    biases: tuple[bool, ...] = (True, False)
    """Whether each hidden layer has biases, which absorb relevance."""
    test_share: float = 0.2
    """Share of the rows that are held out until the end."""

    def as_json(self) -> dict[str, object]:
        """Return the hyper-parameters for the training's record."""
        left_out = ("data", "attribution", "units")
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if name not in left_out}


TABLE = TableRecipe("table")
CONCRETE = TableRecipe(
    "concrete",
    data=Path(__file__).with_name("concrete.csv"),
    attribution="UCI 'Concrete Compressive Strength', I-Cheng Yeh 1998, CC BY 4.0",
    target="Concrete-compressive-strength",
    unit="MPa",
    units=MappingProxyType(
        {
            **dict.fromkeys(
                (
                    "Cement",
                    "Blast-Furnace-Slag",
                    "Fly-Ash",
                    "Water",
                    "Superplasticizer",
                    "Coarse-Aggregate",
                    "Fine-Aggregate",
                ),
                "kg/m³",
            ),
            "Age": "days",
        }
    ),
    alike=("Age",),
)

RECIPES = {recipe.name: recipe for recipe in (CONCRETE, TABLE)}
