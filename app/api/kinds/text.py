"""Texts over HTTP."""

from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.api.http.errors import BadRequestError, UnsupportedMediaTypeError
from app.api.http.upload import UNDECLARED, media_type_of, refuse_compressed
from app.api.kinds.protocol import (
    BatchItem,
    BatchOverHTTP,
    ComparisonOverHTTP,
    EvaluationOverHTTP,
    KindOverHTTP,
    Uploads,
)
from app.api.openapi import json_body, json_or_text
from app.api.parameters import FORM_OF_ANSWER, ExplanationParameters, ScoreParameters, SingleParameters
from app.api.parameters_of_several import ComparisonParameters, EvaluationParameters, JsonOrPng
from app.api.schemas import Limits
from app.errors import InvalidTextError, RequestError, TooLargeError
from app.modalities.json_values import advice_on, values_of_json
from app.modalities.text.modality import TextOptions, Unit
from app.modalities.text.reading import MAX_CHARACTERS
from app.serving.evaluation_schemas import EvaluateTextAnswer
from app.serving.kinds.text_schemas import (
    BatchTextAnswer,
    CompareTextAnswer,
    ExplainTextAnswer,
    PredictTextAnswer,
)
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.timings import Timings

MAX_BYTES = 16 * MAX_CHARACTERS
"""Of a body: a character outside the basic plane takes 12 in JSON with escapes."""
EXAMPLE = "a gorgeous, witty film"
SEND_TEXTS = 'send {"texts": ["…", …]} as application/json'
SEND_TEXT = 'send {"text": "…"} as application/json, or the text itself as text/plain'


class TextBody(BaseModel):
    """One text."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description=f"Up to {MAX_CHARACTERS} characters.", examples=[EXAMPLE])


class TextsBody(BaseModel):
    """Several texts."""

    model_config = ConfigDict(extra="forbid")

    texts: list[Annotated[object, WithJsonSchema({"type": "string"})]] = Field(
        min_length=1,
        description=f"Up to {MAX_CHARACTERS} characters each.",
        examples=[[EXAMPLE, "a dull one"]],
    )


class PredictTextParameters(ScoreParameters):
    """Parameters of ``/predict/text``."""

    def input_options(self) -> TextOptions:
        """Return the defaults: nothing is drawn."""
        return TextOptions()


class DrawnTextParameters(ExplanationParameters):
    """Parameters of endpoints that respond with the relevance of words."""

    unit: Unit = Field(
        Unit.WORD,
        examples=["token"],
        description="What has a relevance of its own: a `word`, that is the sum of its parts, or each `token` of "
        "the model.",
    )

    def input_options(self) -> TextOptions:
        """Return how texts are drawn; raises `InvalidParameterError`."""
        return TextOptions(self.unit, self.colour_style())


class ExplainTextParameters(SingleParameters, DrawnTextParameters):
    """Parameters of ``/explain/text``."""

    format: Literal["json", "html", "png", "npy"] | None = Field(
        None, examples=["html"], description=FORM_OF_ANSWER
    )


class BatchTextParameters(SingleParameters, DrawnTextParameters):
    """Parameters of ``/explain/batch/text``."""

    format: Literal["json", "zip"] | None = Field(None, examples=["zip"], description=FORM_OF_ANSWER)


class EvaluateTextParameters(EvaluationParameters):
    """Parameters of ``/evaluate/text``."""

    format: JsonOrPng = None

    def input_options(self) -> TextOptions:
        """Return the defaults: the text is not drawn."""
        return TextOptions()


class CompareTextParameters(ComparisonParameters, DrawnTextParameters):
    """Parameters of ``/compare/text``."""

    format: Literal["json", "html", "png"] | None = Field(None, examples=["html"], description=FORM_OF_ANSWER)


async def _read(request: Request, _: Pipeline, __: Timings) -> Uploads:
    refuse_compressed(request)
    media_type, body = media_type_of(request), await request.body()
    if len(body) > MAX_BYTES:
        raise TooLargeError(f"the text is longer than {MAX_CHARACTERS} characters; send a part of it")
    is_json = media_type == "application/json" or (media_type in UNDECLARED and body.lstrip()[:1] == b"{")
    if is_json:
        return Uploads([_text_of_json(body)])
    if media_type != "text/plain":
        raise UnsupportedMediaTypeError(
            f"{media_type or 'a body without Content-Type'} is no text; {SEND_TEXT}"
        )
    return Uploads([body])


async def _read_several(
    request: Request, pipeline: Pipeline, limits: Limits, timings: Timings
) -> list[BatchItem]:
    refuse_compressed(request)
    media_type, body = media_type_of(request), await request.body()
    if media_type not in ("application/json", *UNDECLARED):
        raise UnsupportedMediaTypeError(f"{media_type} is no list of texts; {SEND_TEXTS}")
    texts = await pipeline.read(timings, _texts_of_json, body, limits.max_pictures)
    return [BatchItem({"index": index}, "text", _text(text)) for index, text in enumerate(texts)]


def _text_of_json(body: bytes) -> str:
    match values_of_json(body, BadRequestError, SEND_TEXT):
        case {"text": str(text), **others} if not others:
            return text
        case given:
            raise BadRequestError(advice_on(given, {"text": "text"}, SEND_TEXT))


def _texts_of_json(body: bytes, most: int) -> list[object]:
    match values_of_json(body, BadRequestError, SEND_TEXTS):
        case {"texts": list(texts), **others} if texts and not others:
            if len(texts) > most:
                raise TooLargeError(f"{len(texts)} texts are over {most}; send them in several requests")
            return texts
        case given:
            raise BadRequestError(advice_on(given, {"texts": "a list of texts"}, SEND_TEXTS))


def _text(value: object) -> str | RequestError:
    return value if isinstance(value, str) else InvalidTextError("is not a string; send text")


TEXT = KindOverHTTP(
    kind="text",
    suffix="/text",
    noun="a text",
    items="texts",
    parts="words",
    relevance="the relevance of its words",
    read=_read,
    body=json_or_text([TextBody], {"text": EXAMPLE}, "text/plain", EXAMPLE),
    predict=PredictTextParameters,
    explain=ExplainTextParameters,
    prediction=PredictTextAnswer,
    explanation=ExplainTextAnswer,
    bodies=(TextBody, TextsBody),
    forms=(Format.JSON, Format.HTML, Format.PNG, Format.NPY),
    batch=BatchOverHTTP(
        'as `{"texts": ["…", …]}`', _read_several, json_body(TextsBody), BatchTextParameters, BatchTextAnswer
    ),
    evaluate=EvaluationOverHTTP(
        EvaluateTextParameters,
        EvaluateTextAnswer,
        "Words are deleted one after another, so that the text becomes shorter",
    ),
    compare=ComparisonOverHTTP(
        CompareTextParameters, CompareTextAnswer, (Format.JSON, Format.HTML, Format.PNG)
    ),
)
