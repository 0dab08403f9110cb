"""Every hyper-parameter of a training, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """So many epochs on pictures resized to ``side`` pixels."""

    epochs: int
    side: int


@dataclass(frozen=True)
class Recipe:
    """How a MiniVGG is trained. What it leaves to be served is the talk's network, whatever it says.

    ``dropout`` replaces the rates of MiniVGG's three dropout layers, in order; ``None`` keeps the talk's.
    ``batch_norm`` puts a normalisation behind every convolution and the hidden dense layer,
    which is folded into their weights at the end.
    """

    name: str
    stages: tuple[Stage, ...]
    optimizer: str
    learning_rate: float
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float = 0.0
    """Share of all steps in which the rate climbs to ``learning_rate``; it then falls linearly to 0.
    With 0 the rate is constant."""
    label_smoothing: float = 0.0
    dropout: tuple[float, float, float] | None = None
    batch_norm: bool = False
    whiten: bool = False
    """Start the first convolution from the principal components of 3×3 patches."""
    flip: bool = False
    shift: int = 0
    """Largest shift in pixels, either way; what comes in at the border is mirrored."""
    average_decay: float = 0.0
    """Decay per step of the exponential moving average that is kept as the result; 0: no averaging."""

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def side(self, epoch: int) -> int:
        """Side in pixels of the pictures in ``epoch``, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.side
            epoch -= stage.epochs
        raise ValueError(f"recipe {self.name} ends after {self.epochs} epochs")


TALK = Recipe(name="talk", stages=(Stage(12, 32),), optimizer="adam", learning_rate=1e-3)

# Small pictures first: an epoch at 20 pixels costs less than half of one at 32, and most of what the
# convolutions learn carries over. Batch normalisation, whitened first filters, flips that alternate and
# a falling rate are what airbench (Jordan 2024) found to pay most for their time.
BEST = Recipe(
    name="best",
    stages=(Stage(8, 20), Stage(8, 24), Stage(8, 32)),
    optimizer="sgd",
    learning_rate=0.1,
    weight_decay=5e-4,
    warmup=0.15,
    label_smoothing=0.1,
    dropout=(0.0, 0.0, 0.3),
    batch_norm=True,
    whiten=True,
    flip=True,
    shift=4,
    average_decay=0.998,
)

RECIPES = {recipe.name: recipe for recipe in (BEST, TALK)}
