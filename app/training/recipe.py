"""Hyper-parameters of training."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stage:
    """A number of epochs on images resized to ``side`` × ``side`` pixels."""

    epochs: int
    side: int


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training of MiniVGG. They do not change the architecture of the served network."""

    name: str
    stages: tuple[Stage, ...]
    """Stages in the order in which they are trained."""
    optimizer: str
    """``adam``, or ``sgd`` with Nesterov momentum."""
    learning_rate: float
    """Maximum learning rate."""
    batch_size: int = 128
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 0.0
    """Weight decay of SGD; not applied to biases and batch normalisation."""
    warmup: float = 0.0
    """Fraction of all steps in which the learning rate rises linearly; it then decays linearly to 0.
    With 0 the learning rate is constant."""
    label_smoothing: float = 0.0
    dropout: tuple[float, float, float] | None = None
    """Probabilities of the three dropout layers in order; ``None`` keeps those of MiniVGG."""
    batch_norm: bool = False
    """Add batch normalisation after each convolution and the hidden linear layer; it is folded after training."""
    conserving: bool = False
    """Train a network that keeps relevance: each layer but the last is divided by the root mean square of its
    channels, which is folded after training; biases of convolutions are at most 0, linear layers have none.
    Not together with ``batch_norm``."""
    fade: float = 0.0
    """Fraction of all steps in which the largest bias allowed falls linearly from 1 to 0, with ``conserving``.
    With 0 the condition holds from the first step."""
    calibrate: bool = False
    """Divide the logits by the temperature that minimises the likelihood loss on the held-out images; it is
    folded into the last layer (Guo et al. 2017)."""
    whiten: bool = False
    """Initialise the first convolution with the principal components of 3×3 patches."""
    flip: bool = False
    """Flip each image horizontally in every second epoch."""
    shift: int = 0
    """Maximum shift in pixels in each direction, with reflection padding."""
    masked: float = 0.0
    """Largest share of an image's cells of 4×4 pixels that are set to the mean colour, as perturbation curves do.
    The share of each image is random, uniform between 0 and this."""
    bfloat16: bool = False
    """Compute convolutions and linear layers in bfloat16, weights and losses in float32 (automatic mixed
    precision), which halves the time of an epoch. Without effect on a device without instructions for it, which
    would emulate them at many times the time."""
    average_decay: float = 0.0
    """Decay per step of the exponential moving average of the weights; 0: no averaging."""
    start_share: float = 0.0
    """Share of the weights that training started from in those of the result: the rest is what was trained
    (Wortsman et al. 2022). What the start can do that the training forgets is kept in part."""

    @property
    def epochs(self) -> int:
        """Number of epochs of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def side(self, epoch: int) -> int:
        """Return the side in pixels of the images in ``epoch``, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.side
            epoch -= stage.epochs
        raise ValueError(f"recipe {self.name} ends after {self.epochs} epochs")


TALK = Recipe(name="talk", stages=(Stage(12, 32),), optimizer="adam", learning_rate=1e-3)

# Small images first: an epoch at 20 pixels takes less than half the time of one at 32, and the convolutions
# learn most of the same filters. Batch normalisation, whitening, alternating flips and the decaying learning
# rate are the measures with the largest effect in airbench (Jordan 2024).
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

# It starts from the weights of `BEST`: their convolutions are kept, while the biases that absorb relevance fade.
CONSERVING = Recipe(
    name="conserving",
    stages=(Stage(4, 24), Stage(28, 32)),
    optimizer="sgd",
    learning_rate=0.08,
    weight_decay=5e-4,
    warmup=0.1,
    label_smoothing=0.05,
    dropout=(0.0, 0.0, 0.3),
    conserving=True,
    fade=0.15,
    calibrate=True,
    flip=True,
    shift=4,
    average_decay=0.999,
    bfloat16=True,
)

# It starts from the weights of `CONSERVING` and removes parts of each image, as perturbation curves do.
MASKED = replace(
    CONSERVING,
    name="masked",
    stages=(Stage(7, 32),),
    learning_rate=0.012,
    fade=0.0,
    masked=0.4,
    start_share=0.8,
)

RECIPES = {recipe.name: recipe for recipe in (BEST, CONSERVING, MASKED, TALK)}
