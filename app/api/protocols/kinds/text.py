"""Texts in the serving protocols."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, model_validator

from app.api.kinds.text import TEXT
from app.api.protocols.common import Expected
from app.api.protocols.instances import AnyInstance, AnyInstances
from app.api.protocols.kinds.protocol import KindInProtocols, Output, Size, png
from app.api.protocols.open_inference.schemas import (
    AnyInferenceRequest,
    InputTensor,
    RequestOutput,
    TensorMetadata,
)
from app.api.protocols.open_inference.tensors import Value, check_data, elements
from app.modalities.text.reading import MAX_CHARACTERS
from app.models.card import ModelCard
from app.serving.answers import RenderedExplanation


class TextInstance(AnyInstance):
    """One text, and the options of `/explain/text`; or a text alone."""

    text: str = Field(description=f"Up to {MAX_CHARACTERS} characters.", examples=["a gorgeous, witty film"])

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"text": given}
        if not isinstance(given, dict) or "text" not in given:
            raise ValueError('send a text, as {"text": "…"} or "…"')
        return given

    @property
    def upload(self) -> str:
        """The text."""
        return self.text


class TextInstances(AnyInstances[TextInstance]):
    """Texts; V1 calls them `instances` or `inputs`. Other members, such as `signature_name`, are ignored.

    Options among them are listed in `warnings`: they belong into each instance.
    """


class TextRequestInput(InputTensor):
    """Texts."""

    name: Literal["text"]
    shape: list[NonNegativeInt] = Field(
        min_length=1, max_length=2, description="[N] or [N, 1].", examples=[[1]]
    )
    datatype: Literal["BYTES"]
    data: list[Any] | None = Field(
        None,
        description=f"Texts of up to {MAX_CHARACTERS} characters; UTF-8 behind the JSON.",
        examples=[["a gorgeous, witty film"]],
    )


class TextInferenceRequest(AnyInferenceRequest[TextRequestInput]):
    """Texts, what is wanted of them, and the options of `/explain/text` as parameters."""

    outputs: list[RequestOutput] = Field([], max_length=5, description="None: all.")


def _inputs(tensor: InputTensor, binary: bytes, _: Expected) -> Sequence[Any]:
    check_data(tensor, binary)
    return elements(tensor, binary, "strings")


def _metadata(_: ModelCard) -> TensorMetadata:
    return TensorMetadata(name="text", datatype="BYTES", shape=[-1])


def _relevance(explanation: RenderedExplanation) -> Value:
    return [token.relevance for token in explanation.figure.tokens]


def _tokens(explanation: RenderedExplanation) -> Value:
    tokens = [
        {"text": token.text, "start": token.start, "end": token.end, "known": token.known}
        for token in explanation.figure.tokens
    ]
    return json.dumps(tokens, ensure_ascii=False)


TEXT_IN_PROTOCOLS = KindInProtocols(
    over_http=TEXT,
    item="text",
    most=lambda limits: limits.max_pictures,
    size=lambda _: Size(values=MAX_CHARACTERS, names=MAX_CHARACTERS),  # a text may be all commas or colons
    instances=TextInstances,
    request=TextInferenceRequest,
    inputs=_inputs,
    metadata=_metadata,
    outputs={
        "relevance": Output("FP32", lambda _: (-1,), _relevance),
        "tokens": Output("BYTES", lambda _: (), _tokens),
        "heatmap_png": Output("BYTES", lambda _: (), png),
    },
)
