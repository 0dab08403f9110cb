"""Write the figures of ``tables.md``: ranges, errors, and LRP beside Shapley values. Run with ``make concrete``.

Shapley values of eight features are computed exactly, over all 256 subsets (Lundberg and Lee 2017, to which
KernelSHAP converges): a feature that is not in a subset has the value of the row that is compared with.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import factorial

import numpy as np
import numpy.typing as npt
import torch

from app.lrp.composites import resolve
from app.lrp.engine.engine import Engine
from app.lrp.request import ExplanationRequest, Start, Target
from app.modalities.protocol import Map
from app.modalities.table.decoding import decode
from app.modalities.table.modality import TableModality, TableOptions
from app.modalities.table.parsing import Cell
from app.modalities.table.spec import Number, TableSpec
from app.models.bounds import column_bounds
from app.models.checkpoint import load
from app.models.local import LocalModel
from app.models.protocol import Job, JobResult
from app.models.records import MeasuredValues
from app.models.table_card import TableCard
from app.settings import shipped_models
from app.training.evaluation import logits_of
from app.training.table.data import TEST, Table, folds, groups, read_table
from app.training.table.recipe import CONCRETE
from docs import blocks

PAGE = "tables.md"
RULES = ("zero", "gamma", "z_plus")
"""Rules that are set beside Shapley values."""
BACKGROUND_ROWS = 100
REPEATS = 20
Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]
Predict = Callable[[Array], Array]
"""Rows (n, features) -> predictions (n,)."""


def shapley(predict: Predict, row: Array, background: Array) -> Array:
    """Return exact Shapley values (features,) of ``row`` (features,) relative to ``background`` (n, features).

    The value of a subset is the mean prediction of rows that have ``row``'s values in it, and those of a row of
    ``background`` elsewhere (Lundberg and Lee 2017, with independent features).
    """
    count = len(row)
    members = np.array([[subset >> i & 1 for i in range(count)] for subset in range(2**count)], bool)
    mixed = np.where(members[:, None], row, background)  # (subsets, n, features)
    worth = predict(mixed.reshape(-1, count)).reshape(len(members), -1).mean(1)  # (subsets,)
    values = np.zeros(count)
    for subset in range(2**count):
        size = members[subset].sum()
        for i in np.flatnonzero(~members[subset]):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            values[i] += weight * (worth[subset | 1 << i] - worth[subset])
    return values


@dataclass(frozen=True, eq=False)
class Mixes:
    """Mixes as the network takes them, (n, features), with their features."""

    rows: Sequence[Mapping[str, Cell]]
    inputs: Array32

    @classmethod
    def of(cls, table: Table, rows: npt.NDArray[np.intp], spec: TableSpec) -> "Mixes":
        """Return these rows of a table."""
        chosen = [table.row(row) for row in rows]
        return cls(chosen, np.stack([decode(row, spec).columns for row in chosen]))


class Concrete:
    """The shipped network, and the mixes that it was and was not trained on."""

    def __init__(self) -> None:
        path = shipped_models() / "concrete"
        self._model = LocalModel.load(path, "cpu", 1)
        traced, card = load(path)
        assert isinstance(card, TableCard)
        assert card.training is not None
        assert CONCRETE.data is not None
        self.card, self.record, self.modality = card, card.training, TableModality(card.spec)
        self._logits = logits_of(Engine(traced, *column_bounds(card.spec)))
        table = read_table(CONCRETE.data, CONCRETE.target, imputes=False)
        fold = folds(groups(table, CONCRETE.alike), CONCRETE.members, CONCRETE.test_share, self.record.seed)
        self.train, self.test = (
            Mixes.of(table, np.flatnonzero(rows), card.spec) for rows in (fold != TEST, fold == TEST)
        )

    def predict(self, inputs: Array) -> Array:
        """Return predictions in MPa: (n, features) -> (n,)."""
        return self._logits(torch.from_numpy(inputs.astype(np.float32)))[:, 0].double().numpy()

    def explain(self, inputs: Array32, rule: str) -> list[JobResult]:
        """Return explanations relative to the mean mix: (n, features) -> n of them."""
        composite = resolve(self._model.description.chain, rule, {}, [])
        request = ExplanationRequest(composite, Target(start=Start.LOGIT))
        return self._model.run([Job(row, (request,), baseline=np.zeros_like(row)) for row in inputs])


def ranges(concrete: Concrete) -> str:
    """Table of the features with their statistics in the training data."""
    rows = [
        [
            feature.name,
            str(feature.unit),
            *(f"{value:.4g}" for value in (feature.minimum, feature.maximum, feature.mean, feature.std)),
        ]
        for feature in concrete.card.spec.features
        if isinstance(feature, Number)
    ]
    return blocks.table(["feature", "unit", "smallest", "largest", "mean", "standard deviation"], rows)


def errors(concrete: Concrete) -> str:
    """Table of errors on the held-out mixes, by method."""
    record = concrete.record
    methods = {
        "`concrete`, its members on folds they were not trained on": record.validation,
        "**`concrete`, held-out mixes**": record.test,
        **{f"{name}, held-out mixes": found for name, found in record.others.items()},
    }
    rows = [
        [
            name,
            str(found.count),
            f"{found.mean_absolute_error:.2f}",
            f"{found.root_mean_squared_error:.2f}",
            f"{found.r2:.3f}",
        ]
        for name, found in methods.items()
        if isinstance(found, MeasuredValues)
    ]
    return blocks.table(["method", "rows", "mean absolute error, MPa", "RMSE, MPa", "R²"], rows)


def one_mix(concrete: Concrete, place: int) -> str:
    """Table of the relevance of each feature of a held-out mix, by rule, beside Shapley values."""
    x = concrete.test.inputs[place]
    results = {rule: concrete.explain(x[None], rule)[0] for rule in RULES}
    exact = shapley(concrete.predict, x.astype(np.float64), np.zeros((1, len(x))))
    maps = {rule: result.explanations[0] for rule, result in results.items()}
    rows = [
        [
            feature.name,
            f"{float(concrete.test.rows[place][feature.name]):g} {feature.unit}",
            *(f"{one.relevance[column]:+.2f}" for one in maps.values()),
            f"{exact[column]:+.2f}",
        ]
        for column, feature in enumerate(concrete.card.spec.features)
    ]
    prediction, of_mean = concrete.predict(x[None])[0], concrete.predict(np.zeros((1, len(x))))[0]
    rows += [
        ["**sum**", "", *(f"{one.relevance.sum():+.2f}" for one in maps.values()), f"{exact.sum():+.2f}"],
        ["**bias**", "", *(f"{one.bias:+.2f}" for one in maps.values()), f"f(r) {of_mean:+.2f}"],
        ["**together**", "", *[f"{prediction:.2f}"] * (len(maps) + 1)],
    ]
    for one in maps.values():
        assert abs(one.relevance.sum() + one.bias - prediction) < 1e-4
    return blocks.table(["feature", "value", *(f"`{rule}`" for rule in RULES), "Shapley"], rows)


def agreement(concrete: Concrete) -> str:
    """Table of how alike rules and Shapley values are over all held-out mixes, and of their times."""
    inputs = concrete.test.inputs
    mean = np.zeros((1, inputs.shape[1]))
    random = np.random.default_rng(0).choice(len(concrete.train.inputs), BACKGROUND_ROWS, replace=False)
    background = concrete.train.inputs[random].astype(np.float64)
    exact = np.stack([shapley(concrete.predict, x.astype(np.float64), mean) for x in inputs])
    x = inputs[0]
    rows = [
        [
            f"LRP, `{rule}`",
            f"{_median_correlation(_relevance(concrete.explain(inputs, rule)), exact):.2f}",
            f"{_milliseconds(partial(concrete.explain, x[None], rule)):.1f}",
            f"{_milliseconds(partial(concrete.explain, inputs, rule)) / len(inputs):.2f}",
        ]
        for rule in RULES
    ]
    for name, compared in (("the mean mix", mean), (f"{BACKGROUND_ROWS} mixes", background)):
        values = np.stack(
            [shapley(concrete.predict, one.astype(np.float64), compared) for one in inputs[:20]]
        )
        took = _milliseconds(partial(shapley, concrete.predict, x.astype(np.float64), compared))
        alike = f"{_median_correlation(values, exact[:20]):.2f}"
        rows.append([f"Shapley values, relative to {name}", alike, f"{took:.1f}", f"{took:.1f}"])
    heading = f"correlation with Shapley values, median of {len(inputs)}"
    return blocks.table(["method", heading, "one row, ms", f"a row of {len(inputs)}, ms"], rows)


def _relevance(results: Sequence[JobResult]) -> Array:
    return np.stack([result.explanations[0].relevance for result in results]).astype(np.float64)


def _median_correlation(first: Array, second: Array) -> float:
    pairs = zip(first, second, strict=True)
    return float(np.median([np.corrcoef(one, other)[0, 1] for one, other in pairs]))


def _milliseconds(run: Callable[[], object]) -> float:
    """Return the processor time of ``run``, the best of `REPEATS`, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1000 * min(times)


def picture(concrete: Concrete, place: int) -> bytes:
    """Draw the relevance of a held-out mix under the default rule."""
    options = TableOptions()
    sample = concrete.modality.decode(concrete.test.rows[place], options)
    (result,) = concrete.explain(sample.input[None], RULES[0])
    one = result.explanations[0]
    prediction = f"{concrete.card.classes[0]} {result.logits[0]:.1f} {concrete.card.unit}"
    drawn = Map(one.relevance, RULES[0], prediction, "beside the mean of the training data", {}, one.bias)
    return concrete.modality.render([drawn], sample, options)[0].png


def main() -> None:
    """Write the blocks of the page, and its picture."""
    torch.set_num_threads(1)
    concrete = Concrete()
    place = int(concrete.predict(concrete.test.inputs.astype(np.float64)).argmax())
    texts = {
        "ranges": ranges(concrete),
        "errors": errors(concrete),
        "mix": one_mix(concrete, place),
        "agreement": agreement(concrete),
    }
    for name, text in texts.items():
        print(f"{name}\n{text}\n")
    blocks.fill(PAGE, texts)
    (blocks.PAGES / "images" / "concrete.png").write_bytes(picture(concrete, place))


if __name__ == "__main__":
    main()
