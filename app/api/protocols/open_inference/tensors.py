"""Tensors of the Open Inference Protocol: inputs out of them, results into them, as JSON or as bytes."""

import base64
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.api.http.errors import BadRequestError
from app.api.protocols.open_inference.schemas import (
    InferenceResponse,
    InputTensor,
    RequestOutput,
    ResponseOutput,
)

LENGTH = struct.Struct("<I")
"""Before each element of a binary BYTES tensor."""

Floats = npt.NDArray[np.float32]
Value = Sequence[float] | npt.NDArray[Any] | bytes | str
"""An output of one input: numbers, a file, or text."""


def check_data(tensor: InputTensor, binary: bytes) -> None:
    """Raise `BadRequestError` unless the data are either in JSON or all of the bytes behind it."""
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        raise BadRequestError(
            f"{tensor.name}: send either data, or binary_data_size and so many bytes behind the JSON"
        )
    if size is not None and size != len(binary):
        raise BadRequestError(
            f"{tensor.name}: binary_data_size is {size}, but {len(binary)} bytes are behind the JSON"
        )


def elements(tensor: InputTensor, binary: bytes, form: str) -> list[str] | list[bytes]:
    """Return the elements of BYTES [N] or [N, 1], text in JSON; ``form`` says in messages what they are there."""
    if tensor.shape[1:] not in ([], [1]):
        raise unexpected_shape(tensor, "[N]")
    found = (
        list(_binary_elements(tensor, binary)) if tensor.data is None else _texts(tensor, tensor.data, form)
    )
    if len(found) != tensor.shape[0]:
        raise BadRequestError(f"{tensor.name}: {len(found)} elements for the shape {tensor.shape}")
    return found


def floats(tensor: InputTensor, binary: bytes, shape: Sequence[int]) -> Floats:
    """Return FP32 numbers, nested or flat or as bytes, as (N, …) with N inputs of ``shape``."""
    if tensor.shape[1:] != list(shape):
        raise unexpected_shape(tensor, f"[N, {', '.join(map(str, shape))}]")
    try:
        values = np.frombuffer(binary, "<f4") if tensor.data is None else _numbers(tensor.data)
        return values.reshape(tensor.shape)
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError(
            f"{tensor.name}: the data are not FP32 numbers for the shape {tensor.shape}"
        ) from None


def unexpected_shape(tensor: InputTensor, expected: str) -> BadRequestError:
    """Return the error of a tensor that has not the ``expected`` shape."""
    return BadRequestError(
        f"{tensor.name}: {tensor.datatype} of shape {tensor.shape}; {expected} is expected"
    )


def _numbers(data: list[Any]) -> Floats:
    """Nested or flat numbers as an array; raises what NumPy does. To it "0.5" and true are numbers as well."""
    values = np.asarray(data, object)
    if not set(map(type, values.flat)) <= {int, float}:
        raise TypeError
    return values.astype(np.float32)


def _texts(tensor: InputTensor, data: list[Any], form: str) -> list[str]:
    if not all(isinstance(element, str) for element in data):
        raise BadRequestError(f"{tensor.name}: BYTES are given as a flat list of {form}")
    return data


def _binary_elements(tensor: InputTensor, binary: bytes) -> Iterator[bytes]:
    """The elements of a binary BYTES tensor, each with its length before it."""
    position = 0
    while position < len(binary):
        start = position + LENGTH.size
        position = start + (LENGTH.unpack_from(binary, position)[0] if start <= len(binary) else 0)
        if start > len(binary) or position > len(binary):
            raise BadRequestError(f"{tensor.name}: the binary data end within an element")
        yield binary[start:position]


def write(
    answer: InferenceResponse,
    outputs: Sequence[RequestOutput],
    binary: bool,
    inferred: Sequence[Mapping[str, Value]],
) -> tuple[bytes, int | None]:
    """Return the body of a response with these outputs, and the length of its JSON if bytes are behind it.

    ``inferred`` has the outputs of each input by name. Runs in another process.
    """
    tensors = [_tensor(output, binary, [one[output.name] for one in inferred]) for output in outputs]
    answer = answer.model_copy(update={"outputs": [described for described, _ in tensors]})
    head = answer.model_dump_json(exclude_defaults=True).encode()
    behind = [content for _, content in tensors if content is not None]
    return b"".join([head, *behind]), len(head) if behind else None


def _tensor(
    output: RequestOutput, binary_by_default: bool, values: Sequence[Value]
) -> tuple[ResponseOutput, bytes | None]:
    """One output of all inputs, and its bytes where it is to go behind the JSON."""
    asked_for = output.parameters.binary_data
    binary = binary_by_default if asked_for is None else asked_for
    datatype, shape, content, data = (
        _of_elements(values, binary) if isinstance(values[0], bytes | str) else _of_numbers(values)
    )
    described: Mapping[str, Any] = (
        {"parameters": {"binary_data_size": len(content)}} if binary else {"data": data}
    )
    return (
        ResponseOutput(name=output.name, datatype=datatype, shape=shape, **described),
        content if binary else None,
    )


def _of_elements(values: Sequence[Any], binary: bool) -> tuple[str, list[int], bytes, Any]:
    """Datatype, shape, bytes if ``binary``, and JSON of files and texts: in JSON, files are base64."""
    files = [value.encode() if isinstance(value, str) else value for value in values] if binary else []
    content = b"".join(LENGTH.pack(len(file)) + file for file in files)
    data = [value if isinstance(value, str) else base64.b64encode(value).decode() for value in values]
    return "BYTES", [len(values)], content, data


def _of_numbers(values: Sequence[Any]) -> tuple[str, list[int], bytes, Any]:
    """As `_of_elements`, of numbers."""
    array = _stacked([np.asarray(value, "<f4") for value in values])
    return "FP32", list(array.shape), array.tobytes(), array.ravel().tolist()


def _stacked(arrays: Sequence[Floats]) -> Floats:
    """Return arrays of the same number of axes as one, with zeros where one is shorter than others."""
    sizes = np.max([array.shape for array in arrays], axis=0)
    stacked = np.zeros((len(arrays), *sizes), "<f4")
    for row, array in zip(stacked, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return stacked
