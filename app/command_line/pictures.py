"""Pictures on the command line."""

from app.api.kinds.image_parameters import ExplainParameters, PredictParameters
from app.command_line.inputs import find
from app.command_line.kind import FORMS, TOP, Inputs, KindOnCommandLine, Sources
from app.command_line.options import Difference, Offered
from app.errors import DataError
from app.modalities.image.drawing.style import View


def find_pictures(sources: Sources) -> Inputs:
    """Return the pictures that are given; raises `DataError`."""
    if not sources.paths and sources.files_from is None:
        raise DataError("--recursive: is for folders of pictures; name one")
    return find(sources.paths, recursive=sources.recursive, files_from=sources.files_from)


PICTURES = KindOnCommandLine(
    kind="image",
    items="pictures",
    sources={"paths": "PATH", "recursive": "--recursive", "files_from": "--files-from"},
    find=find_pictures,
    predict=Offered("pictures", PredictParameters, {"top_k": TOP}),
    explain=Offered(
        "pictures",
        ExplainParameters,
        {"view": Difference(default=View.SIDE_BY_SIDE), "format": FORMS},
    ),
    forms=("json", "png", "npy"),
)
