"""A survey from its inputs to its findings."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from app.errors import DataError
from app.survey.contrasts import MAX_CONTRASTS, contrasts
from app.survey.duplicates import identical
from app.survey.files import RELEVANCE
from app.survey.findings import Failure, Findings, Setup
from app.survey.image.effects import MAX_CLUSTERS, Trials
from app.survey.image.location import Location, Mean, joined, location_of, mean_of, share_outside
from app.survey.image.masks import Masks
from app.survey.image.pooling import Floats, Rows, chunks, grid_of, pooled, unit
from app.survey.image.strategies import Strategies, strategies_of
from app.survey.items import Item, digest, labels_of
from app.survey.kept import KeptMaps
from app.survey.neighbours import nearest
from app.survey.network import Network, explain
from app.survey.predictions import Predictions
from app.survey.store import Store

VERSIONS = ("lrpserve", "torch", "scikit-learn")


class Progress(Protocol):
    """Shows how far a stage is."""

    def start(self, stage: str, total: int, done: int = 0) -> Callable[[int], None]:
        """Begin a stage; return what is called with the number of steps that were done."""


@dataclass(frozen=True)
class Options:
    """What a survey is asked for, besides its model."""

    data: Path
    folder: Path
    """Where its files are written."""
    method: str = "spectral"
    seed: int = 0
    masks: Masks | None = None
    kept: KeptMaps | None = None
    """Maps of all items, in their order, that were computed before."""


class Survey:
    """Explains inputs and analyses their maps; what is explained is kept in the folder and not computed again."""

    def __init__(self, network: Network, options: Options, progress: Progress) -> None:
        self._network, self._options, self._progress = network, options, progress
        self._card = network.description.card
        self._seconds: dict[str, float] = {}

    def run(self, items: Sequence[Item]) -> Findings:
        """Return what is found about ``items``; raises `DataError` if none of them can be explained."""
        store = self._explained(items)
        rows = store.done
        if not len(rows):
            reason = next(iter(store.failed.values()))
            raise DataError(f"{self._options.data}: none of {len(items)} items could be explained: {reason}")
        return self._findings(items, store, rows)

    def _explained(self, items: Sequence[Item]) -> Store:
        spec, card, request = self._network.spec, self._card, self._network.request
        labels, _ = labels_of(items, card.classes)
        identity = {
            "model": f"{card.name} {card.version}",
            "rule": request.composite.name,
            "parameters": dict(request.composite.parameters),
            "items": digest(items),
        }
        store = Store.open(
            self._options.folder / RELEVANCE,
            labels,
            (spec.channels, spec.height, spec.width),
            len(card.classes),
            identity,
        )
        waiting = len(store.waiting)
        with self._timed("explanations"):
            advance = self._progress.start("explanations", len(items), len(items) - waiting)
            asyncio.run(explain(self._network, items, store, advance, self._options.kept))
        return store

    def _findings(self, items: Sequence[Item], store: Store, rows: Rows) -> Findings:
        found = [items[row] for row in rows]
        predictions = Predictions(
            np.asarray(store.prediction[rows], np.float64), np.asarray(store.label[rows])
        )
        with self._timed("maps"):
            maps, location, outside = self._read(store, rows, found)
        with self._timed("clusters"):
            strategies = self._strategies(maps, predictions)
        with self._timed("neighbours"):
            neighbours = _neighbours(maps, strategies)
        findings = Findings(
            self._setup(),
            self._network.description,
            store,
            rows,
            found,
            [Failure(items[row].name, reason) for row, reason in store.failed.items()],
            predictions,
            maps,
            strategies,
            [cluster for one in strategies for cluster in one.clusters],
            neighbours,
            {},
            _means(predictions, maps, location, outside),
            outside,
            identical(store.data[row] for row in rows),
            location.has_equal_channels,
            self._seconds,
        )
        return self._asked_again(findings)

    def _asked_again(self, findings: Findings) -> Findings:
        """Return ``findings`` with what the network says of regions and of its mistakes."""
        network, predictions = self._network, findings.predictions
        with self._timed("trials of regions"):
            advance = self._progress.start("regions", min(MAX_CLUSTERS, len(findings.clusters)))
            trials = Trials(network, findings.pixels, predictions.classes, self._options.seed)
            clusters = asyncio.run(trials.measured(findings.clusters, lambda: advance(1)))
        with self._timed("contrasts"):
            worst = predictions.mistakes()[:MAX_CONTRASTS]
            contrasted = asyncio.run(contrasts(network, findings.pixels, predictions, worst))
        return replace(findings, clusters=clusters, contrasts=contrasted)

    def _read(self, store: Store, rows: Rows, items: Sequence[Item]) -> tuple[Floats, Location, Floats]:
        """Return pooled maps, where relevance lies, and its share outside masks, for all ``rows``."""
        spec = self._network.spec
        grid, masks = grid_of(spec.height, spec.width), self._options.masks
        advance = self._progress.start("maps", len(rows))
        maps, locations, outside = [], [], []
        for part in chunks(store, rows):
            relevance = store.maps(rows[part])
            maps.append(pooled(relevance, grid))
            locations.append(location_of(relevance))
            outside += [
                np.nan if masks is None or (mask := masks.of(item)) is None else share_outside(one, mask)
                for one, item in zip(relevance, items[part], strict=True)
            ]
            advance(len(relevance))
        return np.concatenate(maps), joined(locations), np.array(outside, np.float32)

    def _strategies(self, maps: Floats, predictions: Predictions) -> list[Strategies]:
        count = len(np.unique(predictions.classes))
        advance = self._progress.start("clusters", count)
        method, seed = self._options.method, self._options.seed
        return strategies_of(maps, predictions.classes, predictions.correct, method, seed, lambda: advance(1))

    def _setup(self) -> Setup:
        return Setup(
            self._options.data.name or str(self._options.data),
            self._network.request.composite.name,
            self._options.method,
            self._options.seed,
            datetime.now(UTC).date().isoformat(),
            {name: version(name) for name in VERSIONS},
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[stage] = time.perf_counter() - started


def _neighbours(maps: Floats, strategies: Sequence[Strategies]) -> list[Rows]:
    found: list[Rows] = [np.empty(0, np.intp)] * len(maps)
    for one in strategies:
        for row, others in zip(one.rows, nearest(unit(maps[one.rows])), strict=True):
            found[row] = one.rows[others]
    return found


def _means(predictions: Predictions, maps: Floats, location: Location, outside: Floats) -> list[Mean]:
    return [
        mean_of(int(target), np.flatnonzero(predictions.classes == target), maps, location, outside)
        for target in np.unique(predictions.classes)
    ]
