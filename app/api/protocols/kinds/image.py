"""Pictures in the serving protocols."""

import base64
import binascii
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator
from pydantic.json_schema import SkipJsonSchema

from app.api.http.errors import BadRequestError
from app.api.kinds.image import IMAGE
from app.api.protocols.common import Expected
from app.api.protocols.instances import AnyInstance, AnyInstances
from app.api.protocols.kinds.protocol import KindInProtocols, Output, Size, png, relevance
from app.api.protocols.open_inference.schemas import AnyInferenceRequest, InputTensor, TensorMetadata
from app.api.protocols.open_inference.tensors import Floats, check_data, elements, floats, unexpected_shape
from app.errors import InvalidParameterError
from app.modalities.image.arrays import to_file
from app.models.card import ModelCard
from app.models.image_card import image_card

WHITESPACE = b" \t\r\n"
URL_SAFE = bytes.maketrans(b"-_", b"+/")
DATA_URL = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)


class Base64(BaseModel):
    """A picture file."""

    b64: str = Field(description="The file, base64.")


class Instance(AnyInstance):
    """One picture, in one of three members, and the options of `/explain`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"image": {"b64": "iVBORw0KGgo…"}, "target": "{{class}}"}],
            "oneOf": [{"required": [field]} for field in ("image", "b64", "data")],
        },
    )

    image: Base64 | SkipJsonSchema[None] = None
    b64: str | SkipJsonSchema[None] = Field(None, description="The file, base64.")
    data: str | SkipJsonSchema[None] = Field(None, description="The file, base64.")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        return {"b64": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_picture(self) -> "Instance":
        if sum(field is not None for field in (self.image, self.b64, self.data)) != 1:
            raise ValueError('send one picture, as {"image": {"b64": "…"}}')
        return self

    @property
    def upload(self) -> bytes:
        """The picture's file."""
        text = self.image.b64 if self.image else self.b64 or self.data or ""
        return picture(text.encode())


class Instances(AnyInstances[Instance]):
    """Pictures; V1 calls them `instances` or `inputs`. Other members, such as `signature_name`, are ignored.

    Options among them are listed in `warnings`: they belong into each instance.
    """


class RequestInput(InputTensor):
    """Pictures: their pixels, or their files."""

    name: Literal["image"]
    shape: list[NonNegativeInt] = Field(
        min_length=1,
        max_length=4,
        description="{{tensor_shape}} of FP32, [N] or [N, 1] of BYTES, "
        "[N, channels, H, W] or [N, H, W, channels] of UINT8.",
        examples=[[1]],
    )
    datatype: Literal["FP32", "BYTES", "UINT8"]
    data: list[Any] | None = Field(
        None,
        description="FP32: pixels in 0…1; BYTES: picture files, base64; UINT8: pixels in 0…255.",
        examples=[["iVBORw0KGgo…"]],
    )


class InferenceRequest(AnyInferenceRequest[RequestInput]):
    """Pictures, what is wanted of them, and the options of `/explain` as parameters."""


def picture(element: bytes) -> bytes:
    """Decode a picture file in base64: standard or URL-safe, with or without padding, or as a ``data:`` URL.

    Bytes that are not base64 are returned unchanged: they are the file itself.
    """
    url = DATA_URL.match(element)
    text = element[url.end() if url else 0 :].translate(URL_SAFE, WHITESPACE).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return element


def _size(card: ModelCard) -> Size:
    shape = image_card(card).input_size
    return Size(math.prod(shape), shape=shape)


def _inputs(tensor: InputTensor, binary: bytes, expected: Expected) -> Sequence[Any]:
    check_data(tensor, binary)
    if tensor.datatype == "UINT8":
        return [to_file(pixels) for pixels in _bytes_to_pixels(tensor, binary, expected.shape[0])]
    if tensor.datatype == "BYTES":
        found = elements(tensor, binary, "base64 strings")
        return [picture(one.encode() if isinstance(one, str) else one) for one in found]
    return list(_pixels(tensor, binary, expected.shape))


def _pixels(tensor: InputTensor, binary: bytes, shape: Sequence[int]) -> Floats:
    """(N, channels, height, width) out of numbers, nested or flat, or of their bytes."""
    pixels = floats(tensor, binary, shape)
    if not ((pixels >= 0) & (pixels <= 1)).all():  # false for NaN, too
        raise InvalidParameterError("image", "pixels must be from 0 to 1; divide bytes by 255")
    return pixels


def _bytes_to_pixels(tensor: InputTensor, binary: bytes, channels: int) -> npt.NDArray[np.uint8]:
    """(N, height, width, channels) of any size out of numbers from 0 to 255, nested or flat, or of their bytes.

    The channels are first or last, as the shape says; they are first where both are possible.
    """
    shape = tensor.shape
    if len(shape) != 4 or 0 in shape[1:] or channels not in (shape[1], shape[3]):
        raise unexpected_shape(tensor, f"[N, {channels}, H, W] or [N, H, W, {channels}]")
    try:
        values = np.frombuffer(binary, np.uint8) if tensor.data is None else _whole_numbers(tensor.data)
        pixels = values.reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError(
            f"image: the data are not whole numbers from 0 to 255 for the shape {shape}"
        ) from None
    return pixels.transpose(0, 2, 3, 1) if shape[1] == channels else pixels  # (N, C, H, W) -> (N, H, W, C)


def _whole_numbers(data: list[Any]) -> npt.NDArray[np.uint8]:
    """Nested or flat whole numbers from 0 to 255 as an array; raises what NumPy does."""
    values = np.asarray(data, object)
    if set(map(type, values.flat)) != {int} or min(values.flat) < 0 or max(values.flat) > 255:
        raise ValueError
    return values.astype(np.uint8)


def _metadata(card: ModelCard) -> TensorMetadata:
    shape = image_card(card).input_size
    others = ("BYTES [-1]", f"UINT8 [-1,{shape[0]},-1,-1]", f"UINT8 [-1,-1,-1,{shape[0]}]")
    return TensorMetadata(
        name="image", datatype="FP32", shape=[-1, *shape], parameters={"alternatives": "; ".join(others)}
    )


IMAGE_IN_PROTOCOLS = KindInProtocols(
    over_http=IMAGE,
    item="picture",
    most=lambda limits: limits.max_pictures,
    size=_size,
    instances=Instances,
    request=InferenceRequest,
    inputs=_inputs,
    metadata=_metadata,
    outputs={
        "relevance": Output("FP32", lambda card: image_card(card).input_size, relevance),
        "heatmap_png": Output("BYTES", lambda _: (), png),
    },
)
