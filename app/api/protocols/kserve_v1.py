"""KServe's V1 protocol: ``/v1/models``, ``:predict`` and ``:explain``."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Request, Response
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from app.api.concurrency import RunAll
from app.api.dependencies import (
    CatalogueDep,
    LimitsDep,
    PipelineInPathDep,
    ReadinessDep,
    TimingsDep,
)
from app.api.http.query import none_at_all
from app.api.http.upload import refuse_compressed
from app.api.openapi import json_body, protocol_errors
from app.api.parameters import ExplainParameters
from app.api.protocols.common import (
    STATUSES,
    Expected,
    Option,
    check_count,
    expected_for,
    parse_options,
    picture,
    results_or_error,
)
from app.api.routes.health import refuse_unready
from app.errors import LRPServeError
from app.serving import representations
from app.serving.answers import AnyPrediction
from app.serving.requests import ExplainOptions, places_of
from app.serving.schemas import ExplainAnswer, PredictAnswer
from app.serving.timings import Timings

OPTIONS = TypeAdapter(dict[str, Option])
router = APIRouter(prefix="/v1/models", tags=["KServe V1"], dependencies=[Depends(none_at_all)])


class Base64(BaseModel):
    """A picture file."""

    b64: str = Field(description="The file, base64.")


class Instance(BaseModel):
    """One picture, in one of three members, and the options of `/explain`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"image": {"b64": "iVBORw0KGgo…"}, "target": "{{class}}"}],
            "oneOf": [{"required": [field]} for field in ("image", "b64", "data")],
        },
    )
    __pydantic_extra__: dict[str, Any]

    image: Base64 | SkipJsonSchema[None] = None
    b64: str | SkipJsonSchema[None] = Field(None, description="The file, base64.")
    data: str | SkipJsonSchema[None] = Field(None, description="The file, base64.")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        return {"b64": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_picture(self, info: ValidationInfo) -> "Instance":
        if sum(field is not None for field in (self.image, self.b64, self.data)) != 1:
            raise ValueError('send one picture, as {"image": {"b64": "…"}}')
        OPTIONS.validate_python(cast("Expected", info.context).options_of(self.__pydantic_extra__))
        return self

    @property
    def file(self) -> bytes:
        """The picture's file."""
        text = self.image.b64 if self.image else self.b64 or self.data or ""
        return picture(text.encode())


class Instances(BaseModel):
    """Pictures; V1 calls them `instances` or `inputs`. Other members, such as `signature_name`, are ignored.

    Options among them are listed in `warnings`: they belong into each instance.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    instances: list[Instance] = Field(
        validation_alias=AliasChoices("instances", "inputs"), json_schema_extra={"minItems": 1}
    )

    @model_validator(mode="before")
    @classmethod
    def _under_one_name(cls, given: Any) -> Any:
        """Drop nulls, which some clients send for what they leave out."""
        if not isinstance(given, dict):
            return given
        present = {name: value for name, value in given.items() if value is not None}
        if {"instances", "inputs"} <= present.keys():
            raise ValueError("send either instances or inputs, not both")
        return present

    @field_validator("instances", mode="before")
    @classmethod
    def _not_too_many(cls, given: Any, info: ValidationInfo) -> Any:
        """Check the number before each is validated: there may be a hundred thousand."""
        if isinstance(given, list):
            check_count(len(given), cast("Expected", info.context).pictures, "instances")
        return given


class Models(BaseModel):
    """Names of the models that are served."""

    models: list[str] = Field(examples=[["{{name}}"]])


class ModelReady(BaseModel):
    """The model takes requests."""

    name: str = Field(examples=["{{name}}"])
    ready: bool


class Predictions(BaseModel):
    """Class scores of each picture, in the order sent."""

    predictions: list[PredictAnswer]


class Explanations(Predictions):
    """Class scores and explanation of each picture, in the order sent."""

    explanations: list[ExplainAnswer]


@dataclass(frozen=True)
class Sent:
    """One instance: its picture's file, its options, and what has no effect in it."""

    file: bytes
    options: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def asked(self) -> ExplainParameters:
        """Its options; raises `InvalidParameterError`."""
        return parse_options(self.options, without=("format",))


def read(content: bytes, expected: Expected) -> list[Sent]:
    """Parse a request's body; runs in another process. Raises what is wrong with the first invalid instance."""
    body = expected.parse(Instances, content)
    misplaced = expected.misplaced(body.__pydantic_extra__)
    warnings = (f"ignored, belongs into an instance: {', '.join(misplaced)}",) if misplaced else ()
    return results_or_error([_sent(one, expected, warnings) for one in body.instances], "instances")


def _sent(instance: Instance, expected: Expected, of_request: tuple[str, ...]) -> Sent | LRPServeError:
    members = instance.__pydantic_extra__
    try:
        names = expected.ignored(members)
    except LRPServeError as error:
        return error
    warnings = (f"ignored, no option: {', '.join(names)}",) if names else ()
    return Sent(instance.file, expected.options_of(members), of_request + warnings)


async def read_instances(
    request: Request, limits: LimitsDep, pipeline: PipelineInPathDep, timings: TimingsDep
) -> list[Sent]:
    """Parse the pictures in the body; its Content-Type is ignored."""
    refuse_compressed(request)
    expected = expected_for(pipeline.card, limits)
    return await pipeline.read(timings, read, await request.body(), expected)


SentDep = Annotated[list[Sent], Depends(read_instances)]


@router.get(
    "", name="v1_list_models", summary="KServe V1: the models that are served", responses=protocol_errors(422)
)
async def models(catalogue: CatalogueDep) -> Models:
    """The served models, each of which also answers `:explain`."""
    return Models(models=list(catalogue.names))


@router.post(
    "/{model}:predict", name="v1_predict",
    summary="KServe V1: class scores of pictures", responses=protocol_errors(*STATUSES),
    openapi_extra=json_body(Instances),
)  # fmt: skip
async def predict(
    instances: SentDep, pipeline: PipelineInPathDep, run_all: Annotated[RunAll, Depends()]
) -> Predictions:
    """Each prediction is a response of `/predict`. One invalid picture is an error for all.

    Options that only `:explain` uses are checked and have no effect, so that both take the same instances.
    """

    async def prediction(sent: Sent, timings: Timings) -> AnyPrediction:
        options = sent.asked.options()
        pipeline.check(options)
        answer = await pipeline.predict(sent.file, options.input, options.top_k, timings)
        return answer.model_copy(update={"warnings": [*answer.warnings, *sent.warnings]})

    work = [partial(prediction, sent) for sent in instances]
    return Predictions(predictions=await run_all.or_fail(work, "instances"))


@router.post(
    "/{model}:explain", name="v1_explain",
    summary="KServe V1: explanations of pictures", responses=protocol_errors(*STATUSES),
    response_model=Explanations, openapi_extra=json_body(Instances),
)  # fmt: skip
async def explain(
    instances: SentDep, pipeline: PipelineInPathDep, run_all: Annotated[RunAll, Depends()]
) -> Response:
    """Each explanation is a response of `/explain`. One invalid picture is an error for all."""
    asked = results_or_error([_options_or_error(sent) for sent in instances], "instances")

    async def explanation(
        sent: Sent, options: ExplainOptions, values: bool, timings: Timings
    ) -> representations.Parts:
        write = partial(representations.parts, values=values, warnings=sent.warnings)
        return await pipeline.explain(sent.file, options, timings, write)

    work = [partial(explanation, sent, *one) for sent, one in zip(instances, asked, strict=True)]
    places = places_of([options.samples for options, _ in asked])
    answers = await run_all.or_fail(work, "instances", places)
    predictions = b",".join([answer.prediction for answer in answers])
    explanations = b",".join([answer.explanation for answer in answers])
    body = b'{"predictions":[%s],"explanations":[%s]}' % (predictions, explanations)
    return Response(body, media_type="application/json")


def _options_or_error(sent: Sent) -> tuple[ExplainOptions, bool] | Exception:
    """Return the options of an explanation and whether its values are sent, or what is wrong with them."""
    try:
        return sent.asked.options(), sent.asked.values
    except LRPServeError as error:
        return error


# Registered after the verbs, since its path also matches `NAME:predict`.
@router.get(
    "/{model}", name="v1_model_ready",
    summary="KServe V1: is the model ready?", responses=protocol_errors(404, 422, 503),
)  # fmt: skip
async def ready(readiness: ReadinessDep, pipeline: PipelineInPathDep) -> ModelReady:
    """200 once a warm-up explanation has run, 503 before."""
    refuse_unready(readiness)
    return ModelReady(name=pipeline.card.name, ready=True)
