"""The Open Inference Protocol, V2: ``/v2``, metadata and ``infer``, with Triton's binary tensors.

It has no verb for explanations, so there are two models for each network: the network, and the same with ``-lrp``
behind its name, which has relevance and drawings of it among its outputs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from app.api.concurrency import RunAllDep
from app.api.dependencies import CatalogueDep, LimitsDep, ModelName, ReadinessDep, TimingsDep, note_model
from app.api.http.errors import BadRequestError, NotFoundError
from app.api.http.query import none_at_all
from app.api.http.upload import refuse_compressed
from app.api.openapi import (
    BINARY,
    BINARY_ANSWER,
    JSON_LENGTH,
    json_body,
    json_or_binary,
    protocol_errors,
)
from app.api.protocols.common import (
    STATUSES,
    Version,
    known,
    parse_options,
    parsed,
)
from app.api.protocols.kinds.protocol import explained, score_metadata, scores
from app.api.protocols.kinds.registry import KINDS
from app.api.protocols.open_inference.requests import Asked, read
from app.api.protocols.open_inference.schemas import (
    InferenceReady,
    InferenceResponse,
    ModelMetadata,
    RepositoryIndexRequest,
    RepositoryModel,
    RequestOutput,
    ServerMetadata,
    TensorMetadata,
)
from app.api.protocols.open_inference.tensors import Value, write
from app.api.routes.health import refuse_unready
from app.errors import InvalidParameterError, TooLargeError
from app.models.card import TWIN_SUFFIX, Kind
from app.serving.answers import RenderedExplanation
from app.serving.pipeline import Pipeline
from app.serving.rendering import Upload
from app.serving.requests import ExplainOptions, places_of
from app.serving.timings import Timings

ROUTER: Mapping[str, Any] = {
    "prefix": "/v2",
    "tags": ["Open Inference Protocol"],
    "dependencies": [Depends(none_at_all)],
}
router = APIRouter(**ROUTER)
"""The routes that are the same for all kinds of input."""

PLATFORM = "pytorch_safetensors"
JSON_LENGTHS = re.compile("[0-9]{1,18}")
"""What the length of the JSON may be: of thousands of digits Python makes no number."""
MAX_INDEX_REQUEST_BYTES = 2**12
"""Bytes of a request for the list of models, which is parsed on the event loop."""
NOT_HERE = ("format", "values", "top_k")
"""Options of `/explain` that would change the shape of the answer."""


async def served(request: Request, catalogue: CatalogueDep, model: ModelName) -> Pipeline:
    """Return the pipeline of a model, or of the one that explains it; raises `UnknownModelError`."""
    known(model, [name for one in catalogue.names for name in (one, one + TWIN_SUFFIX)])
    return note_model(request, catalogue.find(model.removesuffix(TWIN_SUFFIX)))


Served = Annotated[Pipeline, Depends(served)]


async def served_version(pipeline: Served, version: Version) -> None:
    """Raise `UnknownModelError` for another version."""
    known(version, [pipeline.card.version])


async def read_request(request: Request, limits: LimitsDep, pipeline: Served, timings: TimingsDep) -> Asked:
    """The request in the body, whatever its Content-Type says; raises 400, 413 or 415."""
    refuse_compressed(request)
    body = await request.body()
    length = request.headers.get(JSON_LENGTH, str(len(body)))
    if not JSON_LENGTHS.fullmatch(length) or int(length) > len(body):
        raise BadRequestError(f"{JSON_LENGTH} is not a part of the body's {len(body)} bytes")
    expected = KINDS[pipeline.card.kind].expected(pipeline.card, limits)
    return await pipeline.read(timings, read, body, int(length), expected)


VERSION_SERVED = [Depends(served_version)]
VERSIONS = "/models/{model}/versions/{version}"


@router.get("/", include_in_schema=False)  # as the protocol's OpenAPI has it; its text has no slash
@router.get(
    "",
    name="v2_server_metadata",
    summary="Open Inference Protocol: what the server is",
    responses=protocol_errors(422),
)
async def server(request: Request) -> ServerMetadata:
    """Name, version and extensions."""
    return ServerMetadata(name="lrpserve", version=request.app.version, extensions=["binary_tensor_data"])


@router.post(
    "/repository/index",
    name="v2_repository_index",
    summary="Open Inference Protocol: the models that are served",
    responses=protocol_errors(400, 413, 422),
    openapi_extra=json_body(RepositoryIndexRequest, required=False),
)
async def repository_index(
    request: Request, catalogue: CatalogueDep, readiness: ReadinessDep
) -> list[RepositoryModel]:
    """Name, version and state of each model, and of the one that explains it."""
    refuse_compressed(request)
    body = await request.body()
    if len(body) > MAX_INDEX_REQUEST_BYTES:
        raise TooLargeError(
            f'the body is larger than {MAX_INDEX_REQUEST_BYTES} bytes; send {{"ready": true}} or none'
        )
    asked = parsed(RepositoryIndexRequest, body or b"{}")
    is_ready = readiness.obstacle is None
    if asked.ready and not is_ready:
        return []
    return [
        RepositoryModel(
            name=name,
            version=one.card.version,
            state="READY" if is_ready else "UNAVAILABLE",
            reason=readiness.obstacle or one.fault or "",
        )
        for one in catalogue
        for name in (one.card.name, one.card.name + TWIN_SUFFIX)
    ]


@router.get("/models/stats", include_in_schema=False)
@router.get("/models/{model}/stats", include_in_schema=False)
@router.get(VERSIONS + "/stats", include_in_schema=False)
async def statistics() -> None:
    """Raise 404: clients of Triton call these addresses."""
    raise NotFoundError(
        "there are no statistics here; GET /metrics has counters and latencies for Prometheus"
    )


@router.get("/models/{model}/config", include_in_schema=False)
@router.get(VERSIONS + "/config", include_in_schema=False)
async def config() -> None:
    """Raise 404, as `statistics`."""
    raise NotFoundError("there is no configuration here; GET /v2/models/MODEL has inputs and outputs")


@router.get(
    VERSIONS,
    name="v2_model_version_metadata",
    summary="The same of one version",
    response_model_exclude_defaults=True,
    dependencies=VERSION_SERVED,
    responses=protocol_errors(404, 422),
)
@router.get(
    "/models/{model}", name="v2_model_metadata",
    summary="Open Inference Protocol: what a model takes and gives",
    responses=protocol_errors(404, 422), response_model_exclude_defaults=True,
)  # fmt: skip
async def metadata(pipeline: Served, model: ModelName) -> ModelMetadata:
    """Inputs and outputs. The input's parameters say more of it: other datatypes, or the columns of a table."""
    card, kind = pipeline.card, KINDS[pipeline.card.kind]
    outputs = kind.outputs if model.endswith(TWIN_SUFFIX) else {}
    return ModelMetadata(
        name=model,
        versions=[card.version],
        platform=PLATFORM,
        inputs=[kind.metadata(card)],
        outputs=[
            *score_metadata(card),
            *(
                TensorMetadata(name=name, datatype=output.datatype, shape=[-1, *output.shape(card)])
                for name, output in outputs.items()
            ),
        ],
    )


