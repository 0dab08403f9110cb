"""The model interface: jobs, results and descriptions, all of which travel between processes without torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy.typing as npt

from app.lrp.composites import Chain, Composites
from app.lrp.explanation import Explanation
from app.lrp.request import ExplanationRequest
from app.lrp.rules import Rules
from app.lrp.samples import Samples
from app.models.card import ModelCard
from app.models.tuned import composites_of, rules_of
from app.settings import Precision


@dataclass(frozen=True, eq=False)
class Job:
    """One input and what is requested of it; without ``requests`` only its logits are computed."""

    input: npt.NDArray[Any]
    """As the network takes it, without a batch dimension: (channels, height, width), (T,) tokens, (columns,)."""
    requests: tuple[ExplanationRequest, ...] = ()
    verify: bool = False
    """Whether the reference computes the same explanations as well."""
    samples: Samples | None = None
    """Samples of all of ``requests``, of which there is at least one, instead of one explanation each."""
    max_rows: int = 32
    """Most rows of a batch in which samples are computed."""
    baseline: npt.NDArray[Any] | None = None
    """Input that ``input`` is compared with, (columns,), so that relevance is that of their difference. ``None``:
    relevance is that of ``input`` itself.
    """
    randomized: int = 0
    """Number of layers with weights, counted from the output, that have random parameters instead of the
    network's. They are the same ones each time.
    """


@dataclass(frozen=True, eq=False)
class JobResult:
    """Result of a `Job`."""

    logits: list[float]
    """One for each class."""
    explanations: tuple[Explanation, ...]
    """In the order of the requests."""
    verified: tuple[Explanation, ...] | None
    """The same explanations by the reference; ``None`` unless requested."""
    sample_logits: npt.NDArray[Any] | None = None
    """Floating-point logits of each sample, (samples, classes); ``None`` without samples."""
    baseline_logits: list[float] | None = None
    """Logits of the job's baseline; ``None`` without one."""


@dataclass(frozen=True)
class LayerDescription:
    """A layer's name, class name and ``repr``."""

    name: str
    kind: str
    description: str
    drawable: bool = True
    """Whether relevance at its input has places in the network's input; of a text, one for each token."""


@dataclass(frozen=True)
class Description:
    """What is known of a model without running it."""

    card: ModelCard
    device: str
    engine: str
    """Name of what computes relevance: the project's engine, or the reference for networks it cannot compile."""
    reference: str
    """Name and version of what verifies it."""
    chain: Chain
    layers: tuple[LayerDescription, ...]
    assets: Mapping[str, str] = field(default_factory=dict)
    """Content of the model's other files that inputs are decoded with, such as a tokenizer, by name."""
    precision: Precision = "float32"
    """Precision of products with weights in the relevance pass."""

    @property
    def composites(self) -> Composites:
        """Composites that explanations of this model may name."""
        return composites_of(self.card)

    @property
    def rules(self) -> Rules:
        """Rules that explanations of this model may name."""
        return rules_of(self.card)


class NoMemoryError(Exception):
    """The machine's or the accelerator's memory does not hold the work."""


class ModelUnavailableError(Exception):
    """No replica of the model answers now; the text says why. Another call may succeed."""


class ModelLostError(BaseException):
    """The accelerator no longer responds, or the model's process has ended; not recoverable in this process."""


class Model(Protocol):
    """A network that runs jobs: in this process (`app.models.local`), in one of its own
    (`app.runtime.model_process`) or on a Ray cluster (`app.cluster.remote_model`).
    """

    @property
    def description(self) -> Description:
        """Description of the model; raises `RefusedToStartError` where it cannot be run."""

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Return one result for each job. Concurrent calls are serialized.

        Raises `NoMemoryError` where the jobs do not fit into memory together, `ModelUnavailableError` where
        nothing can run them now, `ModelLostError` where the model cannot run any more.
        """

    def prepare_reference(self) -> None:
        """Load the reference, which takes seconds the first time; raises what `run` does. Thread-safe."""

    def watch(self, on_loss: Callable[[ModelLostError], None]) -> None:
        """Call ``on_loss``, from any thread, if the model is lost while no job runs."""

    def kill(self) -> None:
        """End the model's process at once, if it has one. Thread-safe."""
