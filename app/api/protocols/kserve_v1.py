"""KServe's V1 protocol: ``/v1/models``, ``:predict`` and ``:explain``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, create_model

from app.api.concurrency import RunAllDep
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
from app.api.parameters import SingleParameters
from app.api.protocols.common import STATUSES, Expected, parse_options, results_or_error
from app.api.protocols.instances import AnyInstance
from app.api.protocols.kinds.registry import KINDS
from app.api.routes.health import refuse_unready
from app.errors import LRPServeError
from app.models.card import Kind
from app.serving import representations
from app.serving.pipeline import Pipeline
from app.serving.rendering import Upload
from app.serving.requests import ExplainOptions, places_of
from app.serving.schemas import Answer
from app.serving.timings import Timings

ROUTER: Mapping[str, Any] = {
    "prefix": "/v1/models",
    "tags": ["KServe V1"],
    "dependencies": [Depends(none_at_all)],
}
router = APIRouter(**ROUTER)
"""The routes that are the same for all kinds of input."""


class Models(BaseModel):
    """Names of the models that are served."""

    models: list[str] = Field(examples=[["{{name}}"]])


class ModelReady(BaseModel):
    """The model takes requests."""

    name: str = Field(examples=["{{name}}"])
    ready: bool


@dataclass(frozen=True)
class Sent:
    """One instance: its input, its options, and what has no effect in it."""

    upload: Upload
    options: dict[str, Any]
    warnings: tuple[str, ...]


def read(content: bytes, expected: Expected) -> list[Sent]:
    """Parse a request's body; runs in another process. Raises what is wrong with the first invalid instance."""
    kind = KINDS[expected.kind]
    expected.check(content)
    body = kind.instances_of(kind.instances, content, expected)
    misplaced = expected.misplaced(body.__pydantic_extra__)
    warnings = (f"ignored, belongs into an instance: {', '.join(misplaced)}",) if misplaced else ()
    return results_or_error([_sent(one, expected, warnings) for one in body.instances], "instances")


def _sent(instance: AnyInstance, expected: Expected, of_request: tuple[str, ...]) -> Sent | LRPServeError:
    members = instance.__pydantic_extra__
    try:
        names = expected.ignored(members)
    except LRPServeError as error:
        return error
    warnings = (f"ignored, no option: {', '.join(names)}",) if names else ()
    return Sent(instance.upload, expected.options_of(members), of_request + warnings)


async def read_instances(
    request: Request, limits: LimitsDep, pipeline: PipelineInPathDep, timings: TimingsDep
) -> list[Sent]:
    """Parse the inputs in the body; its Content-Type is ignored."""
    refuse_compressed(request)
    expected = KINDS[pipeline.card.kind].expected(pipeline.card, limits)
    return await pipeline.read(timings, read, await request.body(), expected)


SentDep = Annotated[list[Sent], Depends(read_instances)]


@router.get(
    "", name="v1_list_models", summary="KServe V1: the models that are served", responses=protocol_errors(422)
)
async def models(catalogue: CatalogueDep) -> Models:
    """The served models, each of which also answers `:explain`."""
    return Models(models=list(catalogue.names))


async def predict(instances: SentDep, pipeline: PipelineInPathDep, run_all: RunAllDep) -> Response:
    """Each prediction is a response of `/predict`, `/predict/text` or `/predict/table`, as the model takes
    pictures, texts or rows. One invalid input is an error for all.

    Options that only `:explain` uses are checked and have no effect, so that both take the same instances.
    """

    async def prediction(sent: Sent, timings: Timings) -> bytes:
        options = _asked(sent, pipeline).options()
        pipeline.check(options)
        answer = await pipeline.predict(sent.upload, options.input, options.top_k, timings)
        warnings = [*answer.warnings, *sent.warnings]
        return answer.model_copy(update={"warnings": warnings}).model_dump_json().encode()

    answers = await run_all.or_fail([partial(prediction, sent) for sent in instances], "instances")
    return Response(b'{"predictions":[%s]}' % b",".join(answers), media_type="application/json")


async def explain(instances: SentDep, pipeline: PipelineInPathDep, run_all: RunAllDep) -> Response:
    """Each explanation is a response of `/explain`, `/explain/text` or `/explain/table`. One invalid input is an
    error for all.
    """
    asked = results_or_error([_options_or_error(sent, pipeline) for sent in instances], "instances")

    async def explanation(
        sent: Sent, options: ExplainOptions, values: bool, timings: Timings
    ) -> tuple[bytes, bytes]:
        write = partial(representations.documents, values=values, warnings=sent.warnings)
        return await pipeline.explain(sent.upload, options, timings, write)

    work = [partial(explanation, sent, *one) for sent, one in zip(instances, asked, strict=True)]
    places = places_of([options.samples for options, _ in asked])
    explanations, predictions = zip(*await run_all.or_fail(work, "instances", places), strict=True)
    body = b'{"predictions":[%s],"explanations":[%s]}' % (b",".join(predictions), b",".join(explanations))
    return Response(body, media_type="application/json")


def create_router(kinds: Sequence[Kind]) -> APIRouter:
    """Return the routes; OpenAPI describes requests with these ``kinds`` of input."""
    served = [KINDS[kind] for kind in kinds]
    verbs = APIRouter(**ROUTER)
    body = json_body(*(kind.instances for kind in served))
    predictions = _one_of([kind.over_http.prediction for kind in served])
    explanations = _one_of([kind.over_http.explanation for kind in served])
    verbs.post(
        "/{model}:predict", name="v1_predict",
        summary="KServe V1: class scores of several inputs, or values that are predicted",
        responses=protocol_errors(*STATUSES), openapi_extra=body,
        response_model=create_model(
            "Predictions", __doc__="Prediction of each input, in the order sent.",
            predictions=(list[predictions], ...),  # type: ignore[valid-type]
        ),
    )(predict)  # fmt: skip
    verbs.post(
        "/{model}:explain", name="v1_explain",
        summary="KServe V1: explanations of several inputs",
        responses=protocol_errors(*STATUSES), openapi_extra=body,
        response_model=create_model(
            "Explanations", __doc__="Prediction and explanation of each input, in the order sent.",
            predictions=(list[predictions], ...), explanations=(list[explanations], ...),  # type: ignore[valid-type]
        ),
    )(explain)  # fmt: skip
    whole = APIRouter()
    whole.include_router(verbs)
    whole.include_router(router)  # after the verbs, since the path of `ready` also matches `NAME:predict`
    return whole


def _one_of(models: Sequence[type[Answer]]) -> Any:
    return reduce(or_, models)


def _asked(sent: Sent, pipeline: Pipeline) -> SingleParameters:
    """Return the options of an instance; raises `InvalidParameterError`."""
    return parse_options(KINDS[pipeline.card.kind].over_http.explain, sent.options, without=("format",))


def _options_or_error(sent: Sent, pipeline: Pipeline) -> tuple[ExplainOptions, bool] | Exception:
    """Return the options of an explanation and whether its values are sent, or what is wrong with them."""
    try:
        asked = _asked(sent, pipeline)
        return asked.options(), asked.values
    except LRPServeError as error:
        return error


@router.get(
    "/{model}", name="v1_model_ready",
    summary="KServe V1: is the model ready?", responses=protocol_errors(404, 422, 503),
)  # fmt: skip
async def ready(readiness: ReadinessDep, pipeline: PipelineInPathDep) -> ModelReady:
    """200 once a warm-up explanation has run, 503 before."""
    refuse_unready(readiness)
    return ModelReady(name=pipeline.card.name, ready=True)
