"""Hyper-parameters of the training of text models."""

from collections.abc import Mapping
from dataclasses import dataclass

SENTIMENT = ("negative", "positive")
"""Classes with the labels 0 and 1 of SST-2."""


@dataclass(frozen=True)
class NetworkRecipe:
    """Hyper-parameters of one network and of its optimization by AdamW."""

    architecture: str
    """Name in `app.training.text.network.ARCHITECTURES`."""
    sizes: Mapping[str, int]
    """Sizes that the architecture is created with."""
    dropout: tuple[float, ...]
    """Probabilities of its dropout layers in order."""
    epochs: int
    learning_rate: float
    """Maximum learning rate."""
    word_dropout: float
    """Probability that a token is replaced by the unknown word."""
    batch_size: int = 64
    warmup: float = 0.1
    """Fraction of all steps in which the learning rate rises linearly; it then decays linearly to 0."""
    average_decay: float = 0.998
    """Decay per step of the moving average of the weights; in the first steps it is the mean of all."""
    largest_gradient: float = 1.0
    """Norm to which the gradient of all weights but the word vectors is clipped."""


@dataclass(frozen=True)
class TextRecipe:
    """Hyper-parameters of a text classifier that learns from the labels and from an ensemble (distillation).

    The ensemble is trained on the same texts. It labels the training texts and random parts of them with its
    probabilities (Hinton et al. 2015; Tang et al. 2019), which teach the network what parts of a sentence mean.
    The network starts from the word vectors of the ensemble's first one, so the two have the same width.
    """

    name: str
    network: NetworkRecipe
    teacher: NetworkRecipe
    teachers: int
    """Number of networks in the ensemble, beside one linear model (`app.training.text.naive_bayes`)."""
    parts: int
    """Number of random parts of each training text."""
    ensemble_share: float
    """Share of the ensemble's probabilities in the targets of whole texts; the rest is the label."""
    max_tokens: int = 128
    classes: tuple[str, ...] = SENTIMENT
    """Names of classes whose labels in the data are the numbers 0, 1, …"""
    min_count: int = 1
    """Times that a word must be in the training texts to be in the vocabulary."""


CONVOLUTIONS = NetworkRecipe(
    architecture="WordsCNN",
    sizes={"width": 120, "channels": 200},
    dropout=(0.5, 0.5),
    epochs=6,
    learning_rate=2e-3,
    word_dropout=0.1,
)

WORDS_LSTM = TextRecipe(
    name="words-lstm",
    network=NetworkRecipe(
        architecture="WordsLSTM",
        sizes={"width": 120, "hidden": 100},
        dropout=(0.4, 0.5),
        epochs=4,
        learning_rate=2e-3,
        word_dropout=0.1,
    ),
    teacher=CONVOLUTIONS,
    teachers=1,
    parts=1,
    ensemble_share=0.7,
)

WORDS_TRANSFORMER = TextRecipe(
    name="words-transformer",
    network=NetworkRecipe(
        architecture="WordsTransformer",
        sizes={"width": 120, "heads": 4, "blocks": 1, "max_tokens": 128},
        dropout=(0.3, 0.1, 0.5),
        epochs=4,
        learning_rate=2e-3,
        word_dropout=0.1,
    ),
    teacher=CONVOLUTIONS,
    teachers=1,
    parts=1,
    ensemble_share=0.7,
)

RECIPES = {recipe.name: recipe for recipe in (WORDS_LSTM, WORDS_TRANSFORMER)}
