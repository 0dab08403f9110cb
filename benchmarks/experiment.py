"""One network with a planted mark: trained, surveyed, cured and surveyed again, with all steps in a folder."""

import io
import json
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from app.command_line.pictures import PICTURES
from app.command_line.survey import Bars
from app.command_line.surveys.request import network_of
from app.models.card_file import read_card
from app.models.checkpoint import load_module, save
from app.models.files import CARD
from app.models.image_card import image_card
from app.serving.local import local_pipeline
from app.settings import Settings, shipped_model
from app.survey.image.export import ClusterName, export
from app.survey.image.findings import ImageFindings
from app.survey.image.kind import ImageKind
from app.survey.image.strategies import Cluster
from app.survey.items import Item
from app.survey.output import write_all
from app.survey.survey import Options, Survey
from app.training.data import LabelledImages, held_out_count, split_rows, split_seed
from app.training.evaluation import compute_logits
from app.training.loop import Trainer
from app.training.recipe import CONSERVING, Recipe, Stage
from benchmarks.clusterings import Marked, best_rank, chosen, of_corelay, of_pixels
from benchmarks.marks import CASES, plant

Rows = npt.NDArray[np.intp]
"""Numbers of pictures."""

MAX_TRIED = 2_000
"""Held-out pictures of other classes to which the mark is added."""


@dataclass(frozen=True)
class Setup:
    """What all runs of a folder have in common."""

    data: str
    epochs: int
    others: int
    """Pictures of each class but the marked one that are surveyed."""


@dataclass(frozen=True)
class Result:
    """What was measured of one case with one seed; ``None``: nothing is planted."""

    case: str
    seed: int
    accuracy: float
    """On the held-out pictures, which are marked like the others."""
    suspicion: float
    """The highest of all clusters."""
    changed: float | None = None
    """Share of held-out pictures of other classes that are taken for the class with the mark, and not without."""
    rank: int | None = None
    """Of the mark's cluster by suspicion, among the clusters of all classes."""
    mark_suspicion: float | None = None
    """Of the mark's cluster."""
    purity: float | None = None
    """Share of the cluster's pictures that are marked."""
    found: float | None = None
    """Share of the marked pictures that are in the cluster."""
    pixels: int | None = None
    """Rank of the mark's cluster among clusters of pixels."""
    corelay: int | None = None
    """The same among CoRelAy's clusters of the maps."""
    cured_changed: float | None = None
    """``changed`` after training without the pictures of the cluster."""
    cured_suspicion: float | None = None
    """``suspicion`` after that."""


