"""JSON of requests of KServe V1: instances of any kind of input, each with its options."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, cast

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

from app.api.protocols.common import Expected, Option

OPTIONS = TypeAdapter(dict[str, Option])


class AnyInstance(BaseModel, ABC):
    """One input, and the options of its explanation; each kind of input has a subclass."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    @model_validator(mode="after")
    def _options(self, info: ValidationInfo) -> "AnyInstance":
        OPTIONS.validate_python(cast("Expected", info.context).options_of(self.__pydantic_extra__))
        return self

    @property
    @abstractmethod
    def upload(self) -> Any:
        """The input, as the modality decodes it."""


InstanceT = TypeVar("InstanceT", bound=AnyInstance)


class AnyInstances(BaseModel, Generic[InstanceT]):
    """Inputs of one kind, which has a subclass; V1 calls them `instances` or `inputs`.

    Other members are ignored. Options among them are listed in `warnings`: they belong into each instance.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    instances: list[InstanceT] = Field(
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
            cast("Expected", info.context).check_count(len(given), "instances")
        return given
