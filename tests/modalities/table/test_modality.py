"""Rows become columns, faults are named all at once, and relevance becomes scores and bars."""

import io
import json
import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.errors import InternalError, InvalidFeaturesError, InvalidParameterError
from app.modalities.drawing.style import ColourStyle, Sign
from app.modalities.json_values import DOUBLED
from app.modalities.protocol import Map
from app.modalities.table.modality import Baseline, TableModality, TableOptions, baseline_of
from app.modalities.table.parsing import Cell
from app.modalities.table.spec import Category, Number, TableSpec

SPEC = TableSpec(
    (
        Number("Cement", "kg/m³", 280.0, 100.0, 100.0, 540.0),
        Category("Kind", ("I", "II", "III"), (0.5, 0.25, 0.25)),
        Number("Age", None, 45.0, 60.0, 1.0, 365.0, imputes=True),
    )
)
MODALITY = TableModality(SPEC)
ROW: dict[str, Any] = {"Cement": 540, "Kind": "II", "Age": 28.0}
MEAN = [0, 0.5, 0.25, 0.25, 0]


def map_of(relevance: list[float], **others: Any) -> Map:
    return Map(np.array(relevance, np.float32), "epsilon", "61 MPa", "why 61 MPa?", {"ß": 1}, **others)


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {"Age": Cell("2.8e1"), "Kind": Cell("II"), "Cement": Cell("+540.")},
        np.array([540, 0, 1, 0, 28], np.float32),
    ],
    ids=["JSON", "CSV", "columns"],
)
def test_a_row_is_standardised(row: Any) -> None:
    sample = MODALITY.decode(row, TableOptions())
    np.testing.assert_allclose(sample.input, [2.6, 0, 1, 0, -17 / 60], rtol=1e-6)
    np.testing.assert_allclose(sample.baseline, MEAN)
    assert sample.input.dtype == sample.baseline.dtype == np.float32
    assert [(one.name, one.value, one.unit) for one in sample.features] == [
        ("Cement", 540.0, "kg/m³"),
        ("Kind", "II", None),
        ("Age", 28.0, None),
    ]
    assert sample.warnings == ()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("mean", MEAN),
        ("zero", [-2.8, 0, 0, 0, -0.75]),
        ('{"Cement": 180, "Kind": "I", "Age": null}', [-1, 1, 0, 0, 0]),
    ],
)
def test_a_row_is_compared_with_a_baseline(text: str, columns: list[float]) -> None:
    sample = MODALITY.decode(ROW, TableOptions(baseline_of(text)))
    np.testing.assert_allclose(sample.baseline, columns, rtol=1e-6)


@pytest.mark.parametrize("text", ["median", "", "[1]", "7", "{", "[" * 100_000])
def test_a_baseline_that_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="mean, zero or a row"):
        baseline_of(text)


def test_what_is_wrong_with_a_baseline_says_so() -> None:
    with pytest.raises(InvalidFeaturesError) as refused:
        MODALITY.decode(ROW, TableOptions(baseline_of('{"Cement": 1, "Kind": "IV", "Age": 1}')))
    assert refused.value.detail.startswith("baseline: Kind: 'IV' is not a category")
    assert refused.value.place == "baseline"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Cement", None, "is missing; a number in kg/m³ is expected"),
        ("Cement", Cell(""), "is missing"),
        ("Cement", DOUBLED, "is given twice"),
        ("Cement", "540", "is text; a number in kg/m³ without quotation marks is expected"),
        ("Cement", True, "is not a number"),
        ("Cement", [540], "is not a number"),
        ("Cement", float("nan"), "is not finite"),
        ("Cement", -(10**400), "is not finite"),
        ("Cement", 1e30, "1e+30 is over 1,000,000 standard deviations from the training mean, 280"),
        ("Cement", Cell("=1+1"), "'=1+1' is a formula; a number in kg/m³, its result, is expected"),
        (
            "Cement",
            Cell("540,5"),
            "'540,5' is not a number; a number in kg/m³ with a point before its decimals",
        ),
        ("Cement", Cell("1_000"), "is not a number"),
        ("Cement", Cell("٥"), "is not a number"),
        (
            "Cement",
            Cell("-Infinity"),
            "'-Infinity' is not finite; a number in kg/m³ is expected",
        ),
        ("Kind", "IV", "'IV' is not a category of it; one of 'I', 'II', 'III' is expected"),
        ("Kind", 2, "is not text; one of 'I', 'II', 'III' is expected"),
    ],
)
def test_a_value_that_is_not_expected_is_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(InvalidFeaturesError) as refused:
        MODALITY.decode({**ROW, name: value}, TableOptions())
    ((named, message),) = refused.value.problems
    assert named == name
    assert said in message


