"""Measure whether a survey finds a mark that was planted in the training pictures of a class, and what cures it.

The shipped network is trained on with marked pictures. The pictures that it was trained on are surveyed: all of
the marked class, and some of each other. The pictures of the mark's cluster are exported and left out, and the
network is trained again. Each step is kept in the folder ``--run``, and done once. With ``--write`` the results
are added to those in ``docs/benchmark``, whose table is written. Run with
``python -m benchmarks.planted --data train.zip``.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.models.checkpoint import load_image
from app.settings import shipped_model
from app.training.data import load_split
from benchmarks import planted_results
from benchmarks.experiment import Experiment, Result, Setup
from benchmarks.marks import CASES
from docs import blocks

PAGE, BLOCK = "debugging.md", "planted"
MEASURES: dict[str, Callable[[Result], float | None]] = {
    "right": lambda one: one.accuracy,
    "changed by the mark": lambda one: one.changed,
    "rank": lambda one: one.rank,
    "its suspicion": lambda one: one.mark_suspicion,
    "purity": lambda one: one.purity,
    "found": lambda one: one.found,
    "highest suspicion": lambda one: one.suspicion,
    "rank by pixels": lambda one: one.pixels,
    "rank by CoRelAy": lambda one: one.corelay,
    "cured: changed": lambda one: one.cured_changed,
    "cured: highest suspicion": lambda one: one.cured_suspicion,
}
"""Columns of the table."""
USED = 0.5
"""Share of predictions that change with the mark above which the network relies on it."""


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder or zip with the split train")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=1, help="runs of each case")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first of these runs")
    parser.add_argument("--epochs", type=int, default=2, help="of each training")
    parser.add_argument("--others", type=int, default=500, help="surveyed pictures of each other class")
    parser.add_argument("--run", type=Path, default=Path("runs/planted"), help="folder for all steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--write", action="store_true", help=f"also keep the results, and write the table into docs/{PAGE}"
    )
    arguments = parser.parse_args()
    setup = Setup(arguments.data.name, arguments.epochs, arguments.others)
    check(arguments.run, setup)
    images, console = load_split(arguments.data, "train"), Console(width=160)
    card = load_image(shipped_model())[1]
    if images.classes != card.classes:
        known = ", ".join(card.classes)
        raise SystemExit(f"{arguments.data} has other classes than the shipped network: {known}")
    results = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for case in arguments.cases:
            results.append(Experiment(case, seed, images, setup, arguments.run, arguments.device).result())
            console.print(f"{case}, seed {seed}: {described(results[-1])}", highlight=False)
    if arguments.write:
        results = planted_results.add(results, setup, card.version)
        blocks.fill(PAGE, {BLOCK: text(results, setup)})
    console.print(table(results), *sentences(results), sep="\n")


def check(run: Path, setup: Setup) -> None:
    """Write what all runs of a folder have in common, or end the program if they have something else."""
    run.mkdir(parents=True, exist_ok=True)
    path, wanted = run / "setup.json", json.dumps(asdict(setup), indent=1)
    if path.exists() and path.read_text().strip() != wanted:
        raise SystemExit(f"{run} has runs with other options ({path}): name another folder with --run")
    path.write_text(wanted + "\n")


def described(result: Result) -> str:
    """Return the figures of one run in words."""
    return ", ".join(
        f"{name} {figure(value)}" for name, of in MEASURES.items() if (value := of(result)) is not None
    )


def rows(results: Sequence[Result]) -> list[list[str]]:
    """Return a row of the table for each case: the figures of all its runs."""
    found = []
    for name, case in CASES.items():
        runs = [one for one in results if one.case == name]
        if runs:
            figures = [span([of(one) for one in runs]) for of in MEASURES.values()]
            found.append([case.title, str(len(runs)), *figures])
    return found


def span(values: Sequence[float | None]) -> str:
    """Return the least and the largest value, one if they look the same, a dash if there is none."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return "–"
    low, high = figure(known[0]), figure(known[-1])
    return low if low == high else f"{low} to {high}"


def figure(value: float) -> str:
    """Return a rank as it is, and a share with two digits."""
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def sentences(results: Sequence[Result]) -> list[str]:
    """Return what the runs say of the two goals: the mark's cluster is first, a clean network not suspected."""
    used = [one for one in results if one.changed is not None and one.changed > USED]
    scores = [one.mark_suspicion for one in used if one.mark_suspicion is not None]
    clean = [one.suspicion for one in results if one.changed is None]
    found = [
        f"The mark's cluster is the most suspicious in {sum(one.rank == 1 for one in used)} of {len(used)} runs "
        "in which the mark changes more than half of the predictions."
    ]
    if scores and clean:
        found.append(
            f"The highest suspicion without a mark is {max(clean):.2f}, and the lowest of the mark's cluster in "
            f"those runs {min(scores):.2f}."
        )
    return found


def table(results: Sequence[Result]) -> Table:
    """Return the table for the terminal."""
    printed = Table("planted", "runs", *MEASURES)
    for row in rows(results):
        printed.add_row(*row)
    return printed


def text(results: Sequence[Result], setup: Setup) -> str:
    """Return the table and the sentences for the page."""
    columns = ["planted", "runs", *MEASURES]
    title = f"Trainings of {setup.epochs} epochs, {setup.others} surveyed pictures of each other class:"
    return f"{title}\n\n{blocks.table(columns, rows(results))}\n\n{' '.join(sentences(results))}"


if __name__ == "__main__":
    main()
