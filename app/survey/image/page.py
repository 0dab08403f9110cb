"""What the report of pictures shows: strategies, and what counts where."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from app.survey.image.clusters import MAX_CLUSTERED
from app.survey.image.effects import MAX_CLUSTERS as MAX_MEASURED
from app.survey.image.effects import MAX_TRIED
from app.survey.image.embedding import MAX_POINTS
from app.survey.image.findings import ImageFindings
from app.survey.image.location import BANDS, Mean
from app.survey.image.strategies import Cluster
from app.survey.image.suspicion import Cells
from app.survey.image.thumbnails import map_url, mean_url, picture_url
from app.survey.kind import Page, Section

TYPICAL = 12
"""Items of a cluster that are shown."""
MAX_CLUSTERS = 60
MAX_OPEN = 8
"""Clusters that are shown before others are asked for."""
MAX_MEANS = 200
SEQUENTIAL, DIVERGING = "inferno", "RdBu_r"


def page(findings: ImageFindings) -> Page:
    """Return what the report shows."""
    clusters = findings.clusters
    suspicion = clusters[0].suspicion if clusters else None
    return Page(
        noun="picture",
        mistakes="Each with what the network sees, its map for the predicted class, and that for this class "
        "rather than the label.",
        sections=[_strategies(findings), _where(findings)],
        method=_method(findings),
        files="relevance.h5 has their maps, for CoRelAy; virelay/project.yaml opens all of it in ViRelAy.",
        script="image.js",
        drawing=partial(drawing, findings),
        items=[int(row) for one in findings.clusters[:MAX_CLUSTERS] for row in one.rows[:TYPICAL]],
        more=list(_in_turn([one.embedded.tolist() for one in findings.strategies])),
        figures=[
            ("clusters of maps", str(len(clusters))),
            ("highest suspicion", "–" if suspicion is None else f"{suspicion:.2f}"),
        ],
        data={
            "plots": {
                one.target: {"rows": one.embedded.tolist(), "points": np.round(one.points, 3).tolist()}
                for one in findings.strategies
            }
        },
    )


def drawing(findings: ImageFindings, row: int) -> list[str]:
    """Return data URLs of what the network sees, its map, and of a mistake why it is not its label."""
    contrast = findings.contrasts.get(row)
    maps = [findings.relevance(row), *([] if contrast is None else [contrast])]
    return [picture_url(findings.pixels(row)), *map(map_url, maps)]


def outline(cells: Cells) -> str:
    """Return the SVG path around chosen cells of a grid, one unit a cell."""
    padded = np.pad(cells, 1)
    steps = []
    for row, column in np.argwhere(cells):
        above, below = padded[row, column + 1], padded[row + 2, column + 1]
        left, right = padded[row + 1, column], padded[row + 1, column + 2]
        steps += [f"M{column} {row}h1"] * (not above) + [f"M{column} {row + 1}h1"] * (not below)
        steps += [f"M{column} {row}v1"] * (not left) + [f"M{column + 1} {row}v1"] * (not right)
    return "".join(steps)


def _strategies(findings: ImageFindings) -> Section:
    content = {
        "clusters": [_cluster(findings, one) for one in findings.clusters[:MAX_CLUSTERS]],
        "cluster_count": len(findings.clusters),
        "plots": [(one.target, findings.classes[one.target], len(one.rows)) for one in findings.strategies],
        "open_count": MAX_OPEN,
    }
    return Section("strategies", "Strategies", "image_strategies.html", content)


def _where(findings: ImageFindings) -> Section:
    content = {
        "rule": findings.setup.rule,
        "means": [_mean(findings, one) for one in findings.means[:MAX_MEANS]],
        "bands": [_band(low, high) for low, high in BANDS],
        "channels": ("red", "green", "blue") if len(findings.pixels(0)) == 3 else ("grey",),
        "has_equal_channels": findings.has_equal_channels,
        "has_masks": bool((~np.isnan(findings.outside)).any()),
    }
    return Section("where", "What counts where", "image_where.html", content)


def _method(findings: ImageFindings) -> Section:
    rows, columns = findings.maps.shape[1:]
    content = {
        "rows": rows,
        "columns": columns,
        "method": findings.method,
        "clustered": MAX_CLUSTERED,
        "points": MAX_POINTS,
        "tried": MAX_TRIED,
        "measured": MAX_MEASURED,
    }
    return Section("method", "Method", "image_method.html", content)


def _in_turn(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    yield from (one[place] for place in range(longest) for one in lists if place < len(one))


def _cluster(findings: ImageFindings, one: Cluster) -> dict[str, Any]:
    rows, columns = one.region.shape
    return {
        "name": findings.classes[one.target],
        "cluster": one,
        "mean": mean_url(one.mean, SEQUENTIAL),
        "rows": rows,
        "columns": columns,
        "outline": outline(one.region),
        "typical": [int(row) for row in one.rows[:TYPICAL]],
        "area": float(one.region.mean()),
    }


def _mean(findings: ImageFindings, one: Mean) -> dict[str, Any]:
    return {"name": findings.classes[one.target], "mean": one, "map": mean_url(one.cells, DIVERGING)}


def _band(low: float, high: float) -> str:
    if low == 0:
        return f"< {_fraction(high)}"
    return f"> {_fraction(low)}" if high >= 1 else f"{_fraction(low)}–{_fraction(high)}"


def _fraction(frequency: float) -> str:
    return f"1/{round(1 / frequency)}"
