"""JSON of the Open Inference Protocol: requests, answers and metadata."""

from typing import Any, Generic, Literal, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)

from app.api.protocols.common import Expected, Scalar

OPTIONS = TypeAdapter(dict[str, Scalar])
NOT_SUPPORTED = ("classification", "shared_memory_region")
"""Triton's parameters of an output that change where or as what its data are returned."""


class _Message(BaseModel):
    """Unknown members, and null for a known one, are ignored, as by Triton and KServe."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            name: value for name, value in given.items() if value is not None or name not in cls.model_fields
        }


class TensorMetadata(_Message):
    """One input or output; -1 is the number of inputs, or a size that depends on them."""

    name: str = Field(examples=["image"])
    datatype: str = Field(examples=["FP32"])
    shape: list[int] = Field(examples=["{{input_shape}}"])
    parameters: dict[str, str] = Field(
        {},
        description="Of an input: `alternatives`, other datatypes and shapes that it may have; `columns` and "
        "`units`, of the features of a table, as JSON.",
    )


class ServerMetadata(_Message):
    """What the server is."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(_Message):
    """What a model takes and gives."""

    name: str = Field(examples=["{{name}}"])
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RepositoryIndexRequest(_Message):
    """Which models are listed."""

    ready: bool | None = Field(None, description="Only models that are ready.")


class RepositoryModel(_Message):
    """One model that is served."""

    name: str = Field(examples=["{{name}}"])
    version: str = Field(examples=["{{version}}"])
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(
        description="Why it is not ready, or what was wrong with its last results; else empty."
    )


class InferenceReady(_Message):
    """The model takes requests."""

    name: str
    ready: bool


class InputParameters(_Message):
    """Of an input tensor."""

    binary_data_size: NonNegativeInt | None = Field(
        None, description="So many bytes behind the JSON are the data."
    )


class InputTensor(_Message):
    """A tensor of inputs; each kind of input has a subclass, with its name, datatypes and shapes."""

    name: str
    shape: list[NonNegativeInt]
    datatype: str
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = None


TensorT = TypeVar("TensorT", bound=InputTensor)


class OutputParameters(_Message):
    """Of a requested output."""

    binary_data: bool | None = Field(None, description="Send its data behind the JSON.")

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, given: Any) -> Any:
        """Raise ValueError for what would change the answer if it were supported."""
        for name in NOT_SUPPORTED:
            if isinstance(given, dict) and given.get(name):
                raise ValueError(f"{name} is not supported; leave it out")
        return given


class RequestOutput(_Message):
    """One output that is wanted."""

    name: str = Field(examples=["logits"])
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Message):
    """The options of an explanation; others are ignored, and listed in the response."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    binary_data_output: bool = Field(
        False, description="Send all outputs' data behind the JSON, but for those that say otherwise."
    )

    @model_validator(mode="after")
    def _options(self, info: ValidationInfo) -> "RequestParameters":
        if self.__pydantic_extra__:  # the default has none, and no context either
            OPTIONS.validate_python(cast("Expected", info.context).options_of(self.__pydantic_extra__))
        return self


class AnyInferenceRequest(_Message, Generic[TensorT]):
    """Inputs, what is wanted of them, and the options of an explanation as parameters; each kind of input has a
    subclass.
    """

    id: str | None = None
    parameters: RequestParameters = Field(RequestParameters(), examples=[{"target": "{{class}}"}])
    inputs: list[TensorT] = Field(min_length=1, max_length=1)
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
    parameters: dict[str, str] = Field(
        {}, description="`ignored`: names of the request's parameters that had no effect."
    )
    outputs: list[ResponseOutput]
