"""Reports of predictions and explanations: scores, relevance and warnings, made from numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.errors import InvalidParameterError
from app.lrp.composites import Composite
from app.lrp.explanation import NEGLIGIBLE, Explanation
from app.lrp.request import ExplanationRequest, Start
from app.lrp.samples import Samples, SampleStatistics, Sampling
from app.modalities.protocol import Sample
from app.models.card import ModelCard
from app.models.protocol import JobResult
from app.quality.perturbation import Curves
from app.serving.answers import Answers, AnyEvaluation, AnyExplanation, AnyPrediction
from app.serving.evaluation import Evaluation, RuleEvaluation
from app.serving.evaluation_schemas import (
    CurvesReport,
    LayerSimilarity,
    OrderReport,
    RuleEvaluationReport,
)
from app.serving.schemas import (
    ClassReference,
    LayerRule,
    LayerSum,
    ModelReference,
    Prediction,
    RelevanceReport,
    RuleReport,
    SamplesReport,
    Score,
    Uncertainty,
    Value,
    Verification,
)
from app.serving.uncertainty import uncertainty_of
from app.settings import Precision

MANY_CLASSES = 100
DEFAULT_TOP_K = 10


@dataclass(frozen=True)
class Engines:
    """Names of what computes explanations and of what verifies them."""

    engine: str
    precision: Precision
    reference: str


class ReportWriter:
    """Writes reports in terms of one model's card."""

    def __init__(self, card: ModelCard, engines: Engines, low_confidence: float, answers: Answers) -> None:
        self._card = card
        self.answers = answers
        self._engines = engines
        self._low_confidence = low_confidence

    def prediction(self, sample: Sample, result: JobResult, top_k: int | None) -> AnyPrediction:
        """Report scores by falling probability: the first ``top_k``; or the value that is predicted.

        ``None``: all scores, or `DEFAULT_TOP_K` of more than `MANY_CLASSES`.
        """
        scores = self._scores(result.logits)
        return self.answers.prediction(
            model=ModelReference(name=self._card.name, version=self._card.version),
            prediction=self._predicted(scores, result),
            scores=scores[: self.top_k(top_k)],
            input=self.answers.input_report(sample),
            warnings=[*sample.warnings, *self._warnings(scores)],
        )

    def _scores(self, logits: Sequence[float]) -> list[Score]:
        """Return the scores of all classes by falling probability; a value has none."""
        if self._card.output == "value":
            return []
        probabilities = _softmax(logits) if self._card.output == "classes" else list(map(_sigmoid, logits))
        by_probability = sorted(range(len(logits)), key=lambda index: -probabilities[index])
        return [
            Score(index=i, label=self._card.classes[i], logit=logits[i], probability=probabilities[i])
            for i in by_probability
        ]

    def _predicted(self, scores: Sequence[Score], result: JobResult) -> Prediction | Value:
        if not scores:
            return Value(name=self._card.classes[0], value=result.logits[0], unit=self._card.unit)
        return Prediction(**dict(scores[0]), uncertainty=self._uncertainty(result))

    def top_k(self, wanted: int | None) -> int:
        """Return how many scores are reported, where ``wanted`` are; see `prediction`."""
        count = len(self._card.classes)
        return wanted or (DEFAULT_TOP_K if count > MANY_CLASSES else count)

    def explanation(
        self,
        predicted: AnyPrediction,
        result: JobResult,
        samples: Samples | None,
        request: ExplanationRequest,
        explanation: Explanation,
        verified: Explanation | None,
    ) -> AnyExplanation:
        """Report one explanation of what was ``predicted`` in ``result``, with these ``samples``; ``verified`` is
        the same one by the reference.
        """
        versus = request.target.versus
        best = int(np.argmax(result.logits))
        target = best if request.target.index is None else request.target.index
        if versus == target:
            raise InvalidParameterError("versus", "is the predicted class; name another, or a target")
        baseline = None if result.baseline_logits is None else result.baseline_logits[target]
        relevance = _relevance_report(explanation, self._engines, verified, samples, baseline)
        explained = [index for index in (target, versus) if index is not None]
        negative = [index for index in explained if result.logits[index] < 0]
        warnings = [
            *self._sign_warnings(request, negative),
            *self._changed_sign_warnings(request, result, explained),
            *_relevance_warnings(relevance),
        ]
        return self.answers.report(
            **{**dict(predicted), "warnings": [*predicted.warnings, *warnings]},
            target=self._class(target),
            versus=None if versus is None else self._class(versus),
            rule=_rule_report(request.composite),
            layer=request.layer,
            relevance=relevance,
        )

    def evaluation(self, predicted: AnyPrediction, evaluation: Evaluation) -> AnyEvaluation:
        """Report how good the explanations of what was ``predicted`` are; it has the scores of all classes."""
        answer = self.answers.evaluation
        scores = {score.index: score for score in predicted.scores}
        return answer(
            **dict(predicted),
            target=scores.get(evaluation.target, predicted.prediction),
            **evaluation.facts,
            evaluations=[_rule_evaluation(one) for one in evaluation.rules],
            random=_order_report(evaluation.random),
            **{answer.ceiling_name: _order_report(evaluation.ceiling)},
        )

    def _class(self, index: int) -> ClassReference:
        return ClassReference(index=index, label=self._card.classes[index])

    def _sign_warnings(self, request: ExplanationRequest, negative: Sequence[int]) -> list[str]:
        """Warn of explained classes with ``negative`` logits whose sign the output layer's rule ignores."""
        composite, target = request.composite, request.target
        if composite.divides_by_logit or (target.start is not Start.LOGIT and target.versus is None):
            return []
        return [
            f"the logit of {label} is negative, and the denominator of {composite.output_rule.name}, the rule of "
            f"the output layer, does not have its sign: red and blue may be exchanged for {label}; use start=one "
            "without versus, or epsilon at the output layer"
            for label in (self._card.classes[index] for index in negative)
        ]

    def _changed_sign_warnings(
        self, request: ExplanationRequest, result: JobResult, explained: Sequence[int]
    ) -> list[str]:
        """Warn of samples whose logit of an explained class has another sign than that of the plain pass."""
        if result.sample_logits is None or not request.composite.divides_by_logit:
            return []
        found = []
        for index in explained:
            changed = np.count_nonzero((result.sample_logits[:, index] < 0) != (result.logits[index] < 0))
            if changed:
                found.append(
                    f"the logit of {self._card.classes[index]} has the other sign in {changed} of "
                    f"{len(result.sample_logits)} samples, whose red and blue are exchanged for it"
                )
        return found

    def _uncertainty(self, result: JobResult) -> Uncertainty | None:
        if result.sample_logits is None or self._card.output != "classes":
            return None
        found = uncertainty_of(result.sample_logits)
        votes = {self._card.classes[index]: count for index, count in found.votes}
        return Uncertainty(entropy=found.entropy, mutual_information=found.mutual_information, votes=votes)

    def _warnings(self, scores: Sequence[Score]) -> list[str]:
        if not scores or scores[0].probability >= self._low_confidence:
            return []
        best = scores[0]
        return [
            f"low confidence: {best.label} has a probability of {best.probability:.2f}; "
            "the map explains a guess"
        ]


