"""The JSON card of a network: architecture, classes, input, training record and the hashes of its files."""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from app.errors import RefusedToStartError
from app.modalities.image.spec import Resampling, TrainedResize

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Pattern of a model's name, which is part of file names and URLs."""
TWIN_SUFFIX = "-lrp"
"""End of the name under which Open Inference lists a model a second time, with explanations."""
GRAPH = "graph.json"
"""File name of a network's graph, for models that do not have that of an architecture of this project."""
WEIGHTS_SUFFIX = ".safetensors"
FILE_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00]+")
"""Pattern of the name of a file beside the card: not a path, nor the folder itself or the one above it."""

MAX_SIDE = 2048
"""Longest side in pixels to which a picture is resized before it is cropped."""
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Deviation = Annotated[FiniteFloat, Field(gt=0)]
Rate = Annotated[FiniteFloat, Field(ge=0, lt=1)]
InputSize = tuple[Literal[1, 3], PositiveInt, PositiveInt]
"""Channels (greyscale or RGB), height, width."""
Kind = Literal["image", "text", "table"]
DEFAULT_INPUT_SIZE: InputSize = (3, 32, 32)
"""Input size of a card that states none."""


def valid_name(name: str) -> str:
    """Return ``name`` if a model may have it; else raise `ValueError`."""
    if not NAME.fullmatch(name):
        raise ValueError("letters, digits, '.', '_' and '-' only, 64 at most, the first a letter or digit")
    if name.endswith(TWIN_SUFFIX):
        raise ValueError(f"must not end in {TWIN_SUFFIX}, as the explaining twins of models do")
    return name


def _one_file_of_weights(files: dict[str, str]) -> dict[str, str]:
    for name in files:
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a file beside the card")
    if sum(name.endswith(WEIGHTS_SUFFIX) for name in files) != 1:
        raise ValueError(f"must list one file *{WEIGHTS_SUFFIX}, the weights")
    return files


Name = Annotated[str, AfterValidator(valid_name)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Files = Annotated[dict[str, Digest], AfterValidator(_one_file_of_weights)]


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Normalisation(_Card):
    """Mean and standard deviation of each channel, of pixels in 0…1."""

    mean: Annotated[tuple[FiniteFloat, ...], Field(min_length=1, max_length=3)]
    std: Annotated[tuple[Deviation, ...], Field(min_length=1, max_length=3)]


class Preprocessing(_Card):
    """How pictures were resized for the network; then their centre was cropped to the input size.

    The values are those of torchvision's ``Resize`` and ``CenterCrop`` on Pillow images, which antialias. One of
    ``resize`` and ``crop_pct`` is given.
    """

    resize: Side | Annotated[tuple[Side, ...], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="Length of the shorter side in pixels; or height and width to which a picture is stretched.",
    )
    crop_pct: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Instead of `resize`: the input's sides over those that a picture is resized to cover, which "
        "are rounded down, as timm's `crop_pct`.",
    )
    interpolation: Resampling = Field(description="Pillow's filter.")

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.resize is None) == (self.crop_pct is None):
            raise ValueError("give either resize or crop_pct")
        return self

    def trained_resize(self, height: int, width: int) -> TrainedResize:
        """Return what pictures are resized to for an input of this size."""
        if isinstance(self.resize, int):
            return TrainedResize(self.resize, self.resize, True, self.interpolation)
        if self.resize is not None:
            return TrainedResize(self.resize[1], self.resize[0], False, self.interpolation)
        share = self.crop_pct or 1.0
        return TrainedResize(int(width / share), int(height / share), True, self.interpolation)


class Measured(_Card):
    """Accuracy and calibration on one set of pictures. Rows of ``confusion`` are the true classes."""

    count: int
    accuracy: float
    per_class: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float = Field(description="Expected calibration error, 15 bins (Guo et al. 2017).")
    negative_log_likelihood: float
    median_leak: float | None = Field(
        default=None,
        description="Median over the pictures of the share of relevance that does not reach the pixels, for the "
        "predicted class under the default rule; null: not measured.",
    )


class EpochRecord(_Card):
    """Results of one epoch: mean loss, accuracies in 0…1, learning rate at its end, duration in seconds."""

    epoch: int
    side: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


class TrainingRecord(_Card):
    """How the weights were trained, and their measured accuracy."""

    recipe: dict[str, object]
    seed: int
    data: str
    started_from: str | None = Field(
        default=None,
        description="Model and version whose weights training started from; null: random weights.",
    )
    history: tuple[EpochRecord, ...]
    validation: Measured
    test: Measured
    versions: dict[str, str]
    date: str = Field(description="Day of the export, ISO 8601.")


