"""The command ``survey``: what explanations of many pictures say of a network."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from app.command_line.many import described
from app.command_line.pictures import PICTURES
from app.errors import DataError
from app.modalities.image.fitting import Fit
from app.modalities.image.modality import ImageOptions, ImageSample
from app.models.image_card import image_card
from app.parquet.folder import Folder, is_folder
from app.serving.pipeline import Pipeline
from app.serving.requests import ExplainOptions
from app.serving.timings import Timings
from app.survey.findings import Findings
from app.survey.image.clusters import METHODS
from app.survey.image.export import ClusterName, export
from app.survey.image.masks import Masks
from app.survey.items import find_items
from app.survey.kept import KeptMaps
from app.survey.network import Network
from app.survey.output import write_all
from app.survey.survey import Options, Survey

OTHER_REQUEST = (
    "give the survey the --model and --rule of its maps, or explain the pictures again with --format npy and no "
    "further options"
)
MAX_SHOWN = 8
"""Clusters, confusions and failures that are printed."""


@dataclass(frozen=True)
class SurveyOptions:
    """Options of the command."""

    data: Path
    folder: Path
    rule: str | None
    split: str | None
    method: str
    masks: Path | None
    seed: int
    exported: tuple[ClusterName, ...] = ()
    """Clusters whose pictures are written as files."""


def options_of(
    data: Path,
    out: Path | None,
    *,
    rule: str | None,
    split: str | None,
    method: str,
    masks: Path | None,
    seed: int,
    exported: Sequence[str] = (),
) -> SurveyOptions:
    """Return the options; ``exported`` are ``CLASS:NUMBER``.

    Raises `DataError` for a clustering that there is not, and for what is no name of a cluster.
    """
    if method not in METHODS:
        raise DataError(f"--cluster: there is no {method!r}; use {' or '.join(METHODS)}")
    folder = out or Path(f"{data.resolve().stem}-survey")
    names = tuple(dict.fromkeys(map(ClusterName.parse, exported)))
    return SurveyOptions(data, folder, rule, split, method, masks, seed, names)


class Bars:
    """Progress bars of the stages, on standard error; an `app.survey.survey.Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, stage: str, total: int, done: int = 0) -> Callable[[int], None]:
        """See `app.survey.survey.Progress`."""
        return partial(self._advance, self._progress.add_task(stage, total=total, completed=done))

    def _advance(self, task: TaskID, steps: int) -> None:
        self._progress.advance(task, steps)


def survey(pipeline: Pipeline, options: SurveyOptions, max_pixels: int) -> Findings:
    """Make a survey, write its folder and print what was found; raises `DataError`."""
    network = network_of(pipeline, options.rule)
    for name in options.exported:
        name.check(network.description.card.classes, options.folder)
    kept = _kept(pipeline, options)
    items = find_items(options.data, options.split) if kept is None else kept.items
    masks = None if options.masks is None else Masks(options.masks, network.spec, Fit.CROP, max_pixels)
    options.folder.mkdir(parents=True, exist_ok=True)
    with Progress(console=Console(stderr=True)) as progress:
        asked = Options(options.data, options.folder, options.method, options.seed, masks, kept)
        findings = Survey(network, asked, Bars(progress)).run(items)
        write_all(findings, options.folder)
    console = Console()
    console.print(*tables(findings), f"wrote {options.folder}/", sep="\n")
    for text in _exported(findings, options):
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    return findings


def _exported(findings: Findings, options: SurveyOptions) -> Iterator[str]:
    """Write the pictures of the clusters that are asked for; yield what was written."""
    clusters = [name.find(findings) for name in options.exported]
    for name, cluster in zip(options.exported, clusters, strict=True):
        export(findings, cluster, name.folder(options.folder))
        count = len(cluster.rows)
        pictures = f"{count} picture{'s' * (count != 1)}"
        yield f"wrote {pictures} of cluster {name} to {name.folder(options.folder)}/"


def _kept(pipeline: Pipeline, options: SurveyOptions) -> KeptMaps | None:
    """Return the maps of a folder of Parquet files, ``None`` for other data; raises `DataError`."""
    if not is_folder(options.data):
        return None
    rule = {} if options.rule is None else {"rule": options.rule}
    asked = PICTURES.explain.read({**rule, "format": "npy"})
    described_request = described(pipeline.card, pipeline.description.precision, asked, "npy")
    return KeptMaps(Folder(options.data, described_request, "DATA", OTHER_REQUEST), options.split)


def tables(findings: Findings) -> list[Table | str]:
    """Return what is printed: the most suspicious clusters, the most frequent confusions, and notes."""
    predictions = findings.predictions
    known = int(predictions.known.sum())
    accuracy = predictions.accuracy
    right = "labels unknown" if accuracy is None else f"{accuracy:.2%} of {known} right"
    return [
        f"{len(findings.items)} items explained, {right}, {len(findings.failures)} failed",
        _clusters(findings),
        *([_confusions(findings)] if len(predictions.mistakes()) else []),
        *findings.notes(),
        *(f"{one.name}: {one.reason}" for one in findings.failures[:MAX_SHOWN]),
    ]


def _clusters(findings: Findings) -> Table:
    table = Table(
        title="Clusters of maps, the most suspicious first",
        caption="pasted: pictures of other classes that are taken for the class with the cluster's region;\n"
        "covered: pictures of the cluster that are not when the region is covered",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # the numbers fit into 80 columns
    )
    for column in ("class", "cluster", "items", "share", "accuracy", "suspicion", "pasted", "covered"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for one in findings.clusters[:MAX_SHOWN]:
        effect = one.effect
        table.add_row(
            findings.classes[one.target],
            str(one.number),
            str(len(one.rows)),
            _percent(one.share),
            _percent(one.accuracy),
            "–" if one.suspicion is None else f"{one.suspicion:.2f}",
            _percent(None if effect is None else effect.pasted),
            _percent(None if effect is None else effect.covered),
        )
    return table


def _confusions(findings: Findings) -> Table:
    table = Table(title="The most frequent confusions", box=SIMPLE_HEAD)
    for column in ("label", "predicted as", "items"):
        table.add_column(column, justify="right" if column == "items" else "left")
    matrix = findings.predictions.confusion()
    pairs = [(int(matrix[a, b]), a, b) for a in range(len(matrix)) for b in matrix[a].nonzero()[0] if a != b]
    for count, label, prediction in sorted(pairs, key=lambda one: -one[0])[:MAX_SHOWN]:
        table.add_row(findings.classes[label], findings.classes[prediction], str(count))
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def network_of(pipeline: Pipeline, rule: str | None) -> Network:
    """Return what a survey needs of a model; ``rule`` of the maps, ``None``: that of ``lrpserve explain``."""
    asked = ExplainOptions() if rule is None else ExplainOptions(rule=rule)

    async def decode(data: bytes) -> ImageSample:
        sample = await pipeline.decode(data, ImageOptions(), Timings())
        assert isinstance(sample, ImageSample)
        return sample

    return Network(
        pipeline.description,
        image_card(pipeline.card).spec,
        pipeline.request(asked),
        decode,
        pipeline.run_in_background,
    )
