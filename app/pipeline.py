"""The whole journey of one request: bytes → picture → tensor → scores and relevance → heatmap → answer."""

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from app.answers import CompareAnswer, ExplainAnswer, ExplainReceipt, HeatmapReport, PredictAnswer
from app.batching import QUEUE_FULL, Batched
from app.errors import InvalidParameterError, RequestError, UnavailableError
from app.explainer import Explainer
from app.heatmap import Captions, Heatmap, Scale, Style, contact_sheet, render, scale_of
from app.images import Fit, Picture, Seen, decode, fit_to_model, from_pixels, normalise, to_input
from app.jobs import Done, Floats, Job
from app.lrp.asks import Ask, Question, Start
from app.lrp.composites import COMPOSITES, rule_info
from app.metrics import Metrics
from app.receipts import Engines, Receipts

T = TypeVar("T")

Upload = bytes | Floats
"""A picture's file, or pixels of the model's own size: float32 (3, 32, 32) in 0…1."""
LIBRARIES = ("lrpserve", "torch", "zennit", "numpy", "pillow")
ALL = "all"
"""As a target of a comparison: every class."""
KEPT_ON_SHEET: Any = {
    "target": True,
    "versus": True,
    "layer": True,
    "rule": {"name", "parameters"},
    "relevance": {"start", "sum", "min", "max", "leak"},
}
"""What a contact sheet's chunk says of each map."""
MOST_COMPARED = 150
"""Explanations of one comparison: all thirteen rules for ten classes, and some."""


@dataclass(frozen=True)
class How:
    """What is asked of an explanation; defaults and meaning as in the HTTP contract."""

    rule: str = "epsilon_plus_flat"
    parameters: dict[str, float] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    target: str | None = None
    versus: str | None = None
    start: Start = Start.ONE
    layer: str | None = None
    fit: Fit = Fit.CROP
    style: Style = field(default_factory=Style)
    top_k: int | None = None
    verify: bool = False


@dataclass(frozen=True)
class Comparison:
    """Several rules for several targets of one picture; ``how`` says the rest."""

    how: How = field(default_factory=How)
    rules: tuple[str, ...] = ()
    """None: all composites."""
    targets: tuple[str, ...] = ()
    """None: the predicted class."""


@dataclass(frozen=True)
class Timings:
    """Milliseconds by stage, in the order of the journey."""

    stages: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, seconds: float) -> None:
        """Count ``seconds`` towards ``stage``."""
        self.stages[stage] = self.stages.get(stage, 0.0) + 1000 * seconds

    def longest_of(self, others: Sequence["Timings"]) -> None:
        """Take the longest of each stage of ``others``, which ran side by side."""
        for other in others:
            for stage, spent in other.stages.items():
                self.stages[stage] = max(self.stages.get(stage, 0.0), spent)


@dataclass(frozen=True)
class Opened:
    """A picture on its way into the model."""

    picture: Picture
    seen: Seen
    image: Floats
    """As the model takes it."""


@dataclass(frozen=True)
class Explained:
    """One explanation in every form that it may be answered in. ``relevance`` is (3, 32, 32) or the layer's
    shape; ``pixels``, uint8 (32, 32, 3), is what the model saw.
    """

    receipt: ExplainReceipt
    heatmap: Heatmap
    relevance: Floats
    pixels: npt.NDArray[np.uint8]

    def answer(self, *, values: bool = False) -> ExplainAnswer:
        """The JSON answer, with the map and what the model saw as nested numbers if ``values``."""
        fields = dict(self.receipt)
        if values:
            fields["relevance"] = self.receipt.relevance.model_copy(
                update={"values": self.relevance.tolist()}
            )
            fields["input"] = self.receipt.input.model_copy(update={"pixels": self.pixels.tolist()})
        return ExplainAnswer(**fields, heatmap=_report(self.heatmap))


@dataclass(frozen=True)
class Compared:
    """Explanations on one scale, rule by rule and target by target, and all of them in one picture."""

    predicted: PredictAnswer
    explained: list[Explained]
    sheet: Heatmap

    def answer(self, *, values: bool = False) -> CompareAnswer:
        """The JSON answer."""
        return CompareAnswer(
            **dict(self.predicted),
            explanations=[one.answer(values=values) for one in self.explained],
            sheet=_report(self.sheet),
        )