class TunedComposite(_Card):
    """A composite that was searched for on this network, and its gap on pictures that were not searched on.

    The gap is that of `app.quality.perturbation`: 0 for a random map; occlusion's is the ceiling.
    """

    layers: tuple[str, ...] = Field(description="`LAYER:RULE(name=value, …)` for each layer with weights.")
    gap: float
    default_gap: float = Field(description="Gap of the default rule on the same pictures.")
    occlusion_gap: float
    share_of_occlusion: float = Field(description="`gap` over `occlusion_gap`.")
    interval: tuple[float, float] = Field(
        description="95 % interval of `share_of_occlusion`, by the bootstrap."
    )
    pictures: int = Field(description="Number of pictures on which the gaps were measured.")
    searched_on: int = Field(description="Number of other pictures, on which the search ran.")
    tried: int = Field(description="Number of composites that were scored in the search.")
    seed: int
    data: str
    date: str


class ModelCard(_Card):
    """Everything needed to use the weights; ``training`` may be missing for weights from other sources."""

    name: Name
    kind: Kind = Field(default="image", description="What the network takes.")
    architecture: str = Field(
        description="Name in `app.models.architectures.registry`; any text for a network with its own graph."
    )
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    normalisation: Normalisation
    input_size: InputSize = DEFAULT_INPUT_SIZE
    preprocessing: Preprocessing | None = Field(
        default=None,
        description="Null: the largest centred part of the input's aspect ratio, resized by Lanczos's filter.",
    )
    files: Files = Field(description="SHA-256 of each file of the model but the card, by the file's name.")
    dropout: Annotated[
        tuple[Rate, ...] | None,
        Field(
            description="Probabilities that the network was trained with, one for each dropout layer in their "
            "order; null: unknown."
        ),
    ] = None
    training: TrainingRecord | None = None
    tuned: TunedComposite | None = Field(
        default=None, description="The composite `tuned` of this network, which `lrpserve tune` found."
    )

    @model_validator(mode="before")
    @classmethod
    def _files_of_version_0_1(cls, fields: object) -> object:
        """Cards of version 0.1 have ``weights`` and ``sha256``, name and hash of the only file."""
        match fields:
            case {"weights": str(name), "sha256": str(digest), **others} if "files" not in others:
                return {**others, "files": {name: digest}}
        return fields

    @field_validator("classes")
    @classmethod
    def _told_apart(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) < len(classes) or not all(classes):
            raise ValueError("every class needs a name of its own")
        return classes

    @model_validator(mode="after")
    def _one_mean_per_channel(self) -> Self:
        channels = self.input_size[0]
        if not len(self.normalisation.mean) == len(self.normalisation.std) == channels:
            raise ValueError(f"normalisation needs a mean and a std for each of {channels} channels")
        return self

    @model_validator(mode="after")
    def _resized_to_no_less_than_the_input(self) -> Self:
        if self.preprocessing is not None:
            _, height, width = self.input_size
            resize = self.preprocessing.trained_resize(height, width)
            if not (height <= resize.height <= MAX_SIDE and width <= resize.width <= MAX_SIDE):
                raise ValueError(
                    f"preprocessing resizes pictures to {resize.width}×{resize.height}, from which the input's "
                    f"{width}×{height} are cropped; it must be as large, and at most {MAX_SIDE} a side"
                )
        return self

    @property
    def weights(self) -> str:
        """File name of the weights."""
        return next(name for name in self.files if name.endswith(WEIGHTS_SUFFIX))

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights."""
        return self.files[self.weights]

    @property
    def version(self) -> str:
        """First 12 hex digits of the weights' SHA-256, or of `_hash_of_all` for a model with its own graph."""
        return (self._hash_of_all() if GRAPH in self.files else self.sha256)[:12]

    def _hash_of_all(self) -> str:
        """Return a SHA-256 over all that scores and maps depend on: the files and the preprocessing."""
        fields = self.model_dump(
            mode="json", include={"files", "input_size", "normalisation", "preprocessing"}
        )
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def read_card(path: Path) -> ModelCard:
    """Read the card in this file; raises `RefusedToStartError` that names the file and what is wrong."""
    try:
        return ModelCard.model_validate(json.loads(read(path)))
    except RecursionError:
        raise RefusedToStartError(f"{path}: not a model card: nested too deeply") from None
    except ValueError as error:  # pydantic's ValidationError and json's JSONDecodeError both are
        raise RefusedToStartError(f"{path}: not a model card: {first_line(error)}") from None


def read(path: Path, advice: str = "name a model's folder or card") -> bytes:
    """Read a file; raises `RefusedToStartError` that ends with ``advice``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RefusedToStartError(f"{path}: cannot be read ({error.strerror}); {advice}") from None


def first_line(error: ValueError) -> str:
    """Return the first thing that is wrong, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        text = first["msg"].removeprefix("Value error, ")  # pydantic's own prefix
        return ": ".join(filter(None, [".".join(map(str, first["loc"])), text]))
    return str(error)
