"""Options of ``predict`` and ``explain`` are the parameters of ``/predict`` and ``/explain``."""

from typing import Any

import pytest
import typer
from fake_model import FakeModel
from fake_text_model import FakeTextModel
from pydantic import BaseModel, Field
from table_model import table_model
from typer.core import TyperArgument, TyperOption
from typer.testing import CliRunner

from app.command_line.commands import commands
from app.command_line.explain import with_assignments
from app.command_line.options import Difference, Offered, with_options
from app.errors import DataError, InvalidParameterError
from app.main import create_app
from app.modalities.drawing.style import Sign
from app.settings import Settings

OWN = {
    "predict": {"text", "table", "as_json", "recursive", "files_from", "device"},
    "explain": {
        "text",
        "table",
        "output",
        "parameter",
        "recursive",
        "files_from",
        "ray",
        "address",
        "device",
    },
}
"""Options that only the commands have."""


def options_of(command: str) -> dict[str, TyperOption]:
    parameters = commands()[command].params
    assert [one.name for one in parameters if isinstance(one, TyperArgument)] == ["paths"]
    return {str(one.name): one for one in parameters if isinstance(one, TyperOption)}


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_options_are_the_parameters_of_the_endpoints(command: str) -> None:
    app = create_app(Settings(), [FakeModel(), FakeTextModel(), table_model()])
    paths = app.openapi()["paths"]
    endpoints = [f"/{command}{suffix}" for suffix in ("", "/text", "/table")]
    parameters = {one["name"]: one for path in endpoints for one in paths[path]["post"]["parameters"]}
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

    offered = Offered("pictures", Sampled, differences or {})

    def command(values: dict[str, Any], path: str) -> None:
        given.append(offered.read(values))
        assert path == "cat.jpg"

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(with_options(command, [offered]))
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


class Spoken(BaseModel):
    """Parameters of another kind."""

    samples: int = Field(4, description="Samples.")
    sign: Sign = Field(Sign.ALL, description="Sign.")
    voice: str | None = Field(None, json_schema_extra={"enum": ["high", "low"]}, description="Voice.")
    colour: str = Field("g", json_schema_extra={"enum": list("afg")}, description="Colour.")


def test_a_command_has_the_options_of_all_kinds_and_refuses_those_of_others() -> None:
    kinds = (Offered("pictures", Sampled, {}), Offered("sounds", Spoken, {}))
    given: list[dict[str, Any]] = []

    def command(values: dict[str, Any]) -> None:
        given.append(values)

    app = typer.Typer(add_completion=False)
    app.command()(with_options(command, kinds))
    printed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert "Default: 1; for sounds 4." in printed
    assert "One of a, b, c, d, e, f, g. Default: a; for sounds g." in printed
    panels = [line.strip("╭─╮ ") for line in printed.splitlines() if "As over HTTP" in line]
    assert panels == [
        "As over HTTP",
        "As over HTTP, for pictures only",
        "As over HTTP, for sounds only",
    ]
    CliRunner().invoke(app, ["--samples", "3", "--voice", "low"])
    assert kinds[1].read(given[0]) == Spoken(samples=3, voice="low")
    with pytest.raises(InvalidParameterError, match="voice: is not for pictures; leave it out"):
        kinds[0].read(given[0])


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
