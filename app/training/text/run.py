"""``lrpserve train`` for recipes of text models: from tab-separated files to the model's folder."""

import dataclasses
from pathlib import Path

import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from app.errors import DataError
from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel
from app.models.checkpoint import save_traced
from app.models.records import EpochRecord, Measured, TrainingRecord
from app.models.text_card import TOKENIZER
from app.training.evaluation import fit_temperature
from app.training.options import TrainOptions
from app.training.plots import confusion_matrix, learning_curve
from app.training.run_folder import check_before_training
from app.training.stamp import today, versions
from app.training.text.batches import TokenizedTexts, tokenize
from app.training.text.data import LabelledTexts, load_splits
from app.training.text.ensemble import Ensemble, vocabulary
from app.training.text.evaluation import evaluate
from app.training.text.loop import TextTrainer, Trained, compute_logits
from app.training.text.network import scale_logits
from app.training.text.recipe import TextRecipe
from app.training.text.tokenizer import fit_tokenizer

LIBRARIES = ("lrpserve", "torch", "tokenizers")


def train_text(recipe: TextRecipe, options: TrainOptions) -> Path:
    """Train a classifier of texts and return the path of its card. Training runs on the CPU.

    Writes the model's folder, and a learning curve and confusion matrix into the run's folder. The test texts are
    used once, after training.

    Raises:
        DataError: An option, the name, the run's folder or the data cannot be used; checked before training.

    """
    options.refuse(recipe.name, "test_data", "start", "target", "impute")
    if options.data is None:
        raise DataError(f"recipe {recipe.name!r} needs --data: a folder of train.tsv and test.tsv")
    name, run = options.name or recipe.name, options.runs / recipe.name
    check_before_training(run, name, options.resume)
    splits = load_splits(options.data, recipe.classes, options.seed)
    tokenizer = fit_tokenizer(splits.train.texts, recipe.min_count)
    train, validation, test = (
        _tokenized(tokenizer, split, recipe.max_tokens)
        for split in (splits.train, splits.validation, splits.test)
    )
    trained = _train(recipe, tokenizer, train, validation, run, options)
    model, classes = _exported(trained.network, validation, recipe.max_tokens), splits.train.classes
    measured = [evaluate(model, texts, classes) for texts in (validation, test)]
    card = _save(
        model,
        tokenizer,
        recipe,
        options,
        name,
        classes,
        _record(recipe, options, trained.history, measured),
    )
    learning_curve(trained.history, run / "learning-curve.png")
    confusion_matrix(measured[1], classes, run / "confusion-matrix.png")
    return card


def _tokenized(tokenizer: Tokenizer, data: LabelledTexts, max_tokens: int) -> TokenizedTexts:
    targets = F.one_hot(data.labels, len(data.classes)).float()
    return TokenizedTexts(tokenize(tokenizer, data.texts, max_tokens), targets)


def _train(
    recipe: TextRecipe,
    tokenizer: Tokenizer,
    train: TokenizedTexts,
    validation: TokenizedTexts,
    run: Path,
    options: TrainOptions,
) -> Trained:
    """Train the ensemble and then the network, with a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task(recipe.name, total=None, loss="")

        def on_batch(name: str, epoch: int, done: int, batches: int, loss: float) -> None:
            description = f"{name}, epoch {epoch + 1}"
            progress.update(
                bar, description=description, completed=done, total=batches, loss=f"loss {loss:.3f}"
            )

        def on_epoch(name: str, record: EpochRecord) -> None:
            accuracy = f"validation {record.validation_accuracy:.2%}"
            progress.console.print(f"{name}, epoch {record.epoch}: {accuracy}, {record.seconds:.0f} s")

        ensemble = Ensemble(recipe, tokenizer, train, validation, run, options.seed, on_batch, on_epoch)
        lesson = ensemble.teach()
        trainer = TextTrainer(
            recipe.network,
            vocabulary(tokenizer),
            lesson.texts,
            validation,
            run,
            seed=options.seed,
            start=lesson.embedding,
            on_batch=lambda *done: on_batch(recipe.name, *done),
            on_epoch=lambda record: on_epoch(recipe.name, record),
        )
        trainer.resume()
        return trainer.train()


def _exported(network: nn.Module, validation: TokenizedTexts, max_tokens: int) -> TracedModel:
    """Return the network to serve, calibrated, and in half precision, in which it is stored.

    The logits are divided by the temperature that fits the validation texts best (Guo et al. 2017).
    """
    logits = compute_logits(network, validation.ids)
    scale_logits(network, 1 / fit_temperature(logits, validation.targets.argmax(1)))
    # What depends on the number of tokens only, such as positions, is stored for as many as the example has.
    return trace(network.half().float(), torch.zeros(1, max_tokens, dtype=torch.int64))


def _save(
    model: TracedModel,
    tokenizer: Tokenizer,
    recipe: TextRecipe,
    options: TrainOptions,
    name: str,
    classes: tuple[str, ...],
    record: TrainingRecord,
) -> Path:
    return save_traced(
        model.map_weights(_narrowed),
        options.output or options.runs / recipe.name,
        name=name,
        assets={TOKENIZER: tokenizer.to_str().encode()},
        kind="text",
        architecture=recipe.network.architecture,
        classes=classes,
        text={"max_tokens": recipe.max_tokens},
        training=record,
    )


def _narrowed(tensor: Tensor) -> Tensor:
    """Return a tensor in half precision if that changes no value."""
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def _record(
    recipe: TextRecipe,
    options: TrainOptions,
    history: tuple[EpochRecord, ...],
    measured: list[Measured],
) -> TrainingRecord:
    assert options.data is not None
    return TrainingRecord(
        recipe=dataclasses.asdict(recipe),
        seed=options.seed,
        data=options.data_name or options.data.name,
        history=history,
        validation=measured[0],
        test=measured[1],
        versions=versions(LIBRARIES),
        date=today(),
    )
