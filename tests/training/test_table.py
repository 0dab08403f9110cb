"""Training on a table: from a CSV file to a folder that is served, with the errors of its record."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from app.errors import DataError
from app.modalities.table.modality import TableModality, TableOptions
from app.modalities.table.parsing import rows_of_csv
from app.modalities.table.spec import Category, Number
from app.models.local import LocalModel
from app.models.protocol import Job
from app.models.records import Measured, MeasuredValues
from app.models.table_card import TableCard
from app.training.options import TrainOptions
from app.training.table.data import TEST, folds, groups, read_table
from app.training.table.members import Members
from app.training.table.recipe import CONCRETE, TABLE
from app.training.table.run import train_table

TINY = dataclasses.replace(TABLE, widths=(16, 8), members=3, steps=150, learning_rate=0.03)


def options(folder: Path, **fields: object) -> TrainOptions:
    defaults: dict[str, object] = dict.fromkeys(("data", "test_data", "output", "name", "start"))
    defaults |= {"runs": folder, "resume": False, "seed": 1, "device": "cpu"}
    return TrainOptions(**{**defaults, **fields})  # type: ignore[arg-type] # of mixed types


def write_table(path: Path, rows: int = 200, missing: int = 0) -> Path:
    """Strength is 3 × load, 10 more for oak; it is weak below 20. The column noise tells nothing."""
    random = np.random.default_rng(0)
    lines = ["load,wood,noise,strength,verdict"]
    for row in range(rows):
        load, noise, wood = random.uniform(0, 10), random.normal(), random.choice(["oak", "pine", "fir"])
        strength = 3 * load + 10 * (wood == "oak")
        shown = "" if row < missing else f"{load:.3f}"
        lines.append(f"{shown},{wood},{noise:.2f},{strength:.3f},{'weak' if strength < 20 else 'strong'}")
    path.write_text("\n".join(lines))
    return path


def without(path: Path, column: str) -> Path:
    header, *lines = (line.split(",") for line in path.read_text().splitlines())
    place = header.index(column)
    kept = [",".join(cell for i, cell in enumerate(line) if i != place) for line in (header, *lines)]
    path.write_text("\n".join(kept))
    return path


def logits(card_path: Path, csv: str) -> tuple[LocalModel, np.ndarray]:
    """Return a model and its logits for the rows of a CSV, (rows, outputs)."""
    model = LocalModel.load(card_path, "cpu", 1)
    card = model.description.card
    assert isinstance(card, TableCard)
    modality = TableModality(card.spec)
    rows = [modality.decode(row, TableOptions()) for row in rows_of_csv(csv.encode()).rows]
    return model, np.stack([result.logits for result in model.run([Job(row.input) for row in rows])])


def test_a_value_is_learned_and_served_in_its_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = without(write_table(tmp_path / "timber.csv"), "verdict")
    card_path = train_table(
        dataclasses.replace(TINY, unit="MPa"), options(tmp_path, data=data, target="strength")
    )
    model, values = logits(card_path, "wood,load,noise\noak,2,0\npine,8,0\nfir,5,0\n")
    card = model.description.card
    assert isinstance(card, TableCard)
    assert card_path == tmp_path / "table" / "timber" / "card.json"
    np.testing.assert_allclose(values, [[16], [24], [15]], atol=2)
    assert (card.output, card.classes, card.unit) == ("value", ("strength",), "MPa")
    load, wood, _ = card.spec.features
    assert isinstance(load, Number)
    assert load.mean == pytest.approx(5, abs=0.5)
    assert load.std == pytest.approx(10 / 12**0.5, abs=0.3)
    assert isinstance(wood, Category)
    assert wood.categories == ("fir", "oak", "pine")
    assert sum(wood.shares) == pytest.approx(1)
    record = card.training
    assert record is not None
    assert isinstance(record.test, MeasuredValues)
    assert isinstance(linear := record.others["linear regression"], MeasuredValues)
    assert (record.validation.count, record.test.count) == (160, 40)
    assert record.test.mean_absolute_error < 2
    assert record.test.r2 > 0.9
    assert linear.mean_absolute_error < 0.01  # which strength is
    assert "mean absolute error, MPa" in " ".join(capsys.readouterr().out.split())


def test_classes_are_learned_and_calibrated(tmp_path: Path) -> None:
    data = without(write_table(tmp_path / "timber.csv", missing=5), "strength")
    chosen = options(tmp_path, data=data, target="verdict", impute=True, name="verdicts")
    model, scores = logits(train_table(TINY, chosen), "load,wood,noise\n9.5,oak,0\n,fir,0\n1,pine,0\n")
    card = model.description.card
    assert isinstance(card, TableCard)
    assert (card.name, card.output, card.classes) == ("verdicts", "classes", ("strong", "weak"))
    assert scores.argmax(1).tolist() == [0, 1, 1]
    assert [feature.imputes for feature in card.spec.features] == [True, False, False]
    assert card.training is not None
    assert isinstance(card.training.test, Measured)
    assert card.training.test.accuracy > 0.9
    assert isinstance(card.training.validation, Measured)
    assert card.training.validation.calibration_error < 0.1
    assert set(card.training.others) == {"logistic regression", "gradient-boosted trees"}


def test_one_network_is_the_mean_of_its_members() -> None:
    torch.manual_seed(0)
    members = Members(3, 4, (5, 6), 2, biases=(True, False))
    for bias in members.biases:
        if bias.requires_grad:
            torch.nn.init.normal_(bias)
    x = torch.randn(7, 4)
    network = members.mean()
    torch.testing.assert_close(network(x), members(x).mean(0))
    assert [layer.bias is not None for layer in network if isinstance(layer, torch.nn.Linear)] == [
        True,
        False,
        True,
    ]


def test_rows_that_differ_only_in_their_age_are_never_apart() -> None:
    assert CONCRETE.data is not None
    table = read_table(CONCRETE.data, CONCRETE.target, imputes=False)
    group = groups(table, CONCRETE.alike)
    fold = folds(group, 8, 0.2, seed=0)
    mixes = {
        tuple(table.features[name][row] for name in table.features if name != "Age")
        for row in range(len(table))
    }
    assert (len(table), int(group.max()) + 1) == (1030, len(mixes)) == (1030, 427)
    assert all(len(set(fold[group == one])) == 1 for one in range(len(mixes)))
    assert (fold == TEST).mean() == pytest.approx(0.2, abs=0.02)
    assert set(fold) == {TEST, *range(8)}


NUMBERS = "a,b,y\n" + "".join(f"{i},{i % 7},{i % 5}\n" for i in range(50))


@pytest.mark.parametrize(
    ("text", "chosen", "said"),
    [
        (NUMBERS, {}, "name the column to predict with --target; there are a, b, y"),
        (NUMBERS, {"target": "z"}, "no column 'z'; there are a, b, y"),
        (
            NUMBERS.replace("\n7,", "\n,"),
            {"target": "y"},
            "a is missing in 1 of 50 rows, first in row 8: fill them in",
        ),
        (
            NUMBERS + "1,2,\n",
            {"target": "y", "impute": True},
            "y is missing in 1 of 51 rows, first in row 51: leave",
        ),
        (
            NUMBERS.replace("\n7,", "\nn/a,"),
            {"target": "y"},
            "a has numbers but for 1 rows, first 'n/a' in row 8",
        ),
        (NUMBERS + "1,2,3;4\n", {"target": "y"}, "y has numbers but for 1 rows, first '3;4' in row 51"),
        ("a,y\n1,2\n", {"target": "y"}, "1 rows; at least 40 are needed"),
        ("a,y\n" + "1,2\n" * 50, {"target": "y"}, "y has one value only, 2"),
        ("a,y\n" + "1,2\n1,3\n" * 50, {"target": "y"}, "only 1 rows differ in their features"),
        ("y\n" + "1\n" * 50, {"target": "y"}, "has no column beside 'y'"),
        ("a,y\n" + "".join(f"n{i},{i}\n" for i in range(200)), {"target": "y"}, "a has 200 categories"),
        ("a,y\n" + "".join(f"{i},n{i}\n" for i in range(60)), {"target": "y"}, "y has 60 classes, of which"),
        ("a;y\n" + "1;2\n" * 50, {"target": "y"}, "separate columns by commas"),
        (NUMBERS, {"target": "y", "resume": True}, "no use for --resume"),
        (NUMBERS, {"target": "y", "name": "a/b"}, "name 'a/b'"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(
    tmp_path: Path, text: str, chosen: dict[str, object], said: str
) -> None:
    data = tmp_path / "table.csv"
    data.write_text(text)
    with pytest.raises(DataError) as refused:
        train_table(TINY, options(tmp_path, data=data, **chosen))
    assert said in refused.value.detail


def test_the_target_of_a_recipe_cannot_be_replaced(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no use for --target"):
        train_table(CONCRETE, options(tmp_path, target="Age"))
