"""What is said of an explanation: scores, receipts and warnings, out of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.errors import InvalidParameterError
from app.lrp.composites import Composite
from app.lrp.request import Ask
from app.modalities.image.decoding import Facts
from app.models.card import ModelCard
from app.models.protocol import Outcome
from app.serving.schemas import (
    ClassReference,
    Crop,
    ExplainReceipt,
    InputReport,
    LayerRule,
    LayerSum,
    ModelReference,
    PredictAnswer,
    RelevanceReceipt,
    RuleReport,
    Score,
    Verification,
)

NEXT_TO_NOTHING = 1e-9
"""Relevance below this share of what was put in is rounding, not an explanation."""


@dataclass(frozen=True)
class Engines:
    """Who computes explanations, and who verifies them."""

    engine: str
    reference: str


class Receipts:
    """Writes answers in the terms of one model's card."""

    def __init__(self, card: ModelCard, engines: Engines, low_confidence: float) -> None:
        self._card = card
        self._engines = engines
        self._low_confidence = low_confidence
        numbers = {str(index): index for index in range(len(card.classes))}
        self._indices = numbers | {label: index for index, label in enumerate(card.classes)}

    def prediction(self, upload: Facts, logits: Sequence[float], top_k: int | None) -> PredictAnswer:
        """Scores by falling probability, the first ``top_k`` of them."""
        probabilities = _softmax(logits)
        scores = [
            Score(index=i, label=self._card.classes[i], logit=logit, probability=probability)
            for i, (logit, probability) in sorted(
                enumerate(zip(logits, probabilities, strict=True)), key=lambda item: -item[1][1]
            )
        ]
        rectangle = upload.rectangle
        return PredictAnswer(
            model=ModelReference(name=self._card.name, version=self._card.version),
            prediction=scores[0],
            scores=scores[:top_k],
            input=InputReport(
                format=upload.format,
                width=upload.width,
                height=upload.height,
                crop=Crop(
                    left=rectangle.left, top=rectangle.top, width=rectangle.width, height=rectangle.height
                ),
            ),
            warnings=[*upload.warnings, *self._doubts(scores[0])],
        )

    def explanation(
        self, predicted: PredictAnswer, outcome: Outcome, ask: Ask, verified: Outcome | None
    ) -> ExplainReceipt:
        """The receipt of one explanation, the ``outcome`` of ``ask``, of what was ``predicted``; ``verified`` is
        the same by the reference.
        """
        question = ask.question
        target = predicted.prediction.index if question.target is None else question.target
        if question.versus == target:
            raise InvalidParameterError("versus", "is the predicted class; name another, or a target")
        relevance = _relevance_receipt(outcome, self._engines, verified)
        return ExplainReceipt(
            **{**dict(predicted), "warnings": predicted.warnings + _relevance_doubts(relevance)},
            target=self._class(target),
            versus=None if question.versus is None else self._class(question.versus),
            rule=_rule_report(ask.composite),
            layer=ask.layer,
            relevance=relevance,
        )

    def class_index(self, parameter: str, text: str) -> int:
        """A class by label or number; raises `InvalidParameterError`."""
        if text in self._indices:
            return self._indices[text]
        classes = self._card.classes
        raise InvalidParameterError(
            parameter,
            f"no class {text!r}; use a number from 0 to {len(classes) - 1} or one of {', '.join(classes)}",
        )

    def _class(self, index: int) -> ClassReference:
        return ClassReference(index=index, label=self._card.classes[index])

    def _doubts(self, best: Score) -> list[str]:
        if best.probability >= self._low_confidence:
            return []
        return [
            f"low confidence: {best.label} has a probability of {best.probability:.2f}; "
            "the heatmap explains a guess"
        ]


def leak(outcome: Outcome) -> float | None:
    """Share of what was put in that did not reach the first layer; None where that was nothing on balance."""
    start, size = math.fsum(outcome.start), math.fsum(map(abs, outcome.start))
    balanced = abs(start) <= NEXT_TO_NOTHING * size
    return None if balanced else 1 - outcome.sums[0][1] / start


def _softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    exponentials = [math.exp(logit - highest) for logit in logits]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials]


def _relevance_receipt(outcome: Outcome, engines: Engines, verified: Outcome | None) -> RelevanceReceipt:
    return RelevanceReceipt(
        start=math.fsum(outcome.start),
        sum=float(outcome.relevance.sum(dtype=np.float64)),
        min=outcome.smallest,
        max=outcome.largest,
        leak=leak(outcome),
        layers=[LayerSum(name=name, sum=total) for name, total in outcome.sums],
        engine=engines.engine,
        verify=None if verified is None else _verification(outcome, verified, engines),
    )


def _verification(outcome: Outcome, again: Outcome, engines: Engines) -> Verification:
    ours, theirs = (one.relevance.astype(np.float64).ravel() for one in (outcome, again))
    norm = float(np.linalg.norm(theirs))
    distance = float(np.linalg.norm(ours - theirs))
    return Verification(
        engine=engines.engine,
        reference=engines.reference,
        difference=distance / norm if norm else distance,
        largest=float(np.abs(ours - theirs).max()),
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