def _sigmoid(logit: float) -> float:
    return math.exp(-math.log1p(math.exp(-logit))) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))


def _softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    exponentials = [math.exp(logit - highest) for logit in logits]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials]


def _relevance_report(
    explanation: Explanation,
    engines: Engines,
    verified: Explanation | None,
    samples: Samples | None,
    baseline: float | None,
) -> RelevanceReport:
    return RelevanceReport(
        start=math.fsum(explanation.output_relevance),
        sum=float(explanation.relevance.sum(dtype=np.float64)),
        min=explanation.smallest,
        max=explanation.largest,
        shape=list(explanation.relevance.shape),
        leak=explanation.leak,
        bias=explanation.bias,
        baseline=baseline,
        layers=[LayerSum(name=name, sum=total) for name, total in explanation.layer_sums],
        engine=engines.engine,
        precision=engines.precision,
        verify=None if verified is None else _verification(explanation, verified, engines),
        samples=None if samples is None else _samples_report(samples, explanation.samples),
    )


def _samples_report(samples: Samples, found: SampleStatistics | None) -> SamplesReport:
    assert found is not None
    return SamplesReport(
        count=samples.count,
        sampling=samples.sampling,
        noise=samples.noise if samples.sampling is Sampling.NOISE else None,
        seed=samples.seed,
        statistic=samples.statistic,
        spread=found.spread,
        sign_agreement=found.sign_agreement,
    )


def _rule_evaluation(measured: RuleEvaluation) -> RuleEvaluationReport:
    return RuleEvaluationReport(
        **dict(_order_report(measured.curves)),
        rule=_rule_report(measured.request.composite),
        flips_after=measured.flips_after,
        sensitivity=measured.sensitivity,
        randomization=[
            LayerSimilarity(layer=layer, similarity=similarity)
            for layer, similarity in measured.randomization
        ],
        sparseness=measured.sparseness,
        leak=measured.leak,
    )


def _order_report(curves: Curves) -> OrderReport:
    return OrderReport(
        curves=CurvesReport(
            most_relevant_first=curves.most_relevant_first.tolist(),
            least_relevant_first=curves.least_relevant_first.tolist(),
        ),
        gap=curves.gap,
    )


def _verification(explanation: Explanation, again: Explanation, engines: Engines) -> Verification:
    ours, theirs = (one.relevance.astype(np.float64).ravel() for one in (explanation, again))
    norm = float(np.linalg.norm(theirs))
    distance = float(np.linalg.norm(ours - theirs))
    return Verification(
        engine=engines.engine,
        reference=engines.reference,
        difference=distance / norm if norm else distance,
        largest=float(np.abs(ours - theirs).max()),
    )


def _relevance_warnings(relevance: RelevanceReport) -> list[str]:
    found = []
    if max(relevance.max, -relevance.min) <= NEGLIGIBLE * max(1.0, abs(relevance.start)):
        found.append("the map is all but zero: nothing to see does not mean nothing mattered")
    # relative to a baseline, biases have their share by definition: it has the baseline's part of the output
    if relevance.baseline is None and relevance.leak is not None and abs(relevance.leak) > 0.5:
        found.append(
            f"leak {relevance.leak:.2f}: over half of the relevance did not reach the input as it was put "
            "in; see relevance.layers for where it changed"
        )
    return found


def _rule_report(composite: Composite) -> RuleReport:
    return RuleReport(
        name=composite.name,
        parameters=dict(composite.parameters),
        layers=[
            LayerRule(name=name, rule=rule.name, parameters=dict(rule.parameters))
            for name, rule in composite.layers
        ],
    )