@router.get(
    VERSIONS + "/ready", name="v2_model_version_ready",
    summary="The same of one version", dependencies=VERSION_SERVED,
    responses=protocol_errors(404, 422, 503),
)  # fmt: skip
@router.get(
    "/models/{model}/ready", name="v2_model_ready",
    summary="Open Inference Protocol: is a model ready?", dependencies=[Depends(served)],
    responses=protocol_errors(404, 422, 503),
)  # fmt: skip
async def ready(readiness: ReadinessDep, model: ModelName) -> InferenceReady:
    """200 once a warm-up explanation has run, 503 before."""
    refuse_unready(readiness)
    return InferenceReady(name=model, ready=True)


async def infer(
    model: ModelName,
    asked: Annotated[Asked, Depends(read_request)],
    pipeline: Served,
    run_all: RunAllDep,
    timings: TimingsDep,
) -> Response:
    """The metadata list the input and the outputs of each model.

    `image` is FP32 {{tensor_shape}} in 0…1, or BYTES [N]: picture files, base64 in JSON, or UINT8 of any size.
    `text` is BYTES [N], the texts themselves. `features` is FP32 [N, columns]: numbers in their units, and 1 or 0
    for each category. With Triton's binary tensors, BYTES are the files themselves, and so is `heatmap_png`.
    """
    kind = KINDS[pipeline.card.kind]
    described = await metadata(pipeline, model)
    wanted = _wanted(asked.outputs, [output.name for output in described.outputs])
    parameters = parse_options(kind.over_http.explain, asked.options, NOT_HERE)
    options = replace(parameters.options(), top_k=len(pipeline.card.classes))
    places = len(asked.uploads)
    if model.endswith(TWIN_SUFFIX):
        names = frozenset(output.name for output in wanted)
        work = [partial(_explain, pipeline, options, names, upload) for upload in asked.uploads]
        places = places_of([options.samples] * len(asked.uploads))
        ignored = asked.ignored
    else:
        pipeline.check(options)
        work = [partial(_predict, pipeline, options.input, upload) for upload in asked.uploads]
        used = kind.over_http.predict.model_fields
        ignored = [name for name in asked.options if name not in used] + asked.ignored
    inferred = await run_all.or_fail(work, asked.input, places)
    answer = InferenceResponse(
        model_name=model,
        model_version=pipeline.card.version,
        id=asked.id,
        parameters={"ignored": ", ".join(ignored)} if ignored else {},
        outputs=[],
    )
    body, json_length = await pipeline.write(timings, write, answer, wanted, asked.binary, inferred)
    if json_length is None:
        return Response(body, media_type="application/json")
    return Response(body, media_type=BINARY, headers={JSON_LENGTH: str(json_length)})


