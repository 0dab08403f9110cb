"""Learning curve and confusion matrix as PNGs. Requires the extra ``train`` (matplotlib)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.models.records import EpochRecord, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2166ac", "#d6604d", "#888888"


def learning_curve(history: Sequence[EpochRecord], path: Path) -> None:
    """Plot training and validation accuracy and the training loss of each epoch as a PNG."""
    figure = _figure(8, 4.5)
    accuracy = figure.add_subplot()
    epochs = [record.epoch for record in history]
    accuracy.plot(
        epochs, [100 * r.train_accuracy for r in history], color=ORANGE, label="training, augmented"
    )
    accuracy.plot(epochs, [100 * r.validation_accuracy for r in history], color=BLUE, label="validation")
    accuracy.set(xlabel="epoch", ylabel="accuracy, %")
    accuracy.grid(alpha=0.3)
    loss = accuracy.twinx()
    loss.plot(epochs, [r.loss for r in history], color=GREY, linestyle=":", label="training loss")
    loss.set_ylabel("loss")
    lines = [*accuracy.get_lines(), *loss.get_lines()]
    accuracy.legend(lines, [str(line.get_label()) for line in lines], loc="center right", frameon=False)
    accuracy.set_title(
        f"{100 * history[-1].validation_accuracy:.1f} % on validation after {len(epochs)} epochs"
    )
    figure.savefig(path, dpi=120)


def confusion_matrix(measured: Measured, classes: Sequence[str], path: Path) -> None:
    """Plot the confusion matrix as a PNG: rows are true classes, columns are predicted classes."""
    figure = _figure(7, 6.5)
    axes = figure.add_subplot()
    rows = [[count / max(1, sum(row)) for count in row] for row in measured.confusion]
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    for i, row in enumerate(measured.confusion):
        for j, count in enumerate(row):
            colour = "white" if rows[i][j] > 0.5 else "black"
            axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(f"{100 * measured.accuracy:.2f} % of {measured.count} pictures")
    figure.savefig(path, dpi=120)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # a slow import of an optional dependency

    return Figure(figsize=(width, height), layout="constrained")
