"""Settings from options of a command, else from the environment."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from app.command_line.console import option_name
from app.errors import RefusedToStartError
from app.models.card import NAME
from app.settings import Settings, variable

Model = Annotated[
    Path | None, typer.Option(help="Folder or card of the model; default as LRP_MODEL, LRP_MODELS.")
]
OneModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Name of a model in LRP_MODELS, or a model's folder or card; default as LRP_DEFAULT_MODEL.",
    ),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]

Ray = Annotated[
    bool, typer.Option("--ray", help="On a Ray cluster; without --address, of this machine alone.")
]
Address = Annotated[str | None, typer.Option(help="With --ray: of the cluster, HOST:PORT or auto.")]


def settings_of(**given: object) -> Settings:
    """Return the settings of options that are not ``None``, else of the environment.

    Raises `RefusedToStartError`, which names the option or the variable, for an invalid one.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings.model_validate(chosen)
    except ValidationError as error:
        first = error.errors()[0]
        text = first["msg"].removeprefix("Value error, ")  # pydantic's own prefix
        raise RefusedToStartError(f"{_place('.'.join(map(str, first['loc'])), chosen)}: {text}") from None


def settings_of_one(model: str | None, **given: object) -> Settings:
    """Return the settings of a command that uses one ``model``, a name, a folder or a card, as its only model.

    What exists as a file or folder is one, and so is a name with the suffix of a card. Raises what `settings_of`
    does, and `RefusedToStartError` for a name that no model has.
    """
    settings = settings_of(**given)
    if model is None:
        return settings
    path = Path(model)
    is_name = NAME.fullmatch(model) and path.suffix != ".json" and not path.exists()
    chosen = _path_of(model, settings.models) if is_name else path
    return settings.model_copy(update={"model": chosen, "default_model": None})


def _path_of(name: str, models: Path) -> Path:
    """Return the path of the card of the model with this name."""
    from app.models.repository import find_models, no_model

    paths = {one.card.name: one.card_path for one in find_models(models, None)}
    if name not in paths:
        raise no_model(name, paths)
    return paths[name]


def _place(name: str, chosen: dict[str, object]) -> str:
    """Return where an invalid setting was given."""
    if not name:
        return "settings"  # a combination of several
    return option_name(name) if name in chosen else f"setting {name} ({variable(name)})"
