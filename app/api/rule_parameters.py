"""Query parameters of routes: the model, and those of rules, made from the table in `app.lrp.rules`."""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

from fastapi import Query
from pydantic import BaseModel, Field, FiniteFloat, create_model

from app.api.parameters import ExplanationParameters, ScoreParameters, model_parameter
from app.lrp.composites import rule_parameters
from app.lrp.definition import Parameter
from app.models.card import Kind

Model = TypeVar("Model", bound=ExplanationParameters)
Parameters = TypeVar("Parameters", bound=ScoreParameters)
AnyParameters = TypeVar("AnyParameters", bound=BaseModel)


def with_rule_parameters(model: type[Model]) -> type[Model]:
    """Return ``model`` with a field for each parameter of a rule in the table."""
    return cast("type[Model]", _extended(model, rule_parameters()))


def with_all_parameters(model: type[AnyParameters]) -> type[AnyParameters]:
    """Return ``model``, with the parameters of rules where it is of explanations."""
    if not issubclass(model, ExplanationParameters):
        return model
    return cast("type[AnyParameters]", with_rule_parameters(model))


def query(parameters: type[Parameters], kind: Kind = "image") -> Callable[..., Awaitable[Parameters]]:
    """Return a dependency that reads ``parameters`` from the query.

    The query has the name of the model besides, which `app.api.dependencies` reads, and, where rules are used, a
    field for each parameter of a rule.
    """
    fields: Any = with_all_parameters(parameters)

    async def read(asked: Any) -> Parameters:  # FastAPI runs plain functions on a thread
        return cast("Parameters", asked)

    asked = create_model(parameters.__name__, __base__=(fields, model_parameter(kind)))
    read.__annotations__["asked"] = Annotated[asked, Query()]
    return read


@lru_cache
def _extended(
    model: type[ExplanationParameters], parameters: tuple[Parameter, ...]
) -> type[ExplanationParameters]:
    """Return a subclass of ``model`` with ``parameters`` after the fields of `ScoreParameters`."""
    fields: dict[str, Any] = {parameter.name: _field(parameter) for parameter in parameters}
    of_rules = cast(
        "type[ExplanationParameters]", create_model("RuleParameters", __base__=ScoreParameters, **fields)
    )
    return create_model(model.__name__, __base__=(model, of_rules))


def _field(parameter: Parameter) -> tuple[Any, Any]:
    """Return type and default of a query parameter; `app.lrp.definition` checks its range."""
    lower = "exclusiveMinimum" if parameter.exclusive_minimum else "minimum"
    field = Field(
        None,
        description=parameter.query,
        examples=[parameter.example],
        json_schema_extra={lower: parameter.minimum, "maximum": parameter.maximum},
    )
    return FiniteFloat | None, field
