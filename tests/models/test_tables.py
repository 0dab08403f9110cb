"""Networks for tables: relevance of a linear one is exact, and the shipped one is as good as its card says."""

from functools import cache
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from tracing import traced

from app.lrp.composites import resolve
from app.lrp.request import ExplanationRequest, Start, Target
from app.modalities.protocol import Map
from app.modalities.table.modality import TableModality, TableOptions, TableSample
from app.modalities.table.spec import Category, Number, TableSpec
from app.models.local import LocalModel
from app.models.protocol import Job, JobResult
from app.models.records import MeasuredValues
from app.models.table_card import TableCard, feature_input
from app.settings import shipped_models
from app.training.table.data import TEST, folds, groups, read_table
from app.training.table.recipe import CONCRETE

Row = dict[str, Any]
KINDS = ("coarse", "fine", "none")


def explained(model: LocalModel, samples: list[TableSample], rule: str) -> list[JobResult]:
    composite = resolve(model.description.chain, rule, {}, [])
    request = ExplanationRequest(composite, Target(start=Start.LOGIT))
    return model.run([Job(sample.input, (request,), baseline=sample.baseline) for sample in samples])


def rows_to_train_on(count: int = 60) -> list[Row]:
    random = np.random.default_rng(3)
    return [
        {
            "load": random.normal(50, 9),
            "sand": str(random.choice(KINDS, p=[0.5, 0.3, 0.2])),
            "age": random.gamma(2, 20),
        }
        for _ in range(count)
    ]


def spec_of(rows: list[Row]) -> TableSpec:
    def number(name: str, unit: str) -> Number:
        values = np.array([row[name] for row in rows])
        return Number(name, unit, values.mean(), values.std(), values.min(), values.max())

    shares = tuple(sum(row["sand"] == kind for row in rows) / len(rows) for kind in KINDS)
    return TableSpec((number("load", "kg"), Category("sand", KINDS, shares), number("age", "days")))


def shapley(predict: Any, row: Row, background: list[Row]) -> dict[str, float]:
    """Return Shapley values by their definition: mean contribution over all orders in which features join."""

    @cache
    def worth(names: frozenset[str]) -> float:
        return float(
            np.mean([predict({**other, **{name: row[name] for name in names}}) for other in background])
        )

    orders = list(permutations(row))
    return {
        name: float(
            np.mean(
                [
                    worth(frozenset(order[: (at := order.index(name)) + 1])) - worth(frozenset(order[:at]))
                    for order in orders
                ]
            )
        )
        for name in row
    }


def test_relevance_of_a_linear_network_relative_to_the_mean_is_its_shapley_value() -> None:
    rows = rows_to_train_on()
    spec = spec_of(rows)
    modality, network = TableModality(spec), nn.Linear(5, 1)
    card = TableCard.model_validate(
        {
            "kind": "table",
            "name": "linear",
            "architecture": "linear",
            "output": "value",
            "classes": ["strength"],
            "table": {"features": [feature_input(feature) for feature in spec.features]},
            "files": {"linear.safetensors": "0" * 64},
        }
    )
    model = LocalModel(traced(network, 5), card, torch.device("cpu"))
    row = {"load": 71.0, "sand": "fine", "age": 12.5}

    def predict(one: Row) -> float:
        with torch.inference_mode():
            return float(network(torch.from_numpy(modality.decode(one, TableOptions()).input)))

    sample = modality.decode(row, TableOptions())
    (result,) = explained(model, [sample], "zero")
    one = result.explanations[0]
    (figure,) = modality.render([Map(one.relevance, "zero", "", "", {}, one.bias)], sample, TableOptions())
    scores = {feature.name: feature.relevance for feature in figure.features}
    assert scores == pytest.approx(shapley(predict, row, rows), abs=1e-5)
    assert sum(scores.values()) + one.bias == pytest.approx(predict(row), abs=1e-5)


@pytest.fixture(scope="module")
def concrete() -> LocalModel:
    return LocalModel.load(shipped_models() / "concrete", "cpu", 1)


def held_out(card: TableCard) -> tuple[list[TableSample], npt.NDArray[np.float64]]:
    """Return the mixes that the shipped network was not trained on, and their strengths."""
    assert CONCRETE.data is not None
    assert card.training is not None
    table = read_table(CONCRETE.data, CONCRETE.target, imputes=False)
    fold = folds(groups(table, CONCRETE.alike), CONCRETE.members, CONCRETE.test_share, card.training.seed)
    rows, modality = np.flatnonzero(fold == TEST).tolist(), TableModality(card.spec)
    samples = [modality.decode(table.row(row), TableOptions()) for row in rows]
    return samples, np.array([float(table.targets[row]) for row in rows])


def test_the_shipped_network_errs_on_held_out_mixes_as_little_as_its_card_says(concrete: LocalModel) -> None:
    card = concrete.description.card
    assert isinstance(card, TableCard)
    assert card.training is not None
    assert isinstance(record := card.training.test, MeasuredValues)
    samples, strengths = held_out(card)
    logits = [result.logits[0] for result in concrete.run([Job(sample.input) for sample in samples])]
    error = float(np.abs(np.array(logits) - strengths).mean())
    assert error == pytest.approx(record.mean_absolute_error, rel=1e-3)
    assert error < 4.5
    for other in card.training.others.values():
        assert isinstance(other, MeasuredValues)
        assert error < other.mean_absolute_error


@pytest.mark.parametrize("rule", ["zero", "epsilon", "gamma", "z_plus", "alpha_beta", "epsilon_plus"])
def test_relevance_and_bias_add_up_to_the_prediction(concrete: LocalModel, rule: str) -> None:
    card = concrete.description.card
    assert isinstance(card, TableCard)
    samples, _ = held_out(card)
    for result in explained(concrete, samples[::10], rule):
        one = result.explanations[0]
        assert one.relevance.sum(dtype=np.float64) + one.bias == pytest.approx(result.logits[0], rel=1e-5)
