"""Texts over HTTP."""

from typing import Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.http.errors import UnsupportedMediaTypeError
from app.api.http.upload import UNDECLARED, media_type_of, refuse_compressed
from app.api.kinds.protocol import KindOverHTTP, Uploads
from app.api.openapi import json_or_text
from app.api.parameters import FORM_OF_ANSWER, ScoreParameters, SingleParameters
from app.api.protocols.common import parsed
from app.errors import TooLargeError
from app.modalities.text.modality import TextOptions, Unit
from app.modalities.text.reading import MAX_CHARACTERS
from app.serving.pipeline import Pipeline
from app.serving.representations import Format
from app.serving.schemas import ExplainTextAnswer, PredictTextAnswer
from app.serving.timings import Timings

MAX_BYTES = 16 * MAX_CHARACTERS
"""Of a body: a character outside the basic plane takes 12 in JSON with escapes."""
EXAMPLE = "a gorgeous, witty film"
SEND_TEXT = 'send {"text": "…"} as application/json, or the text itself as text/plain'


class TextBody(BaseModel):
    """One text."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description=f"Up to {MAX_CHARACTERS} characters.", examples=[EXAMPLE])


class PredictTextParameters(ScoreParameters):
    """Parameters of ``/predict/text``."""

    def input_options(self) -> TextOptions:
        """Return the defaults: nothing is drawn."""
        return TextOptions()


class ExplainTextParameters(SingleParameters):
    """Parameters of ``/explain/text``."""

    unit: Unit = Field(
        Unit.WORD,
        examples=["token"],
        description="What has a relevance of its own: a `word`, that is the sum of its parts, or each `token` of "
        "the model.",
    )
    format: Literal["json", "html", "png", "npy"] | None = Field(
        None, examples=["html"], description=FORM_OF_ANSWER
    )

    def input_options(self) -> TextOptions:
        """Return how texts are drawn; raises `InvalidParameterError`."""
        return TextOptions(self.unit, self.colour_style())


async def _read(request: Request, _: Pipeline, __: Timings) -> Uploads:
    refuse_compressed(request)
    media_type, body = media_type_of(request), await request.body()
    if len(body) > MAX_BYTES:
        raise TooLargeError(f"the text is longer than {MAX_CHARACTERS} characters; send a part of it")
    is_json = media_type == "application/json" or (media_type in UNDECLARED and body.lstrip()[:1] == b"{")
    if is_json:
        return Uploads([parsed(TextBody, body).text])
    if media_type != "text/plain":
        raise UnsupportedMediaTypeError(
            f"{media_type or 'a body without Content-Type'} is no text; {SEND_TEXT}"
        )
    return Uploads([body])


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
    bodies=(TextBody,),
    forms=(Format.JSON, Format.HTML, Format.PNG, Format.NPY),
)
