"""What a card says of a model's training and of what was measured: accuracy, calibration, tuned composites."""

from pydantic import BaseModel, ConfigDict, Field


class CardPart(BaseModel):
    """Base of a card and its parts: frozen, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Measured(CardPart):
    """Accuracy and calibration on one set of inputs. Rows of ``confusion`` are the true classes."""

    count: int
    accuracy: float
    per_class: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float = Field(description="Expected calibration error, 15 bins (Guo et al. 2017).")
    negative_log_likelihood: float
    median_leak: float | None = Field(
        default=None,
        description="Median over the inputs of the share of relevance that does not reach the input, for the "
        "predicted class under the default rule; null: not measured.",
    )


class MeasuredValues(CardPart):
    """Errors of a predicted value on one set of rows, in the value's unit."""

    count: int
    mean_absolute_error: float
    root_mean_squared_error: float
    r2: float = Field(description="Coefficient of determination: 1 − the share of the variance that is left.")


class EpochRecord(CardPart):
    """Results of one epoch: mean loss, accuracies in 0…1, learning rate at its end, duration in seconds."""

    epoch: int
    side: int | None = Field(default=None, description="Side of the images in pixels; null: no images.")
    loss: float
    train_accuracy: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


class TrainingRecord(CardPart):
    """How the weights were trained, and their measured accuracy."""

    recipe: dict[str, object]
    seed: int
    data: str
    started_from: str | None = Field(
        default=None,
        description="Model and version whose weights training started from; null: random weights.",
    )
    history: tuple[EpochRecord, ...]
    validation: Measured | MeasuredValues
    test: Measured | MeasuredValues
    others: dict[str, Measured | MeasuredValues] = Field(
        default={}, description="Other methods, trained on the same rows, on the test rows."
    )
    versions: dict[str, str]
    date: str = Field(description="Day of the export, ISO 8601.")


class TunedComposite(CardPart):
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
