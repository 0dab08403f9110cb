"""The whole journey of one request: bytes → picture → tensor → scores and relevance → heatmap → answer."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from app.errors import DeadlineError, InvalidParameterError, RequestError, UnavailableError
from app.lrp.composites import COMPOSITES, rule_info
from app.lrp.request import Ask, Question, Start
from app.modalities.image.decoding import Fit
from app.modalities.image.heatmap import Style
from app.models.protocol import Done, Job
from app.runtime import workers
from app.runtime.batcher import QUEUE_FULL
from app.runtime.workers import Workers
from app.serving.rendering import Compared, Explained, Look, Opened, Pictures, Upload
from app.serving.reports import Receipts, leak
from app.serving.scheduler import Explainer
from app.serving.schemas import PredictAnswer
from app.telemetry.metrics import Metrics

T = TypeVar("T")

ALL = "all"
"""As a target of a comparison: every class."""
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


class Door:
    """Lets in so many at once. Without it pictures would wait to be decoded in any number, for any time: the
    model's own queue, which is bounded, comes after that.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most, self._metrics = most, metrics
        self._inside = 0

    def is_full(self, on_their_way: int = 0) -> bool:
        """Whether nobody is let in now; ``on_their_way`` are so many, those inside among them."""
        return self._inside >= self._most or on_their_way >= self._most

    def refuse_when_full(self) -> None:
        """Raise `UnavailableError` where nobody is let in now."""
        if self.is_full():
            self._metrics.refused("queue_full")
            raise UnavailableError(QUEUE_FULL)

    def __enter__(self) -> None:
        self.refuse_when_full()
        self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._inside -= 1


class Pipeline:
    """Predicts and explains uploads. Pictures are opened and drawn elsewhere, as the model runs elsewhere, so
    that the event loop only ever waits.
    """

    def __init__(
        self,
        explainer: Explainer,
        pictures: Workers[Pictures],
        receipts: Receipts,
        *,
        max_requests: int,
        metrics: Metrics,
    ) -> None:
        """``max_requests`` in hand at once; more are refused before anything is done for them."""
        self.card = explainer.description.card
        self._door = Door(max_requests, metrics)
        self._explainer = explainer
        self._pictures = pictures
        self._receipts = receipts
        self._metrics = metrics
        metrics.queue_depth(lambda: explainer.waiting + pictures.waiting)

    async def predict(self, data: Upload, fit: Fit, top_k: int | None, timings: Timings) -> PredictAnswer:
        """Scores of the picture in ``data``: all classes, or the ``top_k`` most probable."""
        with self._door:
            opened = await self._open(data, fit, Style(), timings)
            done = await self._answered(Job(opened.image), timings)
        return self._receipts.prediction(opened.facts, done.logits, top_k)

    async def explain(self, data: Upload, how: How, timings: Timings, write: Callable[[Explained], T]) -> T:
        """What ``write``, a function that can be sent elsewhere, makes of scores, relevance and heatmap of the
        picture in ``data``.
        """
        ask = self._ask(how)
        with self._door:
            opened = await self._open(data, how.fit, how.style, timings)
            done = await self._answered(Job(opened.image, (ask,), how.verify), timings)
            look = Look(how.style, how.top_k)
            work = self._pictures.do(Pictures.explain, opened, ask, done, look, write)
            return await _timed("render", work, timings)

    async def compare(
        self, data: Upload, comparison: Comparison, timings: Timings, write: Callable[[Compared], T]
    ) -> T:
        """What ``write`` makes of explanations of the picture in ``data`` by one forward pass, on one scale."""
        hows = self._compared(comparison)
        asks = tuple(self._ask(how) for how in hows)
        how = comparison.how
        with self._door:
            opened = await self._open(data, how.fit, how.style, timings)
            done = await self._answered(Job(opened.image, asks, how.verify), timings)
            look = Look(how.style, how.top_k)
            work = self._pictures.do(Pictures.compare, opened, asks, done, look, write)
            return await _timed("render", work, timings)

    def is_full(self, on_their_way: int = 0) -> bool:
        """Whether a request now would be refused, where so many are on their way to here or here."""
        return self._door.is_full(on_their_way)

    def refuse_when_full(self) -> None:
        """Raise `UnavailableError` where a request now would be refused: its body need not be read."""
        self._door.refuse_when_full()

    def check(self, how: How) -> None:
        """Raise `InvalidParameterError` for what cannot be asked of any picture."""
        self._ask(how)

    async def warm_up(self) -> None:
        """Explain a grey picture once, so that nobody's first request pays for lazy initialisation."""
        grey = np.zeros(self.card.input_size, np.float32)
        await self._explainer.submit(Job(grey, (self._ask(How()),)))
        await self._pictures.ready()

    def close(self) -> None:
        """Let what waits and runs finish, then end."""
        self._explainer.close()
        self._pictures.close()

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
        targets = self._targets(comparison)
        known = {rule: {parameter.name for parameter in rule_info(rule).parameters} for rule in rules}
        for parameter in how.parameters:
            if not any(parameter in names for names in known.values()):
                raise InvalidParameterError(parameter, f"none of {', '.join(rules)} takes it; leave it out")
        for name, chosen in (("rule", rules), ("target", targets)):
            if twice := [one for one, times in Counter(chosen).items() if times > 1]:
                raise InvalidParameterError(name, f"{twice[0]} is given twice; give it once")
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

    def _targets(self, comparison: Comparison) -> tuple[str | None, ...]:
        """The classes that are compared, by label; None is the predicted one."""
        if ALL in comparison.targets:
            if len(comparison.targets) > 1:
                raise InvalidParameterError("target", f"{ALL} is every class; leave the others out")
            targets = tuple(self.card.classes)
        else:
            targets = tuple(self._label("target", text) for text in comparison.targets)
        versus = comparison.how.versus
        if versus is not None and (label := self._label("versus", versus)) in targets:
            advice = f"leave versus out, or name targets other than {label}"
            raise InvalidParameterError("versus", f"{label} is one of the targets; {advice}")
        return targets or (None,)

    def _label(self, parameter: str, text: str) -> str:
        return self.card.classes[self._receipts.class_index(parameter, text)]

    async def _open(self, data: Upload, fit: Fit, style: Style, timings: Timings) -> Opened:
        try:
            work = self._pictures.do_if_in_time(Pictures.open, data, fit, style)
            return await _timed("decode", work, timings)
        except RequestError as error:
            self._metrics.bad_picture(error.slug)
            raise
        except DeadlineError:
            self._metrics.refused("deadline")
            raise

    async def _answered(self, job: Job, timings: Timings) -> Done:
        batched = await self._explainer.submit(job)
        timings.add("queue", batched.queue_s)
        timings.add("model", batched.run_s)
        for outcome in batched.result.outcomes:
            if (share := leak(outcome)) is not None:
                self._metrics.leak(share)
        return batched.result


async def _timed(stage: str, work: Awaitable[workers.Done[T]], timings: Timings) -> T:
    """The result of ``work``, its time counted towards ``stage`` and the queue, where it failed as well."""
    started, queue_s = time.perf_counter(), 0.0
    try:
        done = await work
        queue_s = done.queue_s
        return done.result
    finally:
        timings.add(stage, time.perf_counter() - started - queue_s)
        timings.add("queue", queue_s)
