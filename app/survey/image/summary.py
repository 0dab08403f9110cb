"""Members of ``summary.json`` that only surveys of pictures have."""

from typing import Any

from app.survey.image.findings import ImageFindings
from app.survey.image.location import BANDS, Mean
from app.survey.image.strategies import Cluster

MAX_TYPICAL = 12
"""Typical items of a cluster that are named."""


def summary(findings: ImageFindings) -> dict[str, Any]:
    """Return clusters, and means of classes."""
    return {
        "method": findings.method,
        "clusters": [cluster_summary(findings, one) for one in findings.clusters],
        "means": [_mean(findings, one) for one in findings.means],
        "bands": [list(one) for one in BANDS],
    }


def cluster_summary(findings: ImageFindings, cluster: Cluster) -> dict[str, Any]:
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


def _mean(findings: ImageFindings, mean: Mean) -> dict[str, Any]:
    return {
        "class": findings.classes[mean.target],
        "items": mean.count,
        "channels": mean.channels,
        "bands": mean.bands,
        "outside_mask": mean.outside,
    }