class Door:
    """Lets in so many at once. Without it pictures would wait to be decoded in any number, for any time: the
    model's own queue, which is bounded, comes after that.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most, self._metrics = most, metrics
        self._inside = 0

    def refuse_when_full(self) -> None:
        """Raise `UnavailableError` where nobody is let in now."""
        if self._inside >= self._most:
            self._metrics.refused("queue_full")
            raise UnavailableError(QUEUE_FULL)

    def __enter__(self) -> None:
        self.refuse_when_full()
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._inside -= 1


class Pipeline:
    """Predicts and explains uploads. Decoding and rendering have threads of their own, so that the event
    loop only ever waits.
    """

    def __init__(
        self,
        explainer: Explainer,
        *,
        max_pixels: int,
        low_confidence: float,
        picture_threads: int,
        max_requests: int,
        metrics: Metrics,
    ) -> None:
        """``max_requests`` in hand at once; more are refused before anything is done for them."""
        self.card = explainer.description.card
        self._door = Door(max_requests, metrics)
        self._explainer = explainer
        self._receipts = Receipts(self.card, low_confidence)
        self._max_pixels = max_pixels
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(picture_threads, thread_name_prefix="pictures")

    async def predict(self, data: Upload, fit: Fit, top_k: int | None, timings: Timings) -> PredictAnswer:
        """Scores of the picture in ``data``: all classes, or the ``top_k`` most probable."""
        with self._door:
            opened = await self._open(data, fit, timings)
            done = _count(await self._explainer.submit(Job(opened.image)), timings)
        return self._receipts.prediction(opened.picture, opened.seen, done.logits, top_k)

    async def explain(self, data: Upload, how: How, timings: Timings) -> Explained:
        """Scores, relevance and heatmap of the picture in ``data``."""
        ask = self._ask(how)
        with self._door:
            opened = await self._open(data, how.fit, timings)
            done = _count(await self._explainer.submit(Job(opened.image, (ask,), how.verify)), timings)

            def finished() -> Explained:
                predicted = self._receipts.prediction(opened.picture, opened.seen, done.logits, how.top_k)
                return self._explained(opened, predicted, ask, done, 0, how.style, None)

            return await self._timed("render", timings, finished)

    async def compare(self, data: Upload, comparison: Comparison, timings: Timings) -> Compared:
        """Explanations of the picture in ``data`` by one forward pass, on one scale."""
        hows = self._compared(comparison)
        asks = tuple(self._ask(how) for how in hows)
        common = comparison.how
        with self._door:
            opened = await self._open(data, common.fit, timings)
            done = _count(await self._explainer.submit(Job(opened.image, asks, common.verify)), timings)

            def finished() -> Compared:
                predicted = self._receipts.prediction(opened.picture, opened.seen, done.logits, common.top_k)
                scale = scale_of([outcome.relevance for outcome in done.outcomes], common.style)
                explained = [
                    self._explained(opened, predicted, ask, done, index, common.style, scale)
                    for index, ask in enumerate(asks)
                ]
                return Compared(predicted, explained, self._sheet(opened, explained, common.style, scale))

            return await self._timed("render", timings, finished)

    def refuse_when_full(self) -> None:
        """Raise `UnavailableError` where a request now would be refused: its body need not be read."""
        self._door.refuse_when_full()

    def check(self, how: How) -> None:
        """Raise `InvalidParameterError` for what cannot be asked of any picture."""
        self._ask(how)

    async def in_pool(self, work: Callable[[], T]) -> T:
        """The result of ``work``, without the event loop waiting for it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def warm_up(self) -> None:
        """Explain a grey picture once, so that nobody's first request pays for lazy initialisation."""
        grey = np.zeros(self.card.input_size, np.float32)
        await self._explainer.submit(Job(grey, (self._ask(How()),)))

    def close(self) -> None:
        """Let what waits and runs finish, then end the threads."""
        self._explainer.close()
        self._pool.shutdown(wait=True)

    def _ask(self, how: How) -> Ask:
        composite = self._explainer.resolve(how.rule, how.parameters, how.layers)
        composite.position(how.layer)  # a bad name is this request's, not its batch's
        target = None if how.target is None else self._receipts.class_index("target", how.target)
        versus = None if how.versus is None else self._receipts.class_index("versus", how.versus)
        if versus is not None and versus == target:
            raise InvalidParameterError("versus", "is the target itself; name another class")
        return Ask(0, composite, Question(target, versus, how.start), how.layer)

    def _compared(self, comparison: Comparison) -> list[How]:
        """What is asked one by one: each rule gets those of the parameters that are its own."""
        how, rules = comparison.how, comparison.rules or tuple(COMPOSITES)
        targets: tuple[str | None, ...] = comparison.targets or (None,)
        if ALL in targets:
            targets = self.card.classes
        known = {rule: {parameter.name for parameter in rule_info(rule).parameters} for rule in rules}
        for parameter in how.parameters:
            if not any(parameter in names for names in known.values()):
                raise InvalidParameterError(parameter, f"none of {', '.join(rules)} takes it; leave it out")
        for name, chosen in (("rule", rules), ("target", targets)):
            if len(set(chosen)) < len(chosen):
                raise InvalidParameterError(name, "one is given twice; give each once")
        if len(rules) * len(targets) > MOST_COMPARED:
            raise InvalidParameterError(
                "target",
                f"{len(rules)} rules × {len(targets)} targets are over {MOST_COMPARED}; compare fewer",
            )
        return [
            replace(
                how,
                rule=rule,
                target=target,
                parameters={name: value for name, value in how.parameters.items() if name in known[rule]},
            )
            for rule in rules
            for target in targets
        ]

    async def _open(self, data: Upload, fit: Fit, timings: Timings) -> Opened:
        normalisation = self.card.normalisation.mean, self.card.normalisation.std

        def opened() -> Opened:
            if isinstance(data, np.ndarray):
                picture = from_pixels(data)
                seen = fit_to_model(picture, fit, self.card.input_size[-1])
                return Opened(picture, seen, normalise(data, *normalisation))
            picture = decode(data, self._max_pixels)
            seen = fit_to_model(picture, fit, self.card.input_size[-1])
            return Opened(picture, seen, to_input(seen.image, *normalisation))

        try:
            return await self._timed("decode", timings, opened)
        except RequestError as error:
            self._metrics.bad_picture(error.slug)
            raise

    def _explained(
        self,
        opened: Opened,
        predicted: PredictAnswer,
        ask: Ask,
        done: Done,
        index: int,
        style: Style,
        scale: Scale | None,
    ) -> Explained:
        """Explanation ``index`` of what is ``done``, with its receipt, on its own scale if none is given."""
        verified = None if done.verified is None else done.verified[index]
        described = self._explainer.description
        engines = Engines(described.engine, described.reference, verified)
        outcome = done.outcomes[index]
        receipt = self._receipts.explanation(predicted, outcome, ask, engines)
        if receipt.relevance.leak is not None:
            self._metrics.leak(receipt.relevance.leak)
        metadata = {**receipt.model_dump(mode="json"), "versions": _versions()}
        rectangle = opened.seen.rectangle
        heatmap = render(
            outcome.relevance, style, opened.picture, rectangle, metadata, _captions(receipt), scale
        )
        return Explained(receipt, heatmap, outcome.relevance, np.asarray(opened.seen.image))

    def _sheet(self, opened: Opened, explained: Sequence[Explained], style: Style, scale: Scale) -> Heatmap:
        rows: dict[str, list[Floats]] = {}
        for one in explained:
            rows.setdefault(one.receipt.rule.name, []).append(one.relevance)
        first = explained[: len(explained) // len(rows)]
        metadata = {
            **PredictAnswer.model_validate(explained[0].receipt, from_attributes=True).model_dump(
                mode="json"
            ),
            "explanations": [one.receipt.model_dump(mode="json", include=KEPT_ON_SHEET) for one in explained],
            "versions": _versions(),
        }
        columns = [_captions(one.receipt).relevance for one in first]
        return contact_sheet(rows, columns, style, scale, opened.seen.image, metadata)

    async def _timed(self, stage: str, timings: Timings, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return await self.in_pool(work)
        finally:
            timings.add(stage, time.perf_counter() - started)


def _count(batched: Batched[T], timings: Timings) -> T:
    timings.add("queue", batched.queue_s)
    timings.add("model", batched.run_s)
    return batched.result


def _report(heatmap: Heatmap) -> HeatmapReport:
    return HeatmapReport(
        media_type="image/png",
        width=heatmap.width,
        height=heatmap.height,
        colormap=heatmap.colormap,
        vmin=heatmap.vmin,
        vmax=heatmap.vmax,
        data=base64.b64encode(heatmap.png).decode(),
    )


def _captions(receipt: ExplainReceipt) -> Captions:
    best, target, versus = receipt.prediction, receipt.target, receipt.versus
    rather_than = f" rather than {versus.label}" if versus else ""
    return Captions(f"{best.label} {best.probability:.0%}", f"why {target.label}{rather_than}?")


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
