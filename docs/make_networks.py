"""Try the networks of torchvision, and write what was found into ``docs/networks.md``.

``python -m docs.make_networks`` tries all, each in a process of its own, which takes hours on two cores;
``python -m docs.make_networks resnet18 vit_b_16`` tries these and keeps what is known of the others. Findings are
kept in ``docs/networks.json``. Networks that were not tried are listed as such.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.trial import RULES, Trial, names, parameter_count, too_large
from docs.blocks import fill, table

FOUND = Path(__file__).with_name("networks.json")
COLUMNS = [
    "network",
    "parameters",
    "input",
    "exported",
    "served",
    "equal to",
    "nodes",
    "`epsilon_plus`",
    "`epsilon`",
]
LIMIT_S = 1800
"""Of one network."""


def main() -> None:
    """Try networks one after the other, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of torchvision's networks; by default all")
    for name in parser.parse_args().names or names():
        trial = tried_apart(name)
        print(trial.line, flush=True)
        write({**read(), name: trial})


def read() -> dict[str, Trial]:
    """Return what is known, by network."""
    rows = json.loads(FOUND.read_text()) if FOUND.exists() else []
    return {row["name"]: Trial(**row) for row in rows}


def write(found: dict[str, Trial]) -> None:
    """Write the findings and the page."""
    rows = [asdict(trial) for _, trial in sorted(found.items())]
    FOUND.write_text(json.dumps(rows, indent=1) + "\n")
    fill("networks.md", {"networks": block(found)})


def tried_apart(name: str) -> Trial:
    """Try a network in a process of its own, whose memory is free afterwards."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.trial", "--json", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except subprocess.TimeoutExpired:
        return Trial(name, parameter_count(name), 0, f"not finished in {LIMIT_S} s")
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        return Trial(name, parameter_count(name), 0, f"failed (exit code {error.returncode}): {last}")
    return Trial(**json.loads(done.stdout.splitlines()[-1]))


def block(found: dict[str, Trial]) -> str:
    """Return summary and table of all networks of torchvision."""
    trials = [found.get(name) or not_tried(name) for name in names()]
    served = sum(trial.refusal is None for trial in trials)
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    versions = f"torch {version('torch')}, torchvision {version('torchvision')}"
    summary = f"{served} of {len(trials)} networks were tried and can be served ({machine}, {versions}):"
    return f"{summary}\n\n{table(COLUMNS, [row(trial) for trial in trials])}"


def not_tried(name: str) -> Trial:
    """Return what is said of a network without findings."""
    return Trial(name, parameter_count(name), 0, too_large(name) or "not tried yet")


def row(trial: Trial) -> list[str]:
    """Return the row for `COLUMNS`."""
    first = [f"`{trial.name}`", f"{trial.parameters / 1e6:.1f} M"]
    if trial.refusal is not None:
        return [*first, "–", "–", trial.refusal, *["–"] * (len(COLUMNS) - 5)]
    passes = trial.forward_passes
    return [
        *first,
        f"{trial.side}×{trial.side}",
        f"yes, {trial.score_error:.0e}",
        "yes",
        f"{trial.reference}, {trial.relevance_error:.0e}",
        str(trial.nodes),
        *(f"{passes[rule]:.1f}" if rule in passes else "–" for rule in RULES),
    ]


if __name__ == "__main__":
    main()
