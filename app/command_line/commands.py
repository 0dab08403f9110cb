"""The commands that take inputs, whose options are made from the parameters of HTTP."""

from dataclasses import replace

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from app.command_line.explain import explain, predict
from app.command_line.kinds import KINDS
from app.command_line.options import with_options
from app.command_line.survey_command import OF_MAPS, survey


def commands() -> dict[str, TyperCommand]:
    """Return the commands by name."""
    made = typer.Typer(rich_markup_mode="markdown")
    made.command()(with_options(predict, [kind.predict for kind in KINDS]))
    made.command()(with_options(explain, [kind.explain for kind in KINDS]))
    made.command()(with_options(survey, [replace(kind.explain, only=OF_MAPS) for kind in KINDS]))
    group = get_command(made)
    assert isinstance(group, TyperGroup)
    return {name: command for name, command in group.commands.items() if isinstance(command, TyperCommand)}
