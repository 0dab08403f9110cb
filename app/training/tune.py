"""``lrpserve tune``: search for the composite with the best maps, and write it into the model's card."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.errors import DataError
from app.lrp.composites import COMPOSITES, DEFAULT_RULE, Chain, Composite, resolve
from app.lrp.graph.kinds import kinds
from app.models.card import ModelCard
from app.models.checkpoint import load_image, write_card
from app.models.records import TunedComposite
from app.quality.intervals import ratio_of_means
from app.quality.tuning import Candidate, Group, SearchResult, layer_groups, overrides, search
from app.training.data import LabelledImages, has_split, held_out_count, hold_out, load_split, split_seed
from app.training.evaluation import engine_of
from app.training.gap import GapMeter
from app.training.stamp import today


def tune(
    card_path: Path, data: Path, *, minutes: float, pictures: int, reported: int, seed: int
) -> TunedComposite:
    """Search for the composite with the largest gap and write it into the card as ``tuned``.

    Args:
        card_path: Card of the network; rewritten.
        data: Folder or zip of pictures. Of one with a split ``train``, the pictures are used that were held out
            from the network's training, if it was trained on the same data.
        minutes: Duration of the search; measuring the result takes longer.
        pictures: Number of pictures that are searched on.
        reported: Number of other pictures, on which the result is measured.
        seed: Seed of the choice of pictures and of the search.

    Raises:
        DataError: There are too few pictures.

    """
    network, card = load_image(card_path)
    chain = kinds(network.graph)
    chosen = _choose(held_out(data, card), pictures + reported, seed)
    groups = layer_groups(chain)
    engine = engine_of(network, card.normalisation)
    searched = GapMeter(engine, card.normalisation, chosen.images[:pictures])
    result = _search(searched, chain, groups, minutes, seed)
    layers = overrides(groups, result.best)
    measured = GapMeter(engine, card.normalisation, chosen.images[pictures:])
    tuned = measured.of_composite(_composite(chain, layers))
    default = measured.of_composite(_composite(chain, ()))
    occlusion = measured.of_occlusion()
    share = ratio_of_means(np.stack([tuned, occlusion], 1))
    found = TunedComposite(
        layers=layers,
        gap=_rounded(tuned.mean()),
        default_gap=_rounded(default.mean()),
        occlusion_gap=_rounded(occlusion.mean()),
        share_of_occlusion=_rounded(share.value),
        interval=(_rounded(share.low), _rounded(share.high)),
        pictures=reported,
        searched_on=pictures,
        tried=result.tried,
        seed=seed,
        data=data.name,
        date=today(),
    )
    write_card(card.model_copy(update={"tuned": found}), card_path)
    return found


def _search(
    meter: GapMeter, chain: Chain, groups: Sequence[Group], minutes: float, seed: int
) -> SearchResult:
    """Search on the pictures of ``meter``, behind a progress bar."""
    starts = [_as_candidate(resolve(chain, name, {}, []), groups) for name in COMPOSITES]
    begin, duration = time.monotonic(), 60 * minutes
    with Progress(*_columns()) as progress:
        bar = progress.add_task("searching", total=duration, best=-np.inf)

        def score(candidate: Candidate) -> float:
            gap = float(meter.of_composite(_composite(chain, overrides(groups, candidate))).mean())
            best = max(gap, progress.tasks[0].fields["best"])
            progress.update(bar, completed=min(time.monotonic() - begin, duration), best=best)
            return gap

        result = search(groups, starts, score, lambda: time.monotonic() - begin >= duration, seed)
        # Measuring takes minutes: an interruption must not lose what was found.
        progress.console.print(
            f"gap {result.score:.3f} on the pictures that were searched on, measuring on others:",
            *overrides(groups, result.best),
            sep="\n",
            markup=False,
        )
        return result


def _columns() -> tuple[TextColumn | BarColumn | TaskProgressColumn | TimeElapsedColumn, ...]:
    best = TextColumn("best gap {task.fields[best]:.3f}")
    return TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), best, TimeElapsedColumn()


def _composite(chain: Chain, layers: Sequence[str]) -> Composite:
    return resolve(chain, DEFAULT_RULE, {}, layers)


def _as_candidate(composite: Composite, groups: Sequence[Group]) -> Candidate:
    """Return the rule that ``composite`` gives to the first layer of each group."""
    rules = dict(composite.layers)
    return tuple(rules[group.layers[0]] for group in groups)


def held_out(data: Path, card: ModelCard) -> LabelledImages:
    """Return the pictures of ``data`` that the network was not trained on.

    Of one with a split ``train`` they are those that were held out from the training, in random order.
    """
    if not has_split(data, "train"):
        return load_split(data, "test")
    images = load_split(data, "train")
    return hold_out(images, held_out_count(len(images)), split_seed(card))[1]


def _choose(images: LabelledImages, count: int, seed: int) -> LabelledImages:
    if len(images) < count:
        raise DataError(
            f"{len(images)} pictures are too few, {count} are needed: lower --pictures or --reported"
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images.select(order[:count])


def _rounded(value: float) -> float:
    return round(float(value), 5)
