"""The training loop: epochs, checkpoints and the moving average of the weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from app.errors import DataError
from app.models.architectures.minivgg import MiniVGG
from app.models.device import has_bfloat16
from app.models.image_card import Normalisation
from app.models.records import EpochRecord
from app.system import keep_freed_memory
from app.training.augment import Batches, normalise
from app.training.checkpoint import read_checkpoint, write_checkpoint
from app.training.data import LabelledImages
from app.training.evaluation import compute_logits, fit_temperature
from app.training.network import (
    NumpyDropout,
    build_network,
    fold_norms,
    init_whitening,
    mix_weights,
    scale_logits,
    start_from,
)
from app.training.recipe import Recipe
from app.training.rms_norm import limit_biases
from app.training.run_folder import CHECKPOINT

FIRST_IMAGES = 2_000
"""Number of images on which the initialisation depends."""


@dataclass(frozen=True)
class TrainingResult:
    """The network to serve, and the record of each epoch of its training."""

    model: MiniVGG
    history: tuple[EpochRecord, ...]


class Trainer:
    """Trains one MiniVGG. A checkpoint is saved after every epoch, from which training can be resumed."""

    def __init__(
        self,
        recipe: Recipe,
        train: LabelledImages,
        validation: LabelledImages,
        normalisation: Normalisation,
        run: Path,
        *,
        start: MiniVGG | None = None,
        seed: int = 0,
        device: str = "cpu",
        on_batch: Callable[[int, int, int, float, float], None] = lambda *_: None,
        on_epoch: Callable[[EpochRecord], None] = lambda _: None,
    ) -> None:
        """Create the network and its optimizer.

        Args:
            recipe: Hyper-parameters.
            train: Images to train on.
            validation: Images on which accuracy is measured after each epoch.
            normalisation: Normalisation of the network's input.
            run: Folder of the checkpoint; created if it does not exist.
            start: Trained network to start from, for a conserving recipe; by default weights are random.
            seed: Seed of all random numbers.
            device: Device to train on.
            on_batch: Called after each batch with the epoch, counted from 0, the number of batches done and in
                total in this epoch, and the mean loss and accuracy of the epoch so far.
            on_epoch: Called after each epoch.

        Raises:
            DataError: ``train`` has fewer images than one batch.

        """
        torch.manual_seed(seed)
        self._recipe = recipe
        self._validation = validation
        self._normalisation = normalisation
        self._run = run
        self._start = start
        self._seed = seed
        self._device = torch.device(device)
        self._in_bfloat16 = recipe.bfloat16 and has_bfloat16(self._device)
        self._on_batch = on_batch
        self._on_epoch = on_epoch
        if len(train) < recipe.batch_size:
            raise DataError(f"{len(train)} pictures to train on do not fill one batch of {recipe.batch_size}")
        self._batches = Batches(train, normalisation, recipe, seed)
        self._classes = len(train.classes)
        model = MiniVGG(self._classes)
        first_images = normalise(train.images[:FIRST_IMAGES], normalisation)
        if recipe.whiten:
            init_whitening(model.features[0], first_images)  # type: ignore[arg-type] # Sequential's items are typed as Module
        self._net = build_network(model, recipe)
        if start is not None:
            start_from(self._net, start, first_images)
        self._net = self._net.to(self._device)
        self._average = (
            AveragedModel(
                self._net, multi_avg_fn=get_ema_multi_avg_fn(recipe.average_decay), use_buffers=True
            )
            if recipe.average_decay
            else None
        )
        self._optimizer = _optimizer(self._net, recipe)
        self._schedule = LambdaLR(self._optimizer, _one_cycle(recipe, len(self._batches)))
        self._history: list[EpochRecord] = []

    def resume(self) -> int:
        """Load the checkpoint in the run's folder, if there is one. Return the number of epochs done.

        Raises `DataError` if the checkpoint has another recipe or seed. The seed also determines which images
        are held out for validation.
        """
        checkpoint = read_checkpoint(self._run, self._device)
        if checkpoint is not None:
            path = self._run / CHECKPOINT
            if checkpoint.recipe != str(self._recipe):
                raise DataError(f"{path} is of another recipe: name another run folder")
            if checkpoint.seed not in (None, self._seed):
                raise DataError(f"{path} is of seed {checkpoint.seed}; resume with that one")
            self._history = checkpoint.restore(self._stateful())
        return len(self._history)

    def train(self) -> TrainingResult:
        """Train the remaining epochs and save a checkpoint after each."""
        keep_freed_memory()
        for epoch in range(len(self._history), self._recipe.epochs):
            self._history.append(self._train_epoch(epoch))
            self._save()
            self._on_epoch(self._history[-1])
        model = fold_norms(self._result(), self._classes).cpu()
        if self._start is not None:
            mix_weights(model, self._start, self._recipe.start_share)
        if self._recipe.calibrate:
            logits = compute_logits(model, self._validation, self._normalisation)
            scale_logits(model, 1 / fit_temperature(logits, self._validation.labels))
        return TrainingResult(model, tuple(self._history))

    def _train_epoch(self, epoch: int) -> EpochRecord:
        started = time.perf_counter()
        self._net.train()
        for index, layer in enumerate(self._net):
            if isinstance(layer, NumpyDropout):
                layer.reseed(self._seed, epoch, index)
        loss_sum, correct, seen = 0.0, 0, 0
        for done, (inputs, labels) in enumerate(self._batches.epoch(epoch), start=1):
            loss, logits = self._step(inputs.to(self._device), labels.to(self._device))
            loss_sum += loss * len(labels)
            correct += int((logits.argmax(1) == labels.to(self._device)).sum())
            seen += len(labels)
            self._on_batch(epoch, done, len(self._batches), loss_sum / seen, correct / seen)
        return EpochRecord(
            epoch=epoch + 1,
            side=self._recipe.side(epoch),
            loss=round(loss_sum / seen, 5),
            train_accuracy=round(correct / seen, 5),
            validation_accuracy=round(self._validate(), 5),
            learning_rate=round(float(self._schedule.get_last_lr()[0]), 7),
            seconds=round(time.perf_counter() - started, 1),
        )

    def _step(self, inputs: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        self._optimizer.zero_grad()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._in_bfloat16):
            logits = self._net(inputs)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        loss.backward()
        self._optimizer.step()
        self._schedule.step()
        limit_biases(self._net, self._largest_bias())
        if self._average is not None:
            self._average.update_parameters(self._net)
        return loss.item(), logits.detach()

    def _largest_bias(self) -> float:
        """Return the largest bias that a conserving recipe allows after this step."""
        steps = self._recipe.fade * self._recipe.epochs * len(self._batches)
        return max(0.0, 1 - self._schedule.last_epoch / steps) if steps else 0.0

    def _result(self) -> nn.Sequential:
        """Return the network in evaluation mode, with averaged weights if the recipe averages them."""
        net = self._net if self._average is None else self._average.module
        assert isinstance(net, nn.Sequential)
        # The average still contains a trace of biases that were allowed earlier.
        limit_biases(net, self._largest_bias())
        return net.eval()

    def _validate(self) -> float:
        logits = compute_logits(self._result(), self._validation, self._normalisation, self._device)
        return float((logits.argmax(1) == self._validation.labels).double().mean())

    def _stateful(self) -> list[tuple[str, Any]]:
        parts = [("net", self._net), ("optimizer", self._optimizer), ("schedule", self._schedule)]
        return parts if self._average is None else [*parts, ("average", self._average)]

    def _save(self) -> None:
        write_checkpoint(self._run, self._stateful(), self._history, str(self._recipe), self._seed)


def _optimizer(net: nn.Module, recipe: Recipe) -> Optimizer:
    if recipe.optimizer == "adam":
        return Adam(net.parameters(), lr=recipe.learning_rate, fused=True)
    weights = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]  # biases, batch normalisation: no weight decay
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others},
    ]
    return SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True, fused=True)


def _one_cycle(recipe: Recipe, steps_per_epoch: int) -> Callable[[int], float]:
    """Return the factor of the learning rate as a function of the step: linear warm-up, then linear decay."""
    if recipe.warmup == 0:
        return lambda _: 1.0
    total = recipe.epochs * steps_per_epoch
    peak = recipe.warmup * total
    return lambda step: min((step + 1) / peak, max(0.0, (total - step) / (total - peak)))
