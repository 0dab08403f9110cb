"""The whole journey of one request: bytes → picture → tensor → scores and relevance → heatmap → answer."""

import asyncio
import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from app.answers import (
    ClassReference,
    Crop,
    ExplainAnswer,
    ExplainReceipt,
    HeatmapReport,
    InputReport,
    LayerRule,
    LayerSum,
    ModelReference,
    PredictAnswer,
    RelevanceReceipt,
    RuleReport,
    Score,
)
from app.errors import InvalidParameterError, RequestError
from app.explainer import Explainer, Timed
from app.heatmap import Captions, Heatmap, Style, render
from app.images import Fit, Picture, Seen, decode, fit_to_model, from_pixels, normalise, to_tensor
from app.lrp.composites import Composite
from app.lrp.seed import Explanation, Question, Start
from app.metrics import Metrics
from app.models.checkpoint import ModelCard

T = TypeVar("T")

Upload = bytes | torch.Tensor
"""A picture's file, or pixels of the model's own size: float32 (3, 32, 32) in 0…1."""
LIBRARIES = ("lrpserve", "torch", "zennit", "numpy", "pillow")
NEXT_TO_NOTHING = 1e-9
"""Relevance below this share of what was put in is rounding, not an explanation."""


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


@dataclass(frozen=True)
class Timings:
    """Milliseconds by stage, in the order of the journey."""

    stages: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, seconds: float) -> None:
        """Count ``seconds`` towards ``stage``."""
        self.stages[stage] = self.stages.get(stage, 0.0) + 1000 * seconds


@dataclass(frozen=True)
class Explained:
    """One explanation in every form that it may be answered in. ``relevance`` is float32, (3, 32, 32) or
    the layer's shape; ``pixels``, uint8 (32, 32, 3), is what the model saw.
    """

    receipt: ExplainReceipt
    heatmap: Heatmap
    relevance: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.uint8]

    def answer(self, *, values: bool = False) -> ExplainAnswer:
        """The JSON answer, with the map and what the model saw as nested numbers if ``values``."""
        heatmap = HeatmapReport(
            media_type="image/png",
            width=self.heatmap.width,
            height=self.heatmap.height,
            colormap=self.heatmap.colormap,
            vmin=self.heatmap.vmin,
            vmax=self.heatmap.vmax,
            data=base64.b64encode(self.heatmap.png).decode(),
        )
        fields = dict(self.receipt)
        if values:
            fields["relevance"] = self.receipt.relevance.model_copy(
                update={"values": self.relevance.tolist()}
            )
            fields["input"] = self.receipt.input.model_copy(update={"pixels": self.pixels.tolist()})
        return ExplainAnswer(**fields, heatmap=heatmap)


