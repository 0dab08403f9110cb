"""``summary.json``: the findings of a survey as plain numbers."""

import math
from typing import Any

from app.survey.findings import Findings
from app.survey.image.location import BANDS, Mean
from app.survey.image.strategies import Cluster

MAX_TYPICAL = 12
"""Typical items of a cluster that are named."""


def summary(findings: Findings) -> dict[str, Any]:
    """Return what a survey found, as JSON."""
    setup, card, predictions = findings.setup, findings.description.card, findings.predictions
    return {
        "data": setup.data,
        "model": {"name": card.name, "version": card.version},
        "rule": setup.rule,
        "method": setup.method,
        "seed": setup.seed,
        "date": setup.date,
        "versions": dict(setup.versions),
        "items": len(findings.items) + len(findings.failures),
        "explained": len(findings.items),
        "failed": [{"path": one.name, "error": one.reason} for one in findings.failures],
        "accuracy": predictions.accuracy,
        "calibration_error": predictions.calibration_error(),
        "median_leak": _median([float(one) for one in findings.store.leak[findings.rows]]),
        "classes": list(card.classes),
        "confusion": predictions.confusion().tolist(),
        "clusters": [cluster_summary(findings, one) for one in findings.clusters],
        "means": [_mean(findings, one) for one in findings.means],
        "bands": [list(one) for one in BANDS],
        "notes": findings.notes(),
        "seconds": {name: round(seconds, 1) for name, seconds in findings.seconds.items()},
    }


def cluster_summary(findings: Findings, cluster: Cluster) -> dict[str, Any]:
    """Return what was measured of a cluster."""
    effect = cluster.effect
    return {
        "class": findings.classes[cluster.target],
        "cluster": cluster.number,
        "items": len(cluster.rows),
        "share": cluster.share,
        "accuracy": cluster.accuracy,
        "suspicion": cluster.suspicion,
        "separation": cluster.separation,
        "concentration": cluster.concentration,
        "changed_when_covered": effect and effect.covered,
        "rest_changed_when_covered": effect and effect.rest_covered,
        "taken_for_class_when_pasted": effect and effect.pasted,
        "taken_for_class_when_rest_pasted": effect and effect.rest_pasted,
        "region": [[int(row), int(column)] for row, column in zip(*cluster.region.nonzero(), strict=True)],
        "grid": list(cluster.region.shape),
        "typical": [findings.items[row].name for row in cluster.rows[:MAX_TYPICAL]],
    }


def _mean(findings: Findings, mean: Mean) -> dict[str, Any]:
    return {
        "class": findings.classes[mean.target],
        "items": mean.count,
        "channels": mean.channels,
        "bands": mean.bands,
        "outside_mask": mean.outside,
    }


def _median(values: list[float]) -> float | None:
    known = sorted(value for value in values if not math.isnan(value))
    return known[len(known) // 2] if known else None
