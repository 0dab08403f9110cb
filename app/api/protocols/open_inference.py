"""The Open Inference Protocol, V2: ``/v2``, metadata and ``infer``, with Triton's binary tensors.

It has no verb for explanations, so there are two models: the network, and the same with ``-lrp`` behind
its name, which has relevance and heatmaps among its outputs.
"""

import base64
import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from app.api.http.upload import refuse_compressed
from app.api.openapi import BINARY_ANSWER, JSON_LENGTH, json_or_binary, protocol_errors
from app.api.parameters import ExplainParameters, PredictParameters, none_at_all
from app.api.protocols.common import (
    STATUSES,
    ModelName,
    Scalar,
    Version,
    known,
    parse,
    parse_options,
    picture,
    together,
)
from app.api.routes.health import refuse_unready
from app.errors import BadRequestError, InvalidParameterError
from app.modalities.image.decoding import Fit
from app.serving.pipeline import Pipeline
from app.serving.rendering import Upload
from app.serving.representations import Tensors, scores, tensors
from app.serving.requests import ExplainOptions
from app.serving.timings import Timings

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], dependencies=[Depends(none_at_all)])

PLATFORM = "pytorch_safetensors"
EXPLAINS = "-lrp"
"""Behind the network's name: the model that explains it."""
JSON_LENGTHS = re.compile("[0-9]{1,18}")
"""What the length of the JSON may be: of thousands of digits Python makes no number."""
LENGTH = struct.Struct("<I")
"""Before each element of a binary BYTES tensor."""
NOT_HERE = ("format", "values", "top_k")
"""Options of `/explain` that would change the shape of the answer."""

Floats = npt.NDArray[np.float32]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TensorMetadata(_Message):
    """One input or output; -1 is the number of pictures."""

    name: str = Field(examples=["image"])
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(examples=[[-1, 3, 32, 32]])


class ServerMetadata(_Message):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(_Message):
    """What a model takes and gives."""

    name: str = Field(examples=["minivgg-cifar10"])
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InferenceReady(_Message):
    """The model takes requests."""

    name: str
    ready: bool


class InputParameters(_Message):
    """Of an input tensor."""

    binary_data_size: NonNegativeInt | None = Field(
        None, description="So many bytes behind the JSON are the data."
    )


class RequestInput(_Message):
    """Pictures: their pixels, or their files."""

    name: Literal["image"]
    shape: list[NonNegativeInt] = Field(
        min_length=1,
        max_length=4,
        description="[N, 3, 32, 32] of FP32, [N] or [N, 1] of BYTES.",
        examples=[[1]],
    )
    datatype: Literal["FP32", "BYTES"]
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = Field(
        None, description="FP32: pixels in 0…1; BYTES: picture files, base64.", examples=[["iVBORw0KGgo…"]]
    )


class OutputParameters(_Message):
    """Of a requested output."""

    binary_data: bool | None = Field(None, description="Send its data behind the JSON.")


class RequestOutput(_Message):
    """One output that is wanted."""

    name: str = Field(examples=["logits"])
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Message):
    """The options of `/explain`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Scalar]

    binary_data_output: bool = Field(
        False, description="Send all outputs' data behind the JSON, but for those that say otherwise."
    )


class InferenceRequest(_Message):
    """Pictures, what is wanted of them, and the options of `/explain` as parameters."""

    id: str | None = None
    parameters: RequestParameters = Field(RequestParameters(), examples=[{"target": "cat"}])
    inputs: list[RequestInput] = Field(min_length=1, max_length=1)
    outputs: list[RequestOutput] = Field([], max_length=4, description="None: all.")


class ResponseOutput(_Message):
    """One tensor, in row-major order."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] = {}
    data: list[float] | list[str] | None = None


