"""Results of planted marks that are kept in the project, so that runs on several machines make one table."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.experiment import Result, Setup
from docs import blocks

PATH = blocks.PAGES / "benchmark" / "planted.json"


def read(setup: Setup, weights: str, path: Path = PATH) -> list[Result]:
    """Return the results that are kept; none if they are of another ``setup`` or of other ``weights``."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    if {name: kept.get(name) for name in ("setup", "weights")} != _head(setup, weights):
        return []
    return [Result(**one) for one in kept["results"]]


def add(results: Iterable[Result], setup: Setup, weights: str, path: Path = PATH) -> list[Result]:
    """Keep ``results``, in place of those of the same case and seed, and return all that are kept.

    Results of another setup or of other weights are dropped.
    """
    merged = {(one.case, one.seed): one for one in (*read(setup, weights, path), *results)}
    found = [merged[key] for key in sorted(merged)]
    content = {**_head(setup, weights), "results": [asdict(one) for one in found]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    return found


def _head(setup: Setup, weights: str) -> dict[str, Any]:
    return {"setup": asdict(setup), "weights": weights}
