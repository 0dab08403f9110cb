"""The training loop for tables."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from app.training.table.members import Members
from app.training.table.recipe import TableRecipe

BEND = 0.1
"""Error in standard deviations beyond which the loss of a value grows linearly."""
WARMUP = 0.1
GRADIENT_NORM = 10.0

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs (n, outputs) and targets (n,) -> losses (n,)."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Rows to train on."""

    inputs: Tensor
    """(rows, columns)"""
    targets: Tensor
    """Standardised values or numbers of classes, (rows,)."""
    fold: Tensor
    """The member that each row is kept from, (rows,)."""
    classes: int | None
    """``None``: targets are values."""


def train(
    examples: Examples, recipe: TableRecipe, device: str, on_step: Callable[[int, float], None]
) -> Members:
    """Return the members, each trained on the rows of all folds but its own.

    ``on_step`` is called after each step with the number of steps done and the mean loss. Random numbers are
    those of torch's global generator.
    """
    outputs = examples.classes or 1
    network = Members(
        recipe.members,
        examples.inputs.shape[1],
        recipe.widths,
        outputs,
        biases=recipe.biases,
    ).to(device)
    inputs, targets, fold = (part.to(device) for part in (examples.inputs, examples.targets, examples.fold))
    trained = fold != torch.arange(recipe.members, device=device)[:, None]  # (members, rows)
    loss_of = value_loss if examples.classes is None else class_loss
    optimizer = AdamW(
        [
            {"params": [*network.weights], "weight_decay": recipe.weight_decay},
            {"params": [bias for bias in network.biases if bias.requires_grad], "weight_decay": 0.0},
        ]
    )
    schedule = OneCycleLR(optimizer, recipe.learning_rate, recipe.steps, pct_start=WARMUP)
    for step in range(1, recipe.steps + 1):
        rows = _batch(len(inputs), recipe.batch_size).to(device)
        found = network(inputs[rows])  # (members, B, outputs)
        losses = loss_of(found.flatten(0, 1), targets[rows].repeat(recipe.members)).view(found.shape[:2])
        mine = trained[:, rows]
        loss = ((losses * mine).sum(1) / mine.sum(1).clamp(min=1)).sum()  # of members, which share no weights
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        on_step(step, loss.item() / recipe.members)
    return network.cpu()


def value_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return smooth L1 losses: (n, 1), (n,) -> (n,)."""
    return F.smooth_l1_loss(outputs[:, 0], targets, reduction="none", beta=BEND)


def class_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return cross-entropies: (n, classes), (n,) -> (n,)."""
    return F.cross_entropy(outputs, targets, reduction="none")


@torch.inference_mode()
def out_of_fold(network: Members, examples: Examples) -> Tensor:
    """Return for each row the outputs of the member that was not trained on it: (rows, outputs)."""
    return torch.cat(
        [
            network(inputs)[fold, torch.arange(len(fold))]
            for inputs, fold in zip(examples.inputs.split(4096), examples.fold.split(4096), strict=True)
        ]
    )


def _batch(rows: int, size: int) -> Tensor:
    """Return the rows of a batch at random; all of them if they are no more than ``size``."""
    return torch.arange(rows) if rows <= size else torch.randint(rows, (size,))