def create_router(kinds: Sequence[Kind]) -> APIRouter:
    """Return the routes; OpenAPI describes requests with these ``kinds`` of input."""
    verbs = APIRouter(**ROUTER)
    described: dict[str, Any] = {
        "response_model": InferenceResponse,
        "responses": {**protocol_errors(*STATUSES), **BINARY_ANSWER},
        "openapi_extra": json_or_binary([KINDS[kind].request for kind in kinds]),
    }
    verbs.post(
        VERSIONS + "/infer", name="v2_model_version_infer",
        summary="The same of one version", dependencies=VERSION_SERVED, **described,
    )(infer)  # fmt: skip
    verbs.post(
        "/models/{model}/infer", name="v2_model_infer",
        summary="Open Inference Protocol: scores, relevance and drawings of it for several inputs", **described,
    )(infer)  # fmt: skip
    whole = APIRouter()
    whole.include_router(router)
    whole.include_router(verbs)
    return whole


async def _predict(pipeline: Pipeline, options: Any, upload: Upload, timings: Timings) -> Mapping[str, Value]:
    return scores(await pipeline.predict(upload, options, len(pipeline.card.classes), timings))


async def _explain(
    pipeline: Pipeline, options: ExplainOptions, names: frozenset[str], upload: Upload, timings: Timings
) -> Mapping[str, Value]:
    write_tensors = partial(_tensors, pipeline.card.kind, names)
    return await pipeline.explain(upload, options, timings, write_tensors)


def _tensors(kind: Kind, names: frozenset[str], explanation: RenderedExplanation) -> Mapping[str, Value]:
    """The outputs of one input that have these ``names``, and its scores; runs in another process."""
    return explained(explanation, KINDS[kind].outputs, names)


def _wanted(asked: Sequence[RequestOutput], offered: Sequence[str]) -> Sequence[RequestOutput]:
    """The outputs to send, in the order asked for; all where none is named."""
    for output in asked:
        if output.name not in offered:
            raise InvalidParameterError("outputs", f"no {output.name!r}; there are {', '.join(offered)}")
    return asked or [RequestOutput(name=name) for name in offered]
