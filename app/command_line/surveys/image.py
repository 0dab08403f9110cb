"""Surveys of pictures on the command line."""

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from app.command_line.many import described
from app.command_line.pictures import PICTURES
from app.command_line.surveys.kind import Data, Printed, SurveyOnCommandLine
from app.command_line.surveys.options import SurveyOptions
from app.command_line.surveys.request import Request
from app.command_line.surveys.tables import MAX_SHOWN, confusions, table_of
from app.modalities.image.fitting import Fit
from app.models.image_card import image_card
from app.parquet.folder import Folder, is_folder
from app.survey.image.export import export
from app.survey.image.findings import ImageFindings
from app.survey.image.kind import ImageKind
from app.survey.image.masks import Masks
from app.survey.items import find_items
from app.survey.kept import KeptMaps, items_of_folder

OTHER_REQUEST = (
    "give the survey the --model and --rule of its maps, or explain the pictures again with --format npy and no "
    "further options"
)


def _kind(request: Request) -> ImageKind:
    options, spec = request.options, image_card(request.pipeline.card).spec
    for name in options.exported:
        name.check(request.pipeline.card.classes, options.folder)
    masks = None
    if options.masks is not None:
        masks = Masks(options.masks, spec, Fit.CROP, request.settings.max_pixels)
    return ImageKind(spec, options.method or "spectral", masks)


def _find(request: Request) -> Data:
    options, pipeline = request.options, request.pipeline
    if not is_folder(options.data):
        return Data(find_items(options.data, options.split))
    options.refuse("maps that are computed already", "on_ray")
    # what ``lrpserve explain`` is asked for to write the same maps
    with_maps = PICTURES.explain.read({**options.given, "format": "npy"})
    asked = described(pipeline.card, pipeline.description.precision, with_maps, "npy")
    folder = Folder(options.data, asked, "DATA", OTHER_REQUEST)
    items = items_of_folder(folder, options.split)
    return Data(items, KeptMaps(folder, [one.name for one in items]))


def _exported(findings: ImageFindings, options: SurveyOptions) -> Sequence[str]:
    """Write the pictures of the clusters that are asked for; return what was written."""
    return list(_export(findings, options))


def _export(findings: ImageFindings, options: SurveyOptions) -> Iterator[str]:
    clusters = [name.find(findings) for name in options.exported]
    for name, cluster in zip(options.exported, clusters, strict=True):
        export(findings, cluster, name.folder(options.folder))
        count = len(cluster.rows)
        pictures = f"{count} picture{'s' * (count != 1)}"
        yield f"wrote {pictures} of cluster {name} to {name.folder(options.folder)}/"


def _tables(findings: ImageFindings) -> list[Printed]:
    return [_clusters(findings), *confusions(findings)]


def _clusters(findings: ImageFindings) -> Table:
    table = table_of(
        "Clusters of maps, the most suspicious first",
        *("class", "cluster", "items", "share", "accuracy", "suspicion", "pasted", "covered"),
        caption="pasted: pictures of other classes that are taken for the class with the cluster's region;\n"
        "covered: pictures of the cluster that are not when the region is covered",
    )
    for one in findings.clusters[:MAX_SHOWN]:
        effect = one.effect
        table.add_row(
            escape(findings.classes[one.target]),
            str(one.number),
            str(len(one.rows)),
            _percent(one.share),
            _percent(one.accuracy),
            "–" if one.suspicion is None else f"{one.suspicion:.2f}",
            _percent(None if effect is None else effect.pasted),
            _percent(None if effect is None else effect.covered),
        )
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


IMAGE_SURVEY = SurveyOnCommandLine(PICTURES, (), kind=_kind, find=_find, tables=_tables, after=_exported)
