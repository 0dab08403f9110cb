"""Options of the command ``survey``: its own, and those of ``explain`` on which maps depend."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from app.command_line.explain import Parameter, with_assignments
from app.command_line.extras import require
from app.command_line.options import Values
from app.command_line.settings import Address, Device, OneModel, Ray, settings_of_one
from app.errors import DataError
from app.lrp.composites import rule_parameters
from app.serving.local import local_pipeline

OF_MAPS = frozenset(
    {"rule", "layers", "attention", "baseline", *(parameter.name for parameter in rule_parameters())}
)
"""Options of ``explain`` that surveys have as well."""


def survey(
    given: Values,
    data: Annotated[
        Path,
        typer.Argument(
            help="Pictures: folder or zip of CLASS/*.png, a CSV file of path and label, or NAME.parquet of "
            "explain. Texts: file or folder of *.tsv, a text, a tab and a label in each line. Rows: a CSV file.",
            exists=True,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the report, default DATA-survey; maps in it are not computed again.",
        ),
    ] = None,
    model: OneModel = None,
    parameter: Parameter = None,
    split: Annotated[
        str | None,
        typer.Option(help="Only pictures below a folder of this name, such as test; of texts, test.tsv."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Of pictures: spectral (default) or hdbscan.", metavar="METHOD", show_default=False
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Of pictures: folder or zip of masks, CLASS/*.png, white where the object is.", exists=True
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    export_cluster: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS:NUMBER",
            help="Also write the pictures of this cluster as files; may be given several times.",
        ),
    ] = None,
    ray: Ray = False,
    address: Address = None,
    device: Device = None,
) -> None:
    """Find errors and what the network looks at, over many inputs: lrpserve survey test.zip."""
    require("survey", "lrpserve survey", "h5py", "jinja2", "pyarrow", "sklearn")
    if address is not None and not ray:
        raise DataError("--address: is for --ray; add that")
    if ray:
        require("ray", "--ray", "ray")
    from app.command_line.many import OnRay
    from app.command_line.survey import survey as run_survey
    from app.command_line.surveys.kinds import SURVEYS, kind_of
    from app.command_line.surveys.options import options_of

    options = options_of(
        data,
        out,
        with_assignments(given, parameter or ()),
        split=split,
        method=cluster,
        masks=masks,
        seed=seed,
        exported=export_cluster or (),
        on_ray=OnRay(address) if ray else None,
    )
    settings = settings_of_one(model, device=device)
    kind = kind_of(settings, data)
    with closing(local_pipeline(settings, kind)) as pipeline:
        run_survey(SURVEYS[kind], pipeline, options, settings)
