"""The training loop of one network for text: epochs, checkpoints and the moving average of the weights."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from app.errors import DataError
from app.models.records import EpochRecord
from app.system import keep_freed_memory
from app.training.checkpoint import read_checkpoint, write_checkpoint
from app.training.run_folder import CHECKPOINT
from app.training.text.batches import TokenizedTexts, padded, shuffled
from app.training.text.network import embedding_of, folded, network_to_train
from app.training.text.recipe import NetworkRecipe
from app.training.text.subwords import SubwordEmbedding

BATCH_SIZE = 128
"""Texts of a batch without gradients."""


@dataclass(frozen=True)
class Trained:
    """A trained network, the composed embedding that its plain one is made of, and the record of each epoch."""

    network: nn.Module
    embedding: SubwordEmbedding
    history: tuple[EpochRecord, ...]


class TextTrainer:
    """Trains one network. A checkpoint is saved after every epoch, from which training can be resumed."""

    def __init__(
        self,
        recipe: NetworkRecipe,
        words: Sequence[str],
        train: TokenizedTexts,
        validation: TokenizedTexts,
        run: Path,
        *,
        seed: int,
        start: SubwordEmbedding | None = None,
        on_batch: Callable[[int, int, int, float], None] = lambda *_: None,
        on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    ) -> None:
        """Create the network and its optimizer.

        Args:
            recipe: Hyper-parameters.
            words: The vocabulary in the order of ids.
            train: Texts to train on.
            validation: Texts on which accuracy is measured after each epoch.
            run: Folder of the checkpoint; created if it does not exist.
            seed: Seed of all random numbers.
            start: Embedding to start from, of the same width; by default its vectors are random.
            on_batch: Called after each batch with the epoch, counted from 0, the number of batches done and in
                total in this epoch, and the mean loss of the epoch so far.
            on_epoch: Called after each epoch.

        Raises:
            DataError: ``train`` has fewer texts than one batch.

        """
        self._batches = len(train) // recipe.batch_size
        if self._batches == 0:
            raise DataError(f"{len(train)} texts to train on do not fill one batch of {recipe.batch_size}")
        torch.manual_seed(seed)
        self._recipe = recipe
        self._train = train
        self._validation = validation
        self._run = run
        self._seed = seed
        self._on_batch = on_batch
        self._on_epoch = on_epoch
        self._classes = train.targets.shape[1]
        self._net = network_to_train(recipe, words, self._classes)
        if start is not None:
            embedding_of(self._net).load_state_dict(start.state_dict())
        self._clipped = [p for name, p in self._net.named_parameters() if not name.startswith("embedding.")]
        self._average = AveragedModel(self._net, multi_avg_fn=_averaging(recipe.average_decay))
        self._optimizer = AdamW(
            self._net.parameters(), recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0, fused=True
        )
        self._schedule = LambdaLR(self._optimizer, one_cycle(recipe.warmup, recipe.epochs * self._batches))
        self._history: list[EpochRecord] = []

    def resume(self) -> int:
        """Load the checkpoint in the run's folder, if there is one. Return the number of epochs done.

        Raises `DataError` if the checkpoint has another recipe or seed.
        """
        checkpoint = read_checkpoint(self._run, torch.device("cpu"))
        if checkpoint is not None:
            path = self._run / CHECKPOINT
            if (checkpoint.recipe, checkpoint.seed) != (str(self._recipe), self._seed):
                raise DataError(f"{path} is of another recipe or seed: name another folder of runs")
            self._history = checkpoint.restore(self._stateful())
        return len(self._history)

    def train(self) -> Trained:
        """Train the remaining epochs, save a checkpoint after each, and return the averaged network."""
        keep_freed_memory()
        for epoch in range(len(self._history), self._recipe.epochs):
            self._history.append(self._train_epoch(epoch))
            self._save()
            self._on_epoch(self._history[-1])
        return Trained(self._result(), embedding_of(self._average.module), tuple(self._history))

    def _train_epoch(self, epoch: int) -> EpochRecord:
        started = time.perf_counter()
        torch.manual_seed(self._seed * 100_003 + epoch)  # a resumed training equals an uninterrupted one
        self._net.train()
        loss_sum, agreed, seen = 0.0, 0, 0
        texts = shuffled(self._train, self._recipe.batch_size, self._recipe.word_dropout)
        for done, (ids, targets) in enumerate(texts, start=1):
            loss, logits = self._step(ids, targets)
            loss_sum += loss
            agreed += int((logits.argmax(1) == targets.argmax(1)).sum())
            seen += len(ids)
            self._on_batch(epoch, done, self._batches, loss_sum / done)
        return EpochRecord(
            epoch=epoch + 1,
            loss=round(loss_sum / self._batches, 5),
            train_accuracy=round(agreed / seen, 5),
            validation_accuracy=round(self._validate(), 5),
            learning_rate=round(float(self._schedule.get_last_lr()[0]), 7),
            seconds=round(time.perf_counter() - started, 1),
        )

    def _step(self, ids: Tensor, targets: Tensor) -> tuple[float, Tensor]:
        self._optimizer.zero_grad()
        logits = self._net(ids)
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self._clipped, self._recipe.largest_gradient)
        self._optimizer.step()
        self._schedule.step()
        self._average.update_parameters(self._net)
        return loss.item(), logits.detach()

    def _result(self) -> nn.Module:
        return folded(self._average.module, self._recipe, self._classes)

    def _validate(self) -> float:
        logits = compute_logits(self._result(), self._validation.ids)
        return float((logits.argmax(1) == self._validation.targets.argmax(1)).double().mean())

    def _stateful(self) -> tuple[tuple[str, Any], ...]:
        return (
            ("net", self._net),
            ("average", self._average),
            ("optimizer", self._optimizer),
            ("schedule", self._schedule),
        )

    def _save(self) -> None:
        write_checkpoint(self._run, self._stateful(), self._history, str(self._recipe), self._seed)


@torch.inference_mode()
def compute_logits(network: nn.Module, ids: Sequence[Tensor]) -> Tensor:
    """Return the logits (N, classes) of a network in evaluation mode."""
    return by_length(network.eval(), ids)


def by_length(function: Callable[[Tensor], Tensor], ids: Sequence[Tensor]) -> Tensor:
    """Return ``function``, (B, T) -> (B, …), of texts in their order; those of similar length share a batch."""
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    parts = [order[i : i + BATCH_SIZE] for i in range(0, len(order), BATCH_SIZE)]
    values = torch.cat([function(padded([ids[index] for index in part])) for part in parts])
    return values[torch.tensor(order).argsort()]


def one_cycle(warmup: float, steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate as a function of the step: linear warm-up, then linear decay."""
    peak = max(1.0, warmup * steps)
    return lambda step: min((step + 1) / peak, max(0.0, (steps - step) / max(1.0, steps - peak)))


def _averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return the update of a moving average that is the mean of all weights as long as those are few."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor) -> None:
        weight = max(1 - decay, 1 / (1 + int(count)))
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, weight)

    return update
