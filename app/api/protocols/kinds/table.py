"""Rows of tables in the serving protocols."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, WithJsonSchema, model_validator

from app.api.kinds.table import TABLE
from app.api.protocols.common import Expected, parsed, validated
from app.api.protocols.instances import AnyInstance, AnyInstances
from app.api.protocols.kinds.protocol import MAX_NAMES, KindInProtocols, Output, Size, png, relevance
from app.api.protocols.open_inference.schemas import AnyInferenceRequest, InputTensor, TensorMetadata
from app.api.protocols.open_inference.tensors import check_data, floats
from app.modalities.json_values import object_of_json
from app.modalities.table.parsing import MAX_ROWS
from app.modalities.table.spec import Category, Feature
from app.models.card import ModelCard
from app.models.table_card import table_card

FEATURE_VALUE = {"type": ["number", "string", "null"]}


class RowInstance(AnyInstance):
    """One row by the names of its features, and the options of `/explain/table`; or the features alone."""

    features: dict[str, Annotated[Any, WithJsonSchema(FEATURE_VALUE)]] = Field(
        description="A number, in its unit, or a category by the name of each feature."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError('send a row, as {"features": {"NAME": VALUE, …}} or {"NAME": VALUE, …}')
        return given if "features" in given else {"features": given}

    @property
    def upload(self) -> Mapping[str, Any]:
        """Values by the names of the features."""
        return self.features


class RowInstances(AnyInstances[RowInstance]):
    """Rows; V1 calls them `instances` or `inputs`. Other members, such as `signature_name`, are ignored.

    Options among them are listed in `warnings`: they belong into each instance.
    """


class RowsRequestInput(InputTensor):
    """Rows of a table: numbers in their units, and for each category of a feature a column, 1 or 0."""

    name: Literal["features"]
    shape: list[NonNegativeInt] = Field(
        min_length=1,
        max_length=2,
        description="[N, columns]; the model's metadata list the columns.",
        examples=[[1, 3]],
    )
    datatype: Literal["FP32"]
    data: list[Any] | None = Field(
        None, description="Numbers, nested or flat.", examples=[[[540.0, 28.0, 1.0]]]
    )


class RowsInferenceRequest(AnyInferenceRequest[RowsRequestInput]):
    """Rows, what is wanted of them, and the options of `/explain/table` as parameters."""


def _instances(model: type[AnyInstances[Any]], content: bytes, expected: Expected) -> AnyInstances[Any]:
    """Parse a request of V1; a name that an object has twice has the value `DOUBLED`, which is refused later."""
    parsed(model, content, expected)
    given = object_of_json(content.decode())
    return validated(lambda: model.model_validate(given, context=expected))


def _size(card: ModelCard) -> Size:
    spec = table_card(card).spec
    # Names and categories may consist of commas and colons, and an instance may have a baseline as well.
    signs = sum(
        len(feature.name) + max(map(len, _categories(feature)), default=0) for feature in spec.features
    )
    signs = 2 * (signs + spec.columns)
    return Size(values=MAX_NAMES + signs, names=signs, shape=(spec.columns,))


def _inputs(tensor: InputTensor, binary: bytes, expected: Expected) -> Sequence[Any]:
    check_data(tensor, binary)
    return list(floats(tensor, binary, expected.shape))


def _metadata(card: ModelCard) -> TensorMetadata:
    spec = table_card(card).spec
    columns = [name for feature in spec.features for name in _columns(feature)]
    units = [feature.unit for feature in spec.features for _ in range(feature.columns)]
    parameters = {"columns": columns, "units": units}
    return TensorMetadata(
        name="features",
        datatype="FP32",
        shape=[-1, spec.columns],
        parameters={name: json.dumps(value, ensure_ascii=False) for name, value in parameters.items()},
    )


def _columns(feature: Feature) -> Iterator[str]:
    """Yield the names of the columns of a feature: its own, or one for each of its categories."""
    if isinstance(feature, Category):
        yield from (f"{feature.name}={category}" for category in feature.categories)
    else:
        yield feature.name


def _categories(feature: Feature) -> Sequence[str]:
    return feature.categories if isinstance(feature, Category) else ()


TABLE_IN_PROTOCOLS = KindInProtocols(
    over_http=TABLE,
    item="row",
    most=lambda _: MAX_ROWS,
    size=_size,
    instances=RowInstances,
    instances_of=_instances,
    request=RowsInferenceRequest,
    inputs=_inputs,
    metadata=_metadata,
    outputs={
        "relevance": Output("FP32", lambda card: (table_card(card).spec.columns,), relevance),
        "heatmap_png": Output("BYTES", lambda _: (), png),
    },
)
