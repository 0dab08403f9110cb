"""Options of ``predict`` and ``explain`` are the parameters of ``/predict`` and ``/explain``."""

from typing import Any

import pytest
import typer
from fastapi import FastAPI
from pydantic import BaseModel, Field
from typer.core import TyperArgument, TyperOption
from typer.testing import CliRunner

from app.command_line.options import Difference, read, with_options
from app.command_line.explain import commands, with_assignments
from app.errors import DataError, InvalidParameterError
from app.modalities.drawing.style import Sign

OWN = {
    "predict": {"as_json", "recursive", "device"},
    "explain": {"output", "parameter", "recursive", "device"},
}
"""Options that only the commands have."""


def options_of(command: str) -> dict[str, TyperOption]:
    parameters = commands()[command].params
    assert [one.name for one in parameters if isinstance(one, TyperArgument)] == ["paths"]
    return {str(one.name): one for one in parameters if isinstance(one, TyperOption)}


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_options_are_the_parameters_of_the_endpoint(app: FastAPI, command: str) -> None:
    parameters = {one["name"]: one for one in app.openapi()["paths"][f"/{command}"]["post"]["parameters"]}
    options = options_of(command)
    assert options.keys() - OWN[command] == parameters.keys()
    for name in parameters:
        assert f"--{name.replace('_', '-')}" in options[name].opts


class Sampled(BaseModel):
    """Parameters of all kinds."""

    samples: int = Field(1, ge=1, le=64, description="Samples of `{{name}}`.")
    noise: float | None = Field(None, description="Noise.")
    sign: Sign = Field(Sign.ALL, description="Sign.")
    layers: list[str] = Field([], description="Layers.")
    drawn: bool = Field(False, description="Drawn.")
    colour: str = Field("a", json_schema_extra={"enum": list("abcdef")}, description="Colour.")


def run(*arguments: str, differences: dict[str, Difference] | None = None) -> Any:
    given: list[Sampled] = []

    def command(values: dict[str, Any], path: str) -> None:
        given.append(read(Sampled, values, differences or {}))
        assert path == "cat.jpg"

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(with_options(command, Sampled, differences or {}))
    result = CliRunner().invoke(app, ["cat.jpg", *arguments], env={"COLUMNS": "200"})
    return result, given


def test_a_field_is_an_option_with_its_type_default_and_description() -> None:
    _, [default] = run()
    assert default == Sampled()
    arguments = "--samples 3 --noise .5 --sign negative --layers a --layers b --drawn --colour f"
    _, [given] = run(*arguments.split())
    assert given == Sampled(
        samples=3, noise=0.5, sign=Sign.NEGATIVE, layers=["a", "b"], drawn=True, colour="f"
    )


def test_help_has_descriptions_choices_and_defaults() -> None:
    result, _ = run("--help")
    lines = [" ".join(line.strip("│ ").split()) for line in result.stdout.splitlines()]
    assert "--samples NUMBER Samples of NAME. Default: 1." in [line.replace("`", "") for line in lines]
    assert "--sign all|positive|negative Sign. Default: all." in lines
    assert "--noise NUMBER Noise." in lines
    assert "--colour TEXT Colour. One of a, b, c, d, e, f. Default: a." in lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--samples 0", "samples: must be 1 or more"),
        ("--samples many", "samples: must be a whole number"),
        ("--sign up", "sign: must be 'all', 'positive' or 'negative'"),
        ("--noise loud", "noise: must be a number"),
    ],
)
def test_values_are_validated_as_over_http(arguments: str, message: str) -> None:
    result, _ = run(*arguments.split())
    assert isinstance(result.exception, InvalidParameterError)
    assert result.exception.detail == message


def test_a_command_may_have_another_default() -> None:
    differences = {"samples": Difference(default="8", description="So many.")}
    result, _ = run("--help", differences=differences)
    assert "So many. Default: 8." in result.stdout
    assert run(differences=differences)[1] == [Sampled(samples=8)]
    assert run("--samples", "2", differences=differences)[1] == [Sampled(samples=2)]


def test_assignments_are_parameters_of_rules() -> None:
    given = with_assignments({"rule": "alpha_beta"}, ["alpha=2, beta = 1", "epsilon=.1"])
    assert given == {"rule": "alpha_beta", "alpha": "2", "beta": "1", "epsilon": ".1"}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("start=logit", "--parameter: 'start=logit': start is no parameter of a rule; use --start"),
        ("top_k=3", "--parameter: 'top_k=3': top_k is no parameter of a rule; use --top-k"),
        ("gama=1", "--parameter: 'gama=1': gama is no parameter of a rule; there are epsilon, gamma"),
        ("gamma", "--parameter: 'gamma': write NAME=VALUE"),
        ("gamma=1,gamma=2", "--parameter: 'gamma=2': gamma is given twice"),
        ("alpha=2", "--parameter: 'alpha=2': alpha is given twice"),
    ],
)
def test_an_assignment_of_something_else_names_the_option(assignment: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        with_assignments({"alpha": "3"}, [assignment])
    assert raised.value.detail.startswith(message)