class InferenceResponse(_Message):
    """The tensors that were asked for."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


@dataclass(frozen=True)
class Asked:
    """A request, with the bytes behind its JSON."""

    json: InferenceRequest
    binary: bytes


async def read_request(request: Request) -> Asked:
    """The request in the body, whatever its Content-Type says; raises 400, 413 or 415."""
    refuse_compressed(request)
    body = await request.body()
    length = request.headers.get(JSON_LENGTH, str(len(body)))
    if not JSON_LENGTHS.fullmatch(length) or int(length) > len(body):
        raise BadRequestError(f"{JSON_LENGTH} is not a part of the body's {len(body)} bytes")
    return Asked(parse(request, InferenceRequest, body[: int(length)]), body[int(length) :])


async def served(request: Request, model: ModelName) -> None:
    """Raise 404 for another model."""
    name = request.state.about_model.name
    known(model, [name, name + EXPLAINS])


async def served_version(request: Request, version: Version) -> None:
    """Raise 404 for another version."""
    known(version, [request.state.about_model.version])


SERVED = [Depends(served)]
VERSION_SERVED = [*SERVED, Depends(served_version)]
VERSIONS = "/models/{model}/versions/{version}"


@router.get("", summary="Open Inference Protocol: what the server is", responses=protocol_errors(422))
async def server(request: Request) -> ServerMetadata:
    """Name, version and extensions."""
    return ServerMetadata(name="lrpserve", version=request.app.version, extensions=["binary_tensor_data"])


@router.get(
    VERSIONS,
    summary="The same of one version",
    dependencies=VERSION_SERVED,
    responses=protocol_errors(404, 422),
)
@router.get(
    "/models/{model}", summary="Open Inference Protocol: what a model takes and gives",
    dependencies=SERVED, responses=protocol_errors(404, 422),
)  # fmt: skip
async def metadata(request: Request, model: ModelName) -> ModelMetadata:
    """Inputs and outputs. An image may be sent as BYTES, too: [N] picture files, base64 in JSON."""
    about = request.state.about_model
    image, classes = [-1, *about.input_size], [-1, len(about.classes)]
    outputs = {"logits": ("FP32", classes), "probabilities": ("FP32", classes)}
    if model.endswith(EXPLAINS):
        outputs |= {"relevance": ("FP32", image), "heatmap_png": ("BYTES", [-1])}
    return ModelMetadata(
        name=model,
        versions=[about.version],
        platform=PLATFORM,
        inputs=[TensorMetadata(name="image", datatype="FP32", shape=image)],
        outputs=[
            TensorMetadata(name=name, datatype=datatype, shape=shape)
            for name, (datatype, shape) in outputs.items()
        ],
    )


@router.get(
    VERSIONS + "/ready", summary="The same of one version", dependencies=VERSION_SERVED,
    responses=protocol_errors(404, 422, 503),
)  # fmt: skip
@router.get(
    "/models/{model}/ready", summary="Open Inference Protocol: is a model ready?", dependencies=SERVED,
    responses=protocol_errors(404, 422, 503),
)  # fmt: skip
async def ready(request: Request, model: ModelName) -> InferenceReady:
    """200 once a warm-up explanation has run, 503 before."""
    refuse_unready(request)
    return InferenceReady(name=model, ready=True)


@router.post(
    VERSIONS + "/infer", summary="The same of one version", dependencies=VERSION_SERVED,
    response_model=InferenceResponse, responses={**protocol_errors(*STATUSES), **BINARY_ANSWER},
    openapi_extra=json_or_binary(InferenceRequest),
)  # fmt: skip
@router.post(
    "/models/{model}/infer", summary="Open Inference Protocol: scores, relevance and heatmaps of pictures",
    dependencies=SERVED, response_model=InferenceResponse,
    responses={**protocol_errors(*STATUSES), **BINARY_ANSWER}, openapi_extra=json_or_binary(InferenceRequest),
)  # fmt: skip
async def infer(
    request: Request, model: ModelName, asked: Annotated[Asked, Depends(read_request)]
) -> Response:
    """`image` is FP32 [N, 3, 32, 32] in 0…1, or BYTES [N]: picture files, base64 in JSON.

    With Triton's binary tensors, BYTES are the files themselves, and so is `heatmap_png`.
    """
    about = await metadata(request, model)
    wanted = _wanted(asked.json, [output.name for output in about.outputs])
    images = _images(asked, request.state.about_model.input_size)
    parameters = asked.json.parameters.__pydantic_extra__
    pipeline: Pipeline = request.state.pipeline
    if model.endswith(EXPLAINS):
        options = replace(parse_options(ExplainParameters, parameters, NOT_HERE).options(), top_k=None)
        work = [partial(_explain, pipeline, options, image) for image in images]
    else:
        fit = parse_options(PredictParameters, parameters, NOT_HERE).fit
        work = [partial(_predict, pipeline, fit, image) for image in images]
    inferred = await together(request, work, "image")
    outputs = [_tensor(output, asked.json, inferred) for output in wanted]
    answer = InferenceResponse(
        model_name=model,
        model_version=about.versions[0],
        id=asked.json.id,
        outputs=[tensor for tensor, _ in outputs],
    )
    return _respond(answer, [binary for _, binary in outputs if binary is not None])


async def _predict(pipeline: Pipeline, fit: Fit, image: Upload, timings: Timings) -> Tensors:
    return Tensors(*scores(await pipeline.predict(image, fit, None, timings)))


async def _explain(pipeline: Pipeline, options: ExplainOptions, image: Upload, timings: Timings) -> Tensors:
    return await pipeline.explain(image, options, timings, tensors)


def _wanted(asked: InferenceRequest, offered: Sequence[str]) -> list[RequestOutput]:
    """The outputs to send, in the order asked for; all where none is named."""
    for output in asked.outputs:
        if output.name not in offered:
            raise InvalidParameterError("outputs", f"no {output.name!r}; there are {', '.join(offered)}")
    return asked.outputs or [RequestOutput(name=name) for name in offered]


def _images(asked: Asked, input_size: Sequence[int]) -> list[Upload]:
    """The pictures of the request: tensors (3, 32, 32) in 0…1, or files."""
    tensor = asked.json.inputs[0]
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        raise BadRequestError(
            "image: send either data, or binary_data_size and so many bytes behind the JSON"
        )
    if size is not None and size != len(asked.binary):
        raise BadRequestError(
            f"image: binary_data_size is {size}, but {len(asked.binary)} bytes are behind the JSON"
        )
    files = tensor.datatype == "BYTES"
    if (tensor.shape[1:] not in ([], [1])) if files else (tensor.shape[1:] != list(input_size)):
        expected = "[N]" if files else f"[N, {', '.join(map(str, input_size))}]"
        raise BadRequestError(f"image: {tensor.datatype} of shape {tensor.shape}; {expected} is expected")
    if files:
        elements = list(_elements(asked.binary)) if tensor.data is None else _texts(tensor.data)
        if len(elements) != math.prod(tensor.shape):
            raise BadRequestError(f"image: {len(elements)} elements for the shape {tensor.shape}")
        return list(map(picture, elements))
    return list(_pixels(tensor.data, asked.binary, tensor.shape))


def _pixels(data: list[Any] | None, binary: bytes, shape: Sequence[int]) -> Floats:
    """(N, 3, 32, 32) out of numbers, nested or flat, or of their bytes."""
    try:
        values = np.frombuffer(binary, "<f4") if data is None else _numbers(data)
        pixels = values.reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError(f"image: the data are not FP32 numbers for the shape {list(shape)}") from None
    if not ((pixels >= 0) & (pixels <= 1)).all():  # false for NaN, too
        raise InvalidParameterError("image", "pixels must be from 0 to 1; divide bytes by 255")
    return pixels


def _numbers(data: list[Any]) -> Floats:
    """Nested or flat numbers as an array; raises what NumPy does. To it "0.5" and true are numbers as well."""
    values = np.asarray(data, object)
    if not set(map(type, values.flat)) <= {int, float}:
        raise TypeError
    return values.astype(np.float32)


def _texts(data: list[Any]) -> list[bytes]:
    if not all(isinstance(element, str) for element in data):
        raise BadRequestError("image: BYTES are given as a flat list of base64 strings")
    return [element.encode() for element in data]


def _elements(binary: bytes) -> Iterator[bytes]:
    """The elements of a binary BYTES tensor, each with its length before it."""
    position = 0
    while position < len(binary):
        start = position + LENGTH.size
        position = start + (LENGTH.unpack_from(binary, position)[0] if start <= len(binary) else 0)
        if start > len(binary) or position > len(binary):
            raise BadRequestError("image: the binary data end within an element")
        yield binary[start:position]


def _tensor(
    output: RequestOutput, asked: InferenceRequest, inferred: Sequence[Tensors]
) -> tuple[ResponseOutput, bytes | None]:
    """One output of all pictures, and its bytes where it is to go behind the JSON."""
    asked_for = output.parameters.binary_data
    binary = asked.parameters.binary_data_output if asked_for is None else asked_for
    values = [getattr(one, output.name) for one in inferred]
    if output.name == "heatmap_png":
        shape, datatype = [len(values)], "BYTES"
        content = b"".join(LENGTH.pack(len(png)) + png for png in values) if binary else b""
        data: Any = [base64.b64encode(png).decode() for png in values]
    else:
        array = np.asarray(values, "<f4")
        shape, datatype = list(array.shape), "FP32"
        content, data = array.tobytes(), array.ravel().tolist()
    described: Mapping[str, Any] = (
        {"parameters": {"binary_data_size": len(content)}} if binary else {"data": data}
    )
    return (
        ResponseOutput(name=output.name, datatype=datatype, shape=shape, **described),
        content if binary else None,
    )


def _respond(answer: InferenceResponse, binary: Sequence[bytes]) -> Response:
    head = answer.model_dump_json(exclude_defaults=True).encode()
    if not binary:
        return Response(head, media_type="application/json")
    body = b"".join([head, *binary])
    return Response(body, media_type="application/octet-stream", headers={JSON_LENGTH: str(len(head))})
