"""Explanations that are drawn, and how answers about each kind of input are made of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.serving.evaluation_schemas import EvaluationOf
from app.serving.schemas import Answer, ExplanationOf, PredictionOf

AnyPrediction = PredictionOf[Any, Any]
AnyExplanation = ExplanationOf[Any, Any]
AnyEvaluation = EvaluationOf[Any, Any]


class Answers(Protocol):
    """Makes answers about one kind of input; `app.serving.kinds` has one for each kind."""

    @property
    def prediction(self) -> type[AnyPrediction]:
        """Class of predictions."""

    @property
    def report(self) -> type[AnyExplanation]:
        """Class of explanations without their drawings."""

    @property
    def evaluation(self) -> type[AnyEvaluation]:
        """Class of evaluations."""

    def input_report(self, sample: Any) -> Answer:
        """Return what an answer says of its input."""

    def explanation(self, rendered: "RenderedExplanation", *, values: bool) -> AnyExplanation:
        """Return an explanation as it is sent; with ``values``, with the map itself."""

    def comparison(self, compared: "RenderedComparison", *, values: bool) -> AnyPrediction:
        """Return several explanations as they are sent; ``values`` as in `explanation`."""


@dataclass(frozen=True)
class RenderedExplanation:
    """One explanation, from which every representation of it can be written."""

    report: AnyExplanation
    figure: Any
    """An `app.modalities.protocol.Figure` of the kind of input."""
    relevance: npt.NDArray[Any]
    """Shaped like the network's input, or the layer's."""
    sample: Any
    """An `app.modalities.protocol.Sample` of the kind of input."""
    answers: Answers

    def answer(self, *, values: bool = False) -> AnyExplanation:
        """Return the JSON response; with ``values`` it contains the map as nested numbers."""
        return self.answers.explanation(self, values=values)

    def report_with(self, *, values: bool) -> dict[str, Any]:
        """Return the fields of `report`; with ``values``, those of the map as nested numbers among them."""
        fields = dict(self.report)
        if values:
            fields["relevance"] = self.report.relevance.model_copy(update={"values": nested(self.relevance)})
        return fields


@dataclass(frozen=True)
class RenderedComparison:
    """Explanations on one colour scale, rule by rule and class by class, and one figure of all."""

    predicted: AnyPrediction
    explained: Sequence[RenderedExplanation]
    sheet: Any
    """An `app.modalities.protocol.Figure` of the kind of input."""
    answers: Answers

    def answer(self, *, values: bool = False) -> AnyPrediction:
        """Return the JSON response; ``values`` as in `RenderedExplanation.answer`."""
        return self.answers.comparison(self, values=values)


def nested(values: npt.NDArray[Any]) -> Any:
    """Return ``values`` as nested lists of nine significant digits, which tell each float32 from all others.

    With all digits of their doubles, the JSON of a map would be half as long again.
    """
    doubles = values.astype(np.float64)
    exponents = np.floor(np.log10(np.abs(doubles), out=np.zeros_like(doubles), where=doubles != 0))
    scales = 10.0 ** (8 - exponents)
    return (np.rint(doubles * scales) / scales).tolist()
