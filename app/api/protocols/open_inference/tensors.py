"""Tensors of the Open Inference Protocol: pictures out of them, results into them, as JSON or as bytes."""

import base64
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.api.http.errors import BadRequestError
from app.api.protocols.common import Expected, check_count, picture
from app.api.protocols.open_inference.schemas import (
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from app.errors import InvalidParameterError
from app.modalities.image.arrays import to_file
from app.serving.rendering import Upload
from app.serving.representations import Tensors

LENGTH = struct.Struct("<I")
"""Before each element of a binary BYTES tensor."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """A request."""

    id: str | None
    images: list[Upload]
    """Tensors (channels, height, width) in 0…1, or files."""
    options: dict[str, Any]
    ignored: list[str]
    """Names of parameters that have no effect."""
    outputs: list[RequestOutput]
    """Empty: all."""
    binary: bool
    """Send the data of outputs that do not say otherwise behind the JSON."""


def read(content: bytes, json_length: int, expected: Expected) -> Asked:
    """Parse a request: JSON, and the bytes behind it; runs in another process."""
    request = expected.parse(InferenceRequest, content[:json_length])
    parameters = request.parameters.__pydantic_extra__
    pictures = _images(request.inputs[0], content[json_length:], expected.input_size)
    check_count(len(pictures), expected.pictures, "image")
    return Asked(
        request.id,
        pictures,
        expected.options_of(parameters),
        expected.ignored(parameters),
        request.outputs,
        request.parameters.binary_data_output,
    )


def _images(tensor: RequestInput, binary: bytes, input_size: Sequence[int]) -> list[Upload]:
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        raise BadRequestError(
            "image: send either data, or binary_data_size and so many bytes behind the JSON"
        )
    if size is not None and size != len(binary):
        raise BadRequestError(
            f"image: binary_data_size is {size}, but {len(binary)} bytes are behind the JSON"
        )
    if tensor.datatype == "UINT8":
        return list(map(to_file, _bytes_to_pixels(tensor.data, binary, tensor.shape, input_size[0])))
    files = tensor.datatype == "BYTES"
    if (tensor.shape[1:] not in ([], [1])) if files else (tensor.shape[1:] != list(input_size)):
        expected = "[N]" if files else f"[N, {', '.join(map(str, input_size))}]"
        raise BadRequestError(f"image: {tensor.datatype} of shape {tensor.shape}; {expected} is expected")
    if files:
        elements = list(_elements(binary)) if tensor.data is None else _texts(tensor.data)
        if len(elements) != math.prod(tensor.shape):
            raise BadRequestError(f"image: {len(elements)} elements for the shape {tensor.shape}")
        return list(map(picture, elements))
    return list(_pixels(tensor.data, binary, tensor.shape))


def _pixels(data: list[Any] | None, binary: bytes, shape: Sequence[int]) -> Floats:
    """(N, channels, height, width) out of numbers, nested or flat, or of their bytes."""
    try:
        values = np.frombuffer(binary, "<f4") if data is None else _numbers(data)
        pixels = values.reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError(f"image: the data are not FP32 numbers for the shape {list(shape)}") from None
    if not ((pixels >= 0) & (pixels <= 1)).all():  # false for NaN, too
        raise InvalidParameterError("image", "pixels must be from 0 to 1; divide bytes by 255")
    return pixels


def _bytes_to_pixels(
    data: list[Any] | None, binary: bytes, shape: Sequence[int], channels: int
) -> npt.NDArray[np.uint8]:
    """(N, height, width, channels) of any size out of numbers from 0 to 255, nested or flat, or of their bytes.

    The channels are first or last, as ``shape`` says; they are first where both are possible.
    """
    if len(shape) != 4 or 0 in shape[1:] or channels not in (shape[1], shape[3]):
        raise BadRequestError(
            f"image: UINT8 of shape {list(shape)}; [N, {channels}, H, W] or [N, H, W, {channels}] is expected"
        )
    try:
        values = np.frombuffer(binary, np.uint8) if data is None else _whole_numbers(data)
        pixels = values.reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError(
            f"image: the data are not whole numbers from 0 to 255 for the shape {list(shape)}"
        ) from None
    return pixels.transpose(0, 2, 3, 1) if shape[1] == channels else pixels  # (N, C, H, W) -> (N, H, W, C)


def _whole_numbers(data: list[Any]) -> npt.NDArray[np.uint8]:
    """Nested or flat whole numbers from 0 to 255 as an array; raises what NumPy does."""
    values = np.asarray(data, object)
    if set(map(type, values.flat)) != {int} or min(values.flat) < 0 or max(values.flat) > 255:
        raise ValueError
    return values.astype(np.uint8)


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


def write(
    answer: InferenceResponse, outputs: Sequence[RequestOutput], binary: bool, inferred: Sequence[Tensors]
) -> tuple[bytes, int | None]:
    """Return the body of a response with these outputs, and the length of its JSON if bytes are behind it.

    Runs in another process.
    """
    tensors = [_tensor(output, binary, inferred) for output in outputs]
    answer = answer.model_copy(update={"outputs": [described for described, _ in tensors]})
    head = answer.model_dump_json(exclude_defaults=True).encode()
    behind = [content for _, content in tensors if content is not None]
    return b"".join([head, *behind]), len(head) if behind else None


def _tensor(
    output: RequestOutput, binary_by_default: bool, inferred: Sequence[Tensors]
) -> tuple[ResponseOutput, bytes | None]:
    """One output of all pictures, and its bytes where it is to go behind the JSON."""
    asked_for = output.parameters.binary_data
    binary = binary_by_default if asked_for is None else asked_for
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