def test_all_faults_of_a_row_are_named_at_once() -> None:
    row = {"cement": 540, "Kind": DOUBLED, "Age": "28", "Strength": 80}
    with pytest.raises(InvalidFeaturesError) as refused:
        MODALITY.decode(row, TableOptions())
    assert refused.value.problems == (
        ("Cement", "is missing; a number in kg/m³ is expected"),
        ("Kind", "is given twice; give it once"),
        ("Age", "is text; a number without quotation marks is expected"),
        ("cement", "no such feature; name it 'Cement', or leave it out"),
        ("Strength", "no such feature; leave it out"),
    )
    refused.value.locate("rows[3]")
    assert refused.value.detail.startswith("rows[3]: Cement: is missing")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([540, 0, 1, 0], "row: has 4 columns; the network takes 5"),
        ([540, 0, 0.5, 0, 28], "Kind: one of its 3 columns must be 1 and the others 0"),
        ([np.inf, 0, 1, 0, 28], "Cement: is not finite"),
    ],
)
def test_columns_that_are_no_row_are_refused(columns: list[float], said: str) -> None:
    with pytest.raises(InvalidFeaturesError, match=said):
        MODALITY.decode(np.array(columns, np.float32), TableOptions())


def test_what_is_imputed_or_outside_the_training_range_is_said() -> None:
    sample = MODALITY.decode({"Cement": 90, "Kind": "I"}, TableOptions())
    assert sample.input[-1] == 0
    assert [one.value for one in sample.features] == [90.0, "I", None]
    assert [one.outside_training_range for one in sample.features] == [True, False, False]
    assert sample.warnings == (
        "Cement, 90 kg/m³, is outside the range of the training data, 100 to 540 kg/m³",
        "Age is missing; the mean of the training data replaces it",
    )


def test_relevance_of_a_category_is_the_sum_over_its_columns() -> None:
    sample = MODALITY.decode(ROW, TableOptions())
    maps = [map_of([4, -1, -2, 0.5, 3], bias=-8.0), map_of([1, 0, 0, 0, 0])]
    figures = pickle.loads(pickle.dumps(MODALITY.render(maps, sample, TableOptions())))
    assert [one.relevance for one in figures[0].features] == [4, -2.5, 3]
    assert [(figure.vmin, figure.vmax) for figure in figures] == [(-8, 8)] * 2  # one scale, the bias on it
    with Image.open(io.BytesIO(figures[0].png)) as picture:
        assert picture.size == (figures[0].width, figures[0].height)
        assert isinstance(chunk := picture.info["lrp"], str)
        assert json.loads(chunk) == {"ß": 1}


def reds_and_blues(png: bytes) -> tuple[int, int]:
    pixels = np.asarray(Image.open(io.BytesIO(png)), np.int64)  # (H, W, 3)
    difference = pixels[..., 0] - pixels[..., 2]
    return int((difference > 60).sum()), int((difference < -60).sum())


def test_bars_are_as_long_as_relevance_and_lie_on_their_side() -> None:
    sample = MODALITY.decode(ROW, TableOptions())
    maps = [map_of([8, 0, 0, 0, -4]), map_of([8, 0, 0, 0, -8])]
    half, equal = (reds_and_blues(one.png) for one in MODALITY.render(maps, sample, TableOptions()))
    assert half[0] == equal[0] == pytest.approx(equal[1], rel=0.02)
    assert half[1] == pytest.approx(half[0] / 2, rel=0.02)
    style = ColourStyle(sign=Sign.NEGATIVE)
    (negative,) = MODALITY.render(maps[:1], sample, TableOptions(Baseline.MEAN, style))
    assert reds_and_blues(negative.png)[0] == 0 < reds_and_blues(negative.png)[1]


def test_panels_and_hidden_layers_are_drawn_without_features() -> None:
    sample = MODALITY.decode(ROW, TableOptions())
    maps = [map_of([1, 2, 3, 4, 5])] * 4
    together = MODALITY.render_together(maps, sample, TableOptions(), {})
    (layer,) = MODALITY.render([map_of([1.0] * 100, layer="2")], sample, TableOptions())
    assert together.features == layer.features == ()
    assert layer.vmax == 77  # the 77 units that have no bar of their own
    assert together.png != layer.png


def test_relevance_that_is_not_finite_is_not_drawn() -> None:
    sample = MODALITY.decode(ROW, TableOptions())
    with pytest.raises(InternalError, match="not finite"):
        MODALITY.render([map_of([np.nan, 0, 0, 0, 0])], sample, TableOptions())
