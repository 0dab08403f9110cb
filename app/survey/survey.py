"""A survey from its inputs to its findings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic

import numpy as np
import numpy.typing as npt

from app.errors import DataError
from app.models.card import ModelCard
from app.survey.duplicates import identical
from app.survey.files import RELEVANCE
from app.survey.findings import Failure, Findings, Setup
from app.survey.items import Item, digest, labels_of, printable
from app.survey.kept import MapSource
from app.survey.kind import FindingsT, SurveyKind
from app.survey.network import Network, explain
from app.survey.outcome import Outcome
from app.survey.predictions import Predictions
from app.survey.stages import Progress, Stages
from app.survey.store import Results, Store
from app.survey.values import Values, targets_of

VERSIONS = ("lrpserve", "torch", "scikit-learn")


@dataclass(frozen=True)
class Options:
    """What a survey of any kind of input is asked for, besides its model."""

    data: Path
    folder: Path
    """Where its files are written."""
    seed: int = 0
    kept: MapSource | None = None
    """Maps of all items that are computed already."""
    elsewhere: Callable[[Sequence[int]], Iterator[Results]] | None = None
    """Computes rows, numbers of items, as `app.survey.network.explain` does here."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """Further options on which maps depend, as JSON: those for single layers, attention, and the input."""


class Survey(Generic[FindingsT]):
    """Explains inputs and analyses their maps; what is explained is kept in the folder and not computed again."""

    def __init__(
        self, network: Network, kind: SurveyKind[FindingsT], options: Options, progress: Progress
    ) -> None:
        self._network, self._kind, self._options = network, kind, options
        self._card = network.description.card
        self._stages = Stages(progress)

    def run(self, items: Sequence[Item]) -> FindingsT:
        """Return what is found about ``items``; raises `DataError` if none of them can be explained."""
        store = self._explained(items)
        if not len(store.done):
            reason = next(iter(store.failed.values()))
            raise DataError(f"{self._options.data}: none of {len(items)} items could be explained: {reason}")
        return self._kind.find(self._found(items, store), self._network, self._stages)

    def _explained(self, items: Sequence[Item]) -> Store:
        card, composite = self._card, self._network.request.composite
        identity = {
            "model": f"{card.name} {card.version}",
            "rule": composite.name,
            "parameters": dict(composite.parameters),
            **self._options.asked,
            "items": digest(items),
        }
        path = self._options.folder / RELEVANCE
        store = Store.open(path, _labels(items, card), self._kind.layout, len(card.classes), identity)
        rows = store.waiting
        with self._stages.stage("explanations", len(items), len(items) - len(rows)) as advance:
            for results in self._results(items, rows):
                store.keep(results)
                advance(len(results))
        return store

    def _results(self, items: Sequence[Item], rows: Sequence[int]) -> Iterator[Results]:
        if self._options.elsewhere is not None:
            return self._options.elsewhere(rows)
        return explain(self._network, items, self._kind.content, rows, self._options.kept)

    def _found(self, items: Sequence[Item], store: Store) -> Findings:
        rows = store.done
        logits, labels = np.asarray(store.prediction[rows], np.float64), np.asarray(store.label[rows])
        return Findings(
            setup=self._setup(),
            description=self._network.description,
            store=store,
            rows=rows,
            items=[items[row] for row in rows],
            failures=[Failure(items[row].name, reason) for row, reason in store.failed.items()],
            predictions=_outcome(logits, labels, self._card),
            duplicates=identical(store.data[row] for row in rows),
            seconds=self._stages.seconds,
        )

    def _setup(self) -> Setup:
        composite = self._network.request.composite
        return Setup(
            printable(self._options.data.name or str(self._options.data)),
            composite.name,
            dict(composite.parameters),
            self._options.seed,
            datetime.now(UTC).date().isoformat(),
            {name: version(name) for name in VERSIONS},
        )


def _labels(items: Sequence[Item], card: ModelCard) -> npt.NDArray[Any]:
    if card.output == "value":
        return targets_of([one.label for one in items])
    return np.array(labels_of(items, card.classes)[0], np.int32)


def _outcome(logits: npt.NDArray[np.float64], labels: npt.NDArray[Any], card: ModelCard) -> Outcome:
    return Values(logits[:, 0], labels) if card.output == "value" else Predictions(logits, labels)
