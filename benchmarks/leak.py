"""Measure the leak of each rule on labelled pictures.

The leak is the share of the relevance put in at the output that does not reach the pixels; a negative one is
relevance gained. The first ``--count`` pictures of a shuffled order are explained, each for its predicted class.
Run with ``python -m benchmarks.leak --data test.zip``.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Column, Table

from app.lrp.composites import COMPOSITES
from app.lrp.rules import RULES
from app.models.checkpoint import load_image
from app.settings import shipped_model
from app.training.data import load_split
from app.training.evaluation import leaks
from docs import blocks

COLUMNS = ["rule", "5 %", "median leak", "95 %"]
SHARES = (0.05, 0.5, 0.95)


def main() -> None:
    """Print the table of all composites and rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder or zip with the split test")
    parser.add_argument("--model", type=Path, default=shipped_model())
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="also write the table into docs/correctness.md")
    arguments = parser.parse_args()
    network, card = load_image(arguments.model)
    data = load_split(arguments.data, "test")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(arguments.seed))
    chosen = data.select(order[: arguments.count])
    rows = [
        [f"`{rule}`", *figures(leaks(network, chosen, card.normalisation, rule))]
        for rule in (*COMPOSITES, *RULES)
    ]
    title = f"Leak of {len(chosen)} test pictures, weights `{card.sha256[:12]}`"
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
    if arguments.write:
        blocks.fill("correctness.md", {"leak": f"{title}:\n\n{blocks.table(COLUMNS, rows)}"})


def figures(values: torch.Tensor) -> list[str]:
    """Return the quantiles of ``values`` for `SHARES`, without the sign of a zero."""
    return [f"{float(values.nanquantile(share)):.2f}".replace("-0.00", "0.00") for share in SHARES]


if __name__ == "__main__":
    main()
