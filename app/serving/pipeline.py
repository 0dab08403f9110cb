"""One request from its data to its answer: decode, run the model, render."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from app.errors import DeadlineError, RequestError, UnavailableError
from app.lrp.request import ExplanationRequest
from app.modalities.protocol import Sample
from app.models.protocol import Job, JobResult
from app.runtime.executor import Executor, Timed
from app.serving.admission import Admission
from app.serving.answers import AnyEvaluation, AnyPrediction, RenderedComparison, RenderedExplanation
from app.serving.evaluation import Evaluation, Evaluator
from app.serving.removal import Removal
from app.serving.rendering import Renderer, Upload
from app.serving.reports import ReportWriter
from app.serving.requests import CompareOptions, EvaluateOptions, ExplainOptions, RequestFactory
from app.serving.scheduler import Scheduler
from app.serving.timings import Timings
from app.telemetry.metrics import ModelMetrics

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class EvaluationLimits:
    """Limits on evaluations, each of which runs about a thousand inputs through the model."""

    max_evaluations: int = 4
    """How many may run at the same time."""
    deadline_s: float | None = 30.0
    """Maximum seconds of one, after which it is ended; ``None``: no limit."""


class Pipeline:
    """Predicts and explains uploads.

    Decoding and rendering run in an executor, the model behind a scheduler: the event loop only waits.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        renderers: Executor[Renderer],
        reports: ReportWriter,
        removal: Removal,
        *,
        metrics: ModelMetrics,
        evaluations: EvaluationLimits,
    ) -> None:
        self.description = scheduler.description
        self.card = self.description.card
        self.composites = self.description.composites
        self.rules = self.description.rules
        self._scheduler = scheduler
        self._renderers = renderers
        self._reports = reports
        self._removal = removal
        self._requests = RequestFactory(
            self.card, scheduler.resolve, self.composites, self.rules, self.description.layers
        )
        self._evaluations = evaluations
        self._evaluating = Admission(evaluations.max_evaluations, metrics)
        self._metrics = metrics
        metrics.queue_depth(lambda: scheduler.waiting)

    @property
    def fault(self) -> str | None:
        """What was wrong with the model's last results, if they could not be used."""
        return self._scheduler.fault

    async def predict(self, data: Upload, options: Any, top_k: int | None, timings: Timings) -> AnyPrediction:
        """Return the prediction for ``data``.

        ``options`` are those of the kind of input; ``top_k`` as in `ReportWriter.prediction`.
        """
        sample = await self.decode(data, options, timings)
        result = await self._run(Job(sample.input), timings)
        return self._reports.prediction(sample, result, top_k)

    async def explain(
        self,
        data: Upload,
        options: ExplainOptions,
        timings: Timings,
        write: Callable[[RenderedExplanation], T],
    ) -> T:
        """Explain ``data``; return ``write(explanation)``.

        ``write`` runs in the executor and must be picklable, and so must its result.
        """
        request = self._requests.explanation(options)
        sample = await self.decode(data, options.input, timings)
        result = await self._run(_job(sample, (request,), options), timings)
        work = self._renderers.call(Renderer.explain, sample, request, result, options, write)
        return await _timed("render", work, timings)

    async def compare(
        self,
        data: Upload,
        compared: CompareOptions,
        timings: Timings,
        write: Callable[[RenderedComparison], T],
    ) -> T:
        """Explain ``data`` by several rules for several classes; return ``write(comparison)``.

        One forward pass serves all of them, and they share one colour scale. ``write`` as in `explain`.
        """
        requests, options = self._requests.comparison(compared), compared.options
        sample = await self.decode(data, options.input, timings)
        result = await self._run(_job(sample, requests, options), timings)
        work = self._renderers.call(Renderer.compare, sample, requests, result, options, write)
        return await _timed("render", work, timings)

    async def evaluate(
        self,
        data: Upload,
        options: EvaluateOptions,
        timings: Timings,
        write: Callable[[AnyEvaluation], T],
    ) -> T:
        """Measure how good explanations of ``data`` are; return ``write(evaluation)``.

        The model runs it in the background, while no other request waits. Raises `UnavailableError` while too
        many evaluations run, and `DeadlineError` for one that takes too long. ``write`` as in `explain`.
        """
        requests = self._evaluated(options)
        sample = await self.decode(data, options.input, timings)
        evaluation = await self._evaluate(sample, requests, options, timings)
        work = self._renderers.call(Renderer.evaluate, sample, evaluation, options.top_k, write)
        return await _timed("render", work, timings)

    async def read(self, timings: Timings, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args, **kwargs)``, which runs in the executor: it parses what is too large to be
        parsed on the event loop. Its time counts as decoding.
        """
        work = self._renderers.call_before_deadline(_without_context, partial(function, *args, **kwargs))
        try:
            return await _timed("decode", work, timings)
        except DeadlineError:
            self._metrics.refused("deadline")
            raise

    async def write(self, timings: Timings, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args, **kwargs)``, which runs in the executor and writes a large answer."""
        work = self._renderers.call(_without_context, partial(function, *args, **kwargs))
        return await _timed("render", work, timings)

    def check(self, options: ExplainOptions) -> None:
        """Raise `InvalidParameterError` for options that fit no input of this model."""
        self.request(options)

    def request(self, options: ExplainOptions) -> ExplanationRequest:
        """Return the explanation that ``options`` describe; raises `InvalidParameterError`."""
        return self._requests.explanation(options)

    def comparison_places(self, compared: CompareOptions) -> int:
        """Return the places in the queue that a comparison takes; raises `InvalidParameterError`."""
        return self._requests.comparison_places(compared)

    def check_evaluation(self, options: EvaluateOptions) -> None:
        """Raise `InvalidParameterError` for options that fit no input of this model."""
        self._evaluated(options)

    async def warm_up(self) -> None:
        """Explain an example, so that the first request does not pay for lazy initialisation."""
        request = self._requests.explanation(ExplainOptions())
        await self._scheduler.submit(Job(self.card.example_input(), (request,)))
        await self._renderers.ready()

    def close(self) -> None:
        """Take no more requests; end what runs."""
        self._scheduler.close()
        self._renderers.close()

    async def aclose(self) -> None:
        """Close without blocking the event loop, on which requests that are given up are answered."""
        await asyncio.to_thread(self._scheduler.close)
        self._renderers.close()

    async def decode(self, data: Upload, options: Any, timings: Timings) -> Sample:
        """Return the sample in ``data``; raises `RequestError`, and `DeadlineError` where too many wait."""
        try:
            work = self._renderers.call_before_deadline(Renderer.decode, data, options)
            return await _timed("decode", work, timings)
        except RequestError as error:
            self._metrics.bad_picture(error)
            raise
        except DeadlineError:
            self._metrics.refused("deadline")
            raise

    def _evaluated(self, options: EvaluateOptions) -> tuple[ExplanationRequest, ...]:
        """Return the explanations to evaluate; raises `InvalidParameterError` for any of the options."""
        self._removal.check(options)
        return self._requests.evaluation(options)

    async def _evaluate(
        self,
        sample: Sample,
        requests: tuple[ExplanationRequest, ...],
        options: EvaluateOptions,
        timings: Timings,
    ) -> Evaluation:
        if not self._evaluating.occupy(1):
            self._metrics.refused("queue_full")
            raise UnavailableError(
                f"{self._evaluating.occupied} evaluations run already; try again in a moment"
            )
        started, deadline_s = time.perf_counter(), self._evaluations.deadline_s
        parts = self._removal.parts(sample, options)
        evaluator = Evaluator(self.run_in_background, self.description, sample, parts, requests)
        try:
            async with asyncio.timeout(deadline_s):
                return await evaluator.evaluate()
        except TimeoutError:
            self._metrics.refused("deadline")
            raise DeadlineError(
                f"took longer than {deadline_s:g} s and was ended; evaluate fewer rules, larger patches "
                "of a picture, or a shorter text"
            ) from None
        finally:
            self._evaluating.free(1)
            timings.add("model", time.perf_counter() - started)

    async def run_in_background(self, job: Job) -> JobResult:
        """Return the result of ``job``, which runs while no request waits; raises what the scheduler does."""
        return (await self._scheduler.submit_in_background(job)).result

    async def _run(self, job: Job, timings: Timings) -> JobResult:
        timed = await self._scheduler.submit(job)
        timings.add("queue", timed.queue_s)
        timings.add("model", timed.run_s)
        for explanation in timed.result.explanations:
            if explanation.leak is not None:
                self._metrics.leak(explanation.leak)
        return timed.result


def _job(sample: Sample, requests: tuple[ExplanationRequest, ...], options: ExplainOptions) -> Job:
    return Job(sample.input, requests, options.verify, options.samples, baseline=sample.baseline)


def _without_context(_: Renderer, function: Callable[[], T]) -> T:
    return function()


async def _timed(stage: str, work: Awaitable[Timed[T]], timings: Timings) -> T:
    """Return the result of ``work``; its time counts towards ``stage`` and ``queue``, also where it fails."""
    started, queue_s = time.perf_counter(), 0.0
    try:
        timed = await work
        queue_s = timed.queue_s
        return timed.result
    finally:
        timings.add(stage, time.perf_counter() - started - queue_s)
        timings.add("queue", queue_s)