class Experiment:
    """One case with one seed, in a folder."""

    def __init__(self, case: str, seed: int, images: LabelledImages, setup: Setup, run: Path, device: str):
        self._name, self._case, self._seed = case, CASES[case], seed
        self._folder = run / case / f"seed-{seed}"
        self._setup, self._device = setup, device
        self._planted = plant(images, self._case, seed)
        # whatever the seed, no picture is held out that the shipped network was trained on
        split = split_seed(read_card(shipped_model()))
        training, held_out = split_rows(len(images), held_out_count(len(images)), split)
        self.training: Rows = training.sort().values.numpy()
        self.held_out = self._planted.data.select(held_out.sort().values)

    def result(self) -> Result:
        """Return what was measured, from the folder if it is there."""
        path = self._folder / "result.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(self._measured()), indent=1) + "\n")
        return Result(**json.loads(path.read_text()))

    def _measured(self) -> Result:
        folder = self._folder / "planted"
        card = self._trained(self.training, folder)
        surveyed = self._surveyed(self.training)
        findings = self._survey(card, surveyed, folder)
        result = self._found(findings, self._planted.marked[surveyed[findings.rows]], card)
        if result.rank is None:
            return result
        cluster = findings.clusters[result.rank - 1]
        self._export(findings, cluster, folder)
        return self._cured(result, surveyed[findings.rows[cluster.rows]])

    def _found(self, findings: ImageFindings, marked: Marked, card: Path) -> Result:
        clusters = [one.rows for one in findings.clusters]
        result = Result(self._name, self._seed, self._accuracy(card), highest(findings))
        if not marked.any():
            return result
        number = chosen(clusters, marked)
        rows = clusters[number]
        return replace(
            result,
            changed=self._changed(card),
            rank=number + 1,
            mark_suspicion=findings.clusters[number].suspicion or 0.0,
            purity=float(marked[rows].mean()),
            found=float(marked[rows].sum() / marked.sum()),
            pixels=best_rank(of_pixels(findings), marked),
            corelay=best_rank(of_corelay(findings), marked),
        )

    def _cured(self, result: Result, left_out: Rows) -> Result:
        """Return ``result`` with what is measured after a training without the pictures ``left_out``."""
        folder = self._folder / "cured"
        rows = np.setdiff1d(self.training, left_out)
        card = self._trained(rows, folder)
        findings = self._survey(card, np.setdiff1d(self._surveyed(self.training), left_out), folder)
        return replace(result, cured_changed=self._changed(card), cured_suspicion=highest(findings))

    def _trained(self, rows: Rows, folder: Path) -> Path:
        """Return the card of the shipped network that was trained on with the pictures ``rows``."""
        path = folder / self._name / CARD
        if path.exists():
            return path
        start, card = load_module(shipped_model())
        trainer = Trainer(
            recipe_of(self._setup.epochs),
            self._planted.data.select(torch.from_numpy(rows)),
            self.held_out,
            card.normalisation,
            folder / "training",
            start=start,
            seed=self._seed,
            device=self._device,
        )
        trainer.resume()
        model = trainer.train().model
        return save(model, folder, name=self._name, classes=card.classes, normalisation=card.normalisation)

    def _surveyed(self, rows: Rows) -> Rows:
        """Return which of the pictures ``rows`` are surveyed: all of the marked class, some of each other."""
        labels, classes = self._planted.data.labels.numpy()[rows], self._planted.data.classes
        parts = [
            rows[labels == label]
            if name == self._case.target
            else rows[labels == label][: self._setup.others]
            for label, name in enumerate(classes)
        ]
        return np.sort(np.concatenate(parts))

    def _survey(self, card: Path, rows: Rows, folder: Path) -> ImageFindings:
        settings = Settings(model=card, default_model=None, device=self._device)
        options = Options(Path(self._setup.data), folder, seed=self._seed)
        with (
            closing(local_pipeline(settings, "image")) as pipeline,
            Progress(console=Console(stderr=True), transient=True) as progress,
        ):
            kind = ImageKind(image_card(pipeline.card).spec)
            network = network_of(pipeline, PICTURES.explain.read({}))
            findings = Survey(network, kind, options, Bars(progress)).run(items_of(self._planted.data, rows))
            write_all(kind, findings, folder)
        return findings

    def _export(self, findings: ImageFindings, cluster: Cluster, folder: Path) -> None:
        target = ClusterName(findings.classes[cluster.target], cluster.number).folder(folder)
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            export(findings, cluster, target)

    def _accuracy(self, card: Path) -> float:
        return float((_predicted(card, self.held_out) == self.held_out.labels).double().mean())

    def _changed(self, card: Path) -> float:
        """Return how many held-out pictures of other classes are taken for the class with the mark only."""
        data = self.held_out
        target = data.classes.index(self._case.target)
        others = data.select(torch.where(data.labels != target)[0][:MAX_TRIED])
        marked = replace(others, images=self._case.mark(others.images))
        without, with_mark = (_predicted(card, one) == target for one in (others, marked))
        return float((with_mark & ~without).double().mean())


def recipe_of(epochs: int) -> Recipe:
    """Return a recipe that trains the shipped weights on with a small learning rate and moves no marks."""
    return replace(
        CONSERVING,
        name="planted",
        stages=(Stage(epochs, 32),),
        learning_rate=0.012,
        fade=0.0,
        flip=False,
        shift=0,
        average_decay=0.0,
    )


def highest(findings: ImageFindings) -> float:
    """Return the suspicion of the most suspicious cluster."""
    return findings.clusters[0].suspicion or 0.0


def items_of(data: LabelledImages, rows: Rows) -> list[Item]:
    """Return pictures as the items of a survey, named by their class and number."""
    found = []
    for row in rows.tolist():
        label = data.classes[data.labels[row]]
        pixels = data.images[row]
        stamp = sha256(pixels.numpy().tobytes()).hexdigest()
        found.append(Item(f"{label}/{row:05}.png", label, stamp, partial(png, pixels)))
    return found


def png(pixels: Tensor) -> bytes:
    """Return a picture (3, H, W) uint8 as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def _predicted(card: Path, data: LabelledImages) -> Tensor:
    network, found = load_module(card)
    return compute_logits(network, data, found.normalisation).argmax(1)  # (N,)