class Pipeline:
    """Predicts and explains uploads. Decoding and rendering have threads of their own, so that the event
    loop only ever waits.
    """

    def __init__(
        self,
        explainer: Explainer,
        card: ModelCard,
        *,
        max_pixels: int,
        low_confidence: float,
        metrics: Metrics,
    ) -> None:
        self.card = card
        self._explainer = explainer
        self._max_pixels = max_pixels
        self._low_confidence = low_confidence
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="pictures")

    async def predict(self, data: Upload, fit: Fit, top_k: int | None, timings: Timings) -> PredictAnswer:
        """Scores of the picture in ``data``: all classes, or the ``top_k`` most probable."""
        picture, seen, image = await self._open(data, fit, timings)
        logits = _count(await self._explainer.predict(image), timings)
        return self._prediction(picture, seen, logits, top_k)

    async def explain(self, data: Upload, how: How, timings: Timings) -> Explained:
        """Scores, relevance and heatmap of the picture in ``data``."""
        composite = self._explainer.resolve(how.rule, how.parameters, how.layers)
        question = self._question(how)
        picture, seen, image = await self._open(data, how.fit, timings)
        explanation = _count(await self._explainer.explain(image, composite, question, how.layer), timings)
        relevance = explanation.relevance[0].float().numpy()
        receipt = self._receipt(picture, seen, explanation, composite, question, how)
        if receipt.relevance.leak is not None:
            self._metrics.leak(receipt.relevance.leak)
        metadata = {**receipt.model_dump(mode="json"), "versions": _versions()}
        captions = _captions(receipt)
        heatmap = await self._in_pool(
            "render",
            timings,
            lambda: render(relevance, how.style, picture, seen.rectangle, metadata, captions),
        )
        return Explained(receipt, heatmap, relevance, np.asarray(seen.image))

    async def warm_up(self) -> None:
        """Explain a grey picture once, so that nobody's first request pays for lazy initialisation."""
        grey = torch.zeros(3, *self.card.input_size[1:])
        composite = self._explainer.resolve(How().rule, {}, ())
        await self._explainer.explain(grey, composite, Question(None, None, Start.ONE), None)

    def close(self) -> None:
        """Let what is running finish, then end the threads."""
        self._explainer.close()
        self._pool.shutdown(wait=True)

    async def _open(self, data: Upload, fit: Fit, timings: Timings) -> tuple[Picture, Seen, torch.Tensor]:
        def opened() -> tuple[Picture, Seen, torch.Tensor]:
            if isinstance(data, torch.Tensor):
                picture = from_pixels(data)
                seen = fit_to_model(picture, fit, self.card.input_size[-1])
                return picture, seen, normalise(data, *self._normalisation())
            picture = decode(data, self._max_pixels)
            seen = fit_to_model(picture, fit, self.card.input_size[-1])
            return picture, seen, to_tensor(seen.image, *self._normalisation())

        try:
            return await self._in_pool("decode", timings, opened)
        except RequestError as error:
            self._metrics.bad_picture(error.slug)
            raise

    def _normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.card.normalisation.mean, self.card.normalisation.std

    async def _in_pool(self, stage: str, timings: Timings, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            timings.add(stage, time.perf_counter() - started)

    def _question(self, how: How) -> Question:
        target = None if how.target is None else self._class_index("target", how.target)
        versus = None if how.versus is None else self._class_index("versus", how.versus)
        if versus is not None and versus == target:
            raise InvalidParameterError("versus", "is the target itself; name another class")
        return Question(target, versus, how.start)

    def _class_index(self, parameter: str, text: str) -> int:
        classes = self.card.classes
        if text in classes:
            return classes.index(text)
        if text.isascii() and text.isdigit() and int(text) < len(classes):
            return int(text)
        raise InvalidParameterError(
            parameter,
            f"no class {text!r}; use a number from 0 to {len(classes) - 1} or one of {', '.join(classes)}",
        )

    def _prediction(
        self, picture: Picture, seen: Seen, logits: torch.Tensor, top_k: int | None
    ) -> PredictAnswer:
        probabilities = logits.double().softmax(0)
        scores = [
            Score(index=i, label=self.card.classes[i], logit=float(logits[i]), probability=float(p))
            for i, p in sorted(enumerate(probabilities), key=lambda item: -item[1])
        ]
        rectangle = seen.rectangle
        return PredictAnswer(
            model=ModelReference(name=self.card.name, version=self.card.version),
            prediction=scores[0],
            scores=scores[:top_k],
            input=InputReport(
                format=picture.format,
                width=picture.width,
                height=picture.height,
                crop=Crop(
                    left=rectangle.left, top=rectangle.top, width=rectangle.width, height=rectangle.height
                ),
            ),
            warnings=[*picture.warnings, *seen.warnings, *self._doubts(scores[0])],
        )

    def _doubts(self, best: Score) -> list[str]:
        if best.probability >= self._low_confidence:
            return []
        return [
            f"low confidence: {best.label} has a probability of {best.probability:.2f}; "
            "the heatmap explains a guess"
        ]

    def _receipt(
        self,
        picture: Picture,
        seen: Seen,
        explanation: Explanation,
        composite: Composite,
        question: Question,
        how: How,
    ) -> ExplainReceipt:
        predicted = self._prediction(picture, seen, explanation.logits[0], how.top_k)
        relevance = _relevance_receipt(explanation)
        target = predicted.prediction.index if question.target is None else question.target
        if question.versus == target:
            raise InvalidParameterError("versus", "is the predicted class; name another, or a target")
        return ExplainReceipt(
            **{**dict(predicted), "warnings": predicted.warnings + _relevance_doubts(relevance)},
            target=self._class(target),
            versus=None if question.versus is None else self._class(question.versus),
            rule=_rule_report(composite),
            layer=how.layer,
            relevance=relevance,
        )

    def _class(self, index: int) -> ClassReference:
        return ClassReference(index=index, label=self.card.classes[index])


def _count(timed: Timed[T], timings: Timings) -> T:
    timings.add("queue", timed.queue_s)
    timings.add("model", timed.model_s)
    return timed.result


def _relevance_receipt(explanation: Explanation) -> RelevanceReceipt:
    relevance, put_in = explanation.relevance[0].double(), explanation.start[0].double()
    start, size = float(put_in.sum()), float(put_in.abs().sum())
    reached = float(explanation.sums[0][1][0])
    balanced = abs(start) <= NEXT_TO_NOTHING * size
    return RelevanceReceipt(
        start=start,
        sum=float(relevance.sum()),
        min=float(relevance.min()),
        max=float(relevance.max()),
        leak=None if balanced else 1 - reached / start,
        layers=[LayerSum(name=name, sum=float(total[0])) for name, total in explanation.sums],
    )


def _relevance_doubts(relevance: RelevanceReceipt) -> list[str]:
    doubts = []
    if max(relevance.max, -relevance.min) <= NEXT_TO_NOTHING * max(1.0, abs(relevance.start)):
        doubts.append("the map is all but zero: nothing to see does not mean nothing mattered")
    if relevance.leak is not None and abs(relevance.leak) > 0.5:
        doubts.append(
            f"leak {relevance.leak:.2f}: over half of the relevance did not reach the pixels as it was put "
            "in; see relevance.layers for where it changed"
        )
    return doubts


def _rule_report(composite: Composite) -> RuleReport:
    return RuleReport(
        name=composite.name,
        parameters=dict(composite.parameters),
        layers=[
            LayerRule(name=name, rule=rule.name, parameters=dict(rule.parameters))
            for name, rule in composite.layers
        ],
    )


def _captions(receipt: ExplainReceipt) -> Captions:
    best, target, versus = receipt.prediction, receipt.target, receipt.versus
    rather_than = f" rather than {versus.label}" if versus else ""
    return Captions(f"{best.label} {best.probability:.0%}", f"why {target.label}{rather_than}?")


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
