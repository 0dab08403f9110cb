"""What the serving protocols need to know of a kind of input."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.api.kinds.protocol import KindOverHTTP
from app.api.protocols.common import Expected, parsed
from app.api.protocols.instances import AnyInstances
from app.api.protocols.open_inference.schemas import AnyInferenceRequest, InputTensor, TensorMetadata
from app.api.protocols.open_inference.tensors import Value
from app.api.rule_parameters import with_rule_parameters
from app.api.schemas import Limits
from app.models.card import ModelCard
from app.serving.answers import AnyPrediction, RenderedExplanation
from app.serving.schemas import Value as PredictedValue

MAX_NAMES = 100
"""Colons in the JSON of one input besides its own; all options and overrides fit."""


@dataclass(frozen=True)
class Size:
    """How large one input of a model may be in JSON; see the fields of `Expected`."""

    values: int
    names: int = 0
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Output:
    """An output tensor of the models that explain."""

    datatype: str
    shape: Callable[[ModelCard], Sequence[int]]
    """Shape of the output of one input; -1 where it depends on the input."""
    value: Callable[[RenderedExplanation], Value]


@dataclass(frozen=True)
class KindInProtocols:
    """Requests and answers about one kind of input in KServe V1 and Open Inference V2."""

    over_http: KindOverHTTP
    """Options and answers are those of HTTP."""
    item: str
    """One input in messages."""
    most: Callable[[Limits], int]
    """Inputs of one request."""
    size: Callable[[ModelCard], Size]
    instances: type[AnyInstances[Any]]
    """Requests of V1."""
    request: type[AnyInferenceRequest[Any]]
    """Requests of Open Inference."""
    inputs: Callable[[InputTensor, bytes, Expected], Sequence[Any]]
    """Tensor, bytes behind the JSON -> inputs, as the modality decodes them; raises `BadRequestError`."""
    metadata: Callable[[ModelCard], TensorMetadata]
    """Of the tensor of inputs."""
    outputs: Mapping[str, Output]
    """Outputs of models that explain, besides those of the networks themselves."""
    instances_of: Callable[[type[AnyInstances[Any]], bytes, Expected], AnyInstances[Any]] = parsed
    """Parses a request of V1."""

    def expected(self, card: ModelCard, limits: Limits) -> Expected:
        """Return what requests to the model of ``card`` may have."""
        size = self.size(card)
        return Expected(
            kind=card.kind,
            item=self.item,
            items=self.most(limits),
            values=size.values,
            names=MAX_NAMES + size.names,
            shape=size.shape,
            options=frozenset(with_rule_parameters(self.over_http.explain).model_fields),
        )


def score_metadata(card: ModelCard) -> list[TensorMetadata]:
    """Return the outputs of a network: scores, or the value that it predicts."""
    names = ("prediction", "logits") if card.output == "value" else ("logits", "probabilities")
    return [TensorMetadata(name=name, datatype="FP32", shape=[-1, len(card.classes)]) for name in names]


def scores(answer: AnyPrediction) -> dict[str, Value]:
    """Return the outputs of `score_metadata` for one input; scores are in the order of the classes."""
    if isinstance(answer.prediction, PredictedValue):
        value = [answer.prediction.value]
        return {"prediction": value, "logits": value}
    ordered = sorted(answer.scores, key=lambda score: score.index)
    return {
        "logits": [score.logit for score in ordered],
        "probabilities": [score.probability for score in ordered],
    }


def explained(
    explanation: RenderedExplanation, outputs: Mapping[str, Output], wanted: Iterable[str]
) -> dict[str, Value]:
    """Return the scores, and those of ``outputs`` that are ``wanted``, for one input."""
    values = {name: output.value(explanation) for name, output in outputs.items() if name in set(wanted)}
    return scores(explanation.report) | values


def relevance(explanation: RenderedExplanation) -> Value:
    """Return the map."""
    return explanation.relevance


def png(explanation: RenderedExplanation) -> Value:
    """Return the drawing as a file."""
    content: bytes = explanation.figure.png
    return content
