"""``summary.json``: the findings of a survey as plain numbers."""

import math
from collections.abc import Mapping
from typing import Any

from app.survey.findings import Findings


def summary(findings: Findings, of_kind: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a survey found, as JSON; ``of_kind`` are the members of its kind of input."""
    setup, card = findings.setup, findings.description.card
    return {
        "data": setup.data,
        "model": {"name": card.name, "version": card.version},
        "kind": card.kind,
        "rule": setup.rule,
        "parameters": dict(setup.parameters),
        "seed": setup.seed,
        "date": setup.date,
        "versions": dict(setup.versions),
        "items": len(findings.items) + len(findings.failures),
        "explained": len(findings.items),
        "failed": [{"path": one.name, "error": one.reason} for one in findings.failures],
        **findings.predictions.summary(),
        "median_leak": _median([float(one) for one in findings.store.leak[findings.rows]]),
        "classes": list(card.classes),
        **of_kind,
        "notes": findings.notes(),
        "seconds": {name: round(seconds, 1) for name, seconds in findings.seconds.items()},
    }


def _median(values: list[float]) -> float | None:
    known = sorted(value for value in values if not math.isnan(value))
    return known[len(known) // 2] if known else None
