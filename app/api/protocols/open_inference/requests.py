"""Requests of the Open Inference Protocol: their JSON and the bytes behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.api.protocols.common import Expected, parsed
from app.api.protocols.kinds.registry import KINDS
from app.api.protocols.open_inference.schemas import RequestOutput
from app.serving.rendering import Upload


@dataclass(frozen=True)
class Asked:
    """A request."""

    id: str | None
    input: str
    """Name of the tensor of inputs."""
    uploads: Sequence[Upload]
    """Inputs, as the modality decodes them."""
    options: dict[str, Any]
    ignored: list[str]
    """Names of parameters that have no effect."""
    outputs: list[RequestOutput]
    """Empty: all."""
    binary: bool
    """Send the data of outputs that do not say otherwise behind the JSON."""


def read(content: bytes, json_length: int, expected: Expected) -> Asked:
    """Parse a request: JSON, and the bytes behind it; runs in another process."""
    kind, head = KINDS[expected.kind], content[:json_length]
    expected.check(head)
    request = parsed(kind.request, head, expected)
    parameters = request.parameters.__pydantic_extra__
    (tensor,) = request.inputs
    uploads = kind.inputs(tensor, content[json_length:], expected)
    expected.check_count(len(uploads), tensor.name)
    return Asked(
        request.id,
        tensor.name,
        uploads,
        expected.options_of(parameters),
        expected.ignored(parameters),
        request.outputs,
        request.parameters.binary_data_output,
    )
