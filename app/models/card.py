"""The JSON card of a network: what it takes and gives, its training record and the hashes of its files.

What holds for all kinds of input is here; `app.models.image_card`, `text_card` and `table_card` have the rest.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, FiniteFloat, field_validator, model_validator

from app.lrp.graph.graph import Shape
from app.models.records import CardPart, TrainingRecord, TunedComposite

if TYPE_CHECKING:  # the command line reads `NAME` and starts without NumPy
    import numpy as np
    import numpy.typing as npt

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Pattern of a model's name, which is part of file names and URLs."""
TWIN_SUFFIX = "-lrp"
"""End of the name under which Open Inference lists a model a second time, with explanations."""
GRAPH = "graph.json"
"""File name of a network's graph, for models that do not have that of an architecture of this project."""
WEIGHTS_SUFFIX = ".safetensors"
FILE_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00]+")
"""Pattern of the name of a file beside the card: not a path, nor the folder itself or the one above it."""

Rate = Annotated[FiniteFloat, Field(ge=0, lt=1)]
Kind = Literal["image", "text", "table"]
Output = Literal["classes", "labels", "value"]
"""What the logits mean: a softmax over classes, a sigmoid for each label, or one number in its unit."""


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


class ModelCard(CardPart, ABC):
    """Everything needed to use the weights; ``training`` may be missing for weights from other sources."""

    meaning: ClassVar[frozenset[str]]
    """Fields on which scores and maps depend, beside the files."""
    has_bounds: ClassVar[bool] = True
    """Whether inputs are numbers with a smallest and a largest value, which some rules and noise need."""

    name: Name
    kind: Kind = Field(description="What the network takes.")
    architecture: str = Field(
        description="Name in `app.models.architectures.registry`; any text for a network with its own graph."
    )
    output: Output = Field(
        default="classes",
        description="What the network's logits mean: `classes` exclude each other (softmax), `labels` do not "
        "(a sigmoid each), a `value` is one number.",
    )
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Names of the classes or labels; of a `value`, the name of the quantity."
    )
    unit: str | None = Field(default=None, description="Unit of a `value`.")
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
    def _as_many_classes_as_the_output_has(self) -> Self:
        if self.output == "value" and len(self.classes) != 1:
            raise ValueError("an output of one value has one name, not several classes")
        if self.output == "classes" and len(self.classes) < 2:
            raise ValueError("classes: at least two are needed")
        if self.output != "value" and self.unit is not None:
            raise ValueError("unit: only a value has one")
        return self

    @property
    @abstractmethod
    def input_shape(self) -> Shape:
        """Shape of the network's input in its graph, with the batch axis."""

    @abstractmethod
    def example_input(self) -> "npt.NDArray[np.generic]":
        """Return an input of the network, without the batch axis, to check that it runs."""

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
        """First 12 hex digits of the weights' SHA-256, or of `_hash_of_all` for a model with other files."""
        return (self.sha256 if len(self.files) == 1 else self._hash_of_all())[:12]

    def _hash_of_all(self) -> str:
        """Return a SHA-256 over all that scores and maps depend on: the files and how inputs are prepared."""
        fields = self.model_dump(mode="json", include={"files", *self.meaning})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
