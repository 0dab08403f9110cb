"""The ensemble whose probabilities a network for text learns from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from app.models.records import EpochRecord
from app.training.text.batches import TokenizedTexts, random_parts
from app.training.text.loop import TextTrainer, Trained, compute_logits
from app.training.text.naive_bayes import NaiveBayes
from app.training.text.recipe import TextRecipe
from app.training.text.subwords import SubwordEmbedding

SEEDS = 1_000
"""The seeds of the networks of an ensemble start at this multiple of the recipe's."""


@dataclass(frozen=True)
class Lesson:
    """What a network learns from an ensemble."""

    texts: TokenizedTexts
    """The training texts and random parts of them. Targets of a whole text are a mean of its label and the
    ensemble's probabilities; those of a part are the latter."""
    embedding: SubwordEmbedding
    """The embedding of the ensemble's first network, to start from."""


@dataclass(frozen=True)
class Ensemble:
    """Trains the models of an ensemble, and labels texts with their mean probabilities."""

    recipe: TextRecipe
    tokenizer: Tokenizer
    train: TokenizedTexts
    """Texts with their labels as probabilities of 0 and 1."""
    validation: TokenizedTexts
    run: Path
    """Folder in which each network has a folder for its checkpoint."""
    seed: int
    on_batch: Callable[[str, int, int, int, float], None]
    """Called after each batch with the network's name and what `TextTrainer` calls its own with."""
    on_epoch: Callable[[str, EpochRecord], None]

    def teach(self) -> Lesson:
        """Train the ensemble, and return what a network learns from it."""
        parts = random_parts(self.train.ids, self.recipe.parts, self.seed)
        texts = [*self.train.ids, *parts]
        networks = [self._trained(index) for index in range(self.recipe.teachers)]
        probabilities = self._probabilities([one.network for one in networks], texts)
        share, count = self.recipe.ensemble_share, len(self.train)
        whole = torch.lerp(self.train.targets, probabilities[:count], share)
        return Lesson(TokenizedTexts(texts, torch.cat([whole, probabilities[count:]])), networks[0].embedding)

    def _probabilities(self, networks: Sequence[nn.Module], texts: Sequence[Tensor]) -> Tensor:
        """Return the mean probabilities (N, classes) of all models of the ensemble."""
        labels = self.train.targets.argmax(1)
        linear = NaiveBayes(self._words(self.train.ids), labels, self.train.targets.shape[1])
        by_model = [linear.probabilities(self._words(texts))]
        by_model += [compute_logits(network, texts).softmax(1) for network in networks]
        return torch.stack(by_model).mean(0)

    def _trained(self, index: int) -> Trained:
        """Return one network of the ensemble; one whose checkpoint is complete is not trained again."""
        name = f"teacher-{index + 1}"
        trainer = TextTrainer(
            self.recipe.teacher,
            vocabulary(self.tokenizer),
            self.train,
            self.validation,
            self.run / name,
            seed=self.seed * SEEDS + index + 1,
            on_batch=lambda *progress: self.on_batch(name, *progress),
            on_epoch=lambda record: self.on_epoch(name, record),
        )
        trainer.resume()
        return trainer.train()

    def _words(self, texts: Sequence[Tensor]) -> list[list[str]]:
        words = vocabulary(self.tokenizer)
        return [[words[index] for index in ids.tolist()] for ids in texts]


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """Return the words in the order of their ids."""
    ids = tokenizer.get_vocab()
    return sorted(ids, key=lambda word: ids[word])
