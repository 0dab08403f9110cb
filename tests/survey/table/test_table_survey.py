"""Surveys of rows of tables, of the linear model of `fake_table_model`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fake_table_model import WEIGHTS, value_of
from fake_text_model import FakeTextModel
from sklearn import metrics
from surveyed import survey_of
from surveyed_tables import MEANS, Classes, columns_of, rows, surveyed, write

from app.command_line.surveys.options import options_of
from app.errors import DataError
from app.models.protocol import Job, JobResult
from app.survey.values import Values


def test_features_have_their_values_and_the_relevance_of_their_columns(tmp_path: Path) -> None:
    listed = rows()
    findings = surveyed(write(tmp_path / "t.csv", listed, None), tmp_path / "out")
    expected = np.array([WEIGHTS * (columns_of(row) - MEANS) for row in listed])
    by_feature = np.stack([expected[:, 0], expected[:, 1], expected[:, 2:].sum(1)], 1)
    np.testing.assert_allclose(findings.table.relevance, by_feature, atol=2e-3 * np.abs(expected).max())
    assert findings.table.values[:, 0].tolist() == [row["Height"] for row in listed]
    assert np.flatnonzero(np.isnan(findings.table.values[:, 1])).tolist() == [3]  # missing, not the mean
    assert findings.table.values[4, 1] == listed[4]["Distance"]
    assert findings.table.values[:, 2].tolist() == [row["Place"] == "inland" for row in listed]
    (output,) = findings.by_output
    magnitudes = np.abs(by_feature).mean(0)
    assert [one.number for one in output.features] == np.argsort(-magnitudes).tolist()
    for one in output.features:
        assert one.magnitude == pytest.approx(magnitudes[one.number], rel=1e-2)
        assert one.mean == pytest.approx(by_feature[:, one.number].mean(), abs=1e-2)
    table = pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()
    assert table[5]["relevance of Height"] == pytest.approx(by_feature[5, 0], abs=0.02)


def test_errors_of_values_are_those_of_scikit_learn(tmp_path: Path) -> None:
    listed = rows()
    values = [value_of(columns_of(row)) for row in listed]
    labels = [f"{value + error:.3f}" for value, error in zip(values, np.linspace(-3, 5, 40), strict=True)]
    labels[7], labels[8], labels[9] = "", "1e200", "much"
    findings = surveyed(write(tmp_path / "t.csv", listed, labels), tmp_path / "out")
    known = [number for number in range(40) if number not in (7, 8, 9)]
    true, found = [float(labels[number]) for number in known], [values[number] for number in known]
    predictions = findings.predictions
    assert isinstance(predictions, Values)
    assert predictions.mean_absolute_error == pytest.approx(
        metrics.mean_absolute_error(true, found), rel=1e-4
    )
    assert predictions.root_mean_squared_error == pytest.approx(
        metrics.root_mean_squared_error(true, found), rel=1e-4
    )
    assert predictions.r2 == pytest.approx(metrics.r2_score(true, found), rel=1e-4)
    assert predictions.mistakes()[:3].tolist() == [39, 38, 37]
    assert findings.notes() == [
        "Errors leave out 1 item without a true value.",
        "Errors leave out 2 items whose label is no number.",
    ]
    row = pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()[39]
    assert (row["label"], row["residual"]) == (labels[39], pytest.approx(-5, abs=1e-2))
    report = (tmp_path / "out" / "report.html").read_text()
    assert "The largest residuals" in report
    assert 'class="matrix"' not in report
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["accuracy"], summary["r2"]) == (None, predictions.r2)


def test_rows_are_compared_with_the_baseline_that_is_asked_for(tmp_path: Path) -> None:
    listed = rows(5)
    data = write(tmp_path / "t.csv", listed, None)
    findings = surveyed(data, tmp_path / "out", baseline="zero")
    expected = [3 * row["Height"] / 200 for row in listed]
    np.testing.assert_allclose(findings.table.relevance[:, 0], expected, atol=0.02)
    with pytest.raises(DataError, match="another survey, with another baseline"):
        surveyed(data, tmp_path / "out", baseline="mean")


def test_rows_that_cannot_be_used_are_rows_with_their_error(tmp_path: Path) -> None:
    listed = rows(6)
    listed[1]["Height"] = "high"
    listed[2]["Place"] = "<b>moon</b>"
    findings = surveyed(write(tmp_path / "t.csv", listed, None), tmp_path / "out")
    assert [one.name for one in findings.failures] == ["t.csv:2", "t.csv:3"]
    assert "'high' is not a number" in findings.failures[0].reason
    report = (tmp_path / "out" / "report.html").read_text()
    assert "<b>moon" not in report
    assert "&lt;b&gt;moon" in report


def test_classes_have_plots_and_contrasts_of_their_own(tmp_path: Path) -> None:
    listed = rows()
    warm = [value_of(columns_of(row)) > 12 for row in listed]
    labels = ["warm" if one else "cold" for one in warm]
    labels[0] = "cold" if warm[0] else "warm"
    findings = surveyed(write(tmp_path / "t.csv", listed, labels, "climate"), tmp_path / "out", Classes())
    assert [len(one.rows) for one in findings.by_output] == [warm.count(False), warm.count(True)]
    assert findings.predictions.mistakes().tolist() == [0]
    difference = WEIGHTS * (columns_of(listed[0]) - MEANS)
    np.testing.assert_allclose(findings.contrasts[0], (1 if warm[0] else -1) * difference, rtol=1e-5)
    # Relevance is in units of the logit, although 1 was put in at the output.
    signs = np.where(warm, 1, -1)
    heights = [3 * (row["Height"] - 400) / 200 for row in listed]
    np.testing.assert_allclose(findings.table.relevance[:, 0], signs * heights, atol=0.05)
    for row, others in enumerate(findings.neighbours):
        assert {warm[other] for other in others} == {warm[row]}


def test_one_other_column_is_the_label_and_several_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "t.csv"
    data.write_text("Height,Distance,Place,observed\n1,2,coast,3\n")
    assert surveyed(data, tmp_path / "out").items[0].label == "3"
    data.write_text("Distance,Height,Place,observed\n1,2,coast,3\n")
    with pytest.raises(DataError, match="another survey, with another items"):
        surveyed(data, tmp_path / "out")
    data.write_text("Height,Distance,Place,id,temperature\n1,2,coast,7,3\n")
    with pytest.raises(DataError, match=r"id: neither features of climate nor what it predicts"):
        surveyed(data, tmp_path / "other")


def test_values_of_texts_are_refused(tmp_path: Path) -> None:
    class OneValue(FakeTextModel):
        description = replace(
            FakeTextModel.description,
            card=FakeTextModel.description.card.model_copy(update={"output": "value", "classes": ("stars",)}),
        )

        def run(self, jobs: Sequence[Job]) -> list[JobResult]:
            return [replace(one, logits=one.logits[:1]) for one in super().run(jobs)]

    (tmp_path / "t.tsv").write_text("a good film\t4\n")
    with pytest.raises(DataError, match="surveys of texts are for models that predict classes"):
        survey_of("text", OneValue(), options_of(tmp_path / "t.tsv", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
