"""``report.html``: one page with everything in it, which needs no network and works from a mail's attachment.

Pictures are encoded in the order of their importance until the page is large enough; items without one are listed
by their names. The template escapes every name; the data of the page are JSON in which ``<`` is escaped, so that
no name can end a script.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.survey.findings import Findings
from app.survey.image.clusters import MAX_CLUSTERED
from app.survey.image.effects import MAX_CLUSTERS as MAX_MEASURED
from app.survey.image.effects import MAX_TRIED
from app.survey.image.embedding import MAX_POINTS
from app.survey.image.location import BANDS
from app.survey.image.strategies import Cluster
from app.survey.image.suspicion import Cells
from app.survey.image.thumbnails import map_url, mean_url, picture_url

PAGE = Path(__file__).parent / "page"
MAX_BYTES = 19_000_000
"""Of a report; a megabyte of the 20 that a mail may have is left for the mail's own encoding of names."""
MAX_MISTAKES = 40
MAX_IN_CELL = 24
"""Mistakes of one cell of the confusion matrix that have a picture."""
TYPICAL = 12
"""Items of a cluster that are shown."""
MAX_CLUSTERS = 60
MAX_OPEN = 8
"""Clusters that are shown before others are asked for."""
MAX_MATRIX = 25
"""Classes up to which the confusion is a matrix; of more, the most frequent pairs are listed."""
MAX_PAIRS = 60
MAX_MEANS = 200
MAX_FAILURES = 500
ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
SEQUENTIAL, DIVERGING = "inferno", "RdBu_r"


def write_report(findings: Findings, path: Path) -> None:
    """Write the report."""
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    environment.filters["percent"] = percent
    template = environment.get_template("report.html")
    files = {name: Markup((PAGE / name).read_text()) for name in ("report.css", "report.js")}  # noqa: S704 # ours
    page = template.render(_content(findings), data=as_script(_data(findings)), **_keyed(files))
    path.write_text(page, encoding="utf-8")


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share as text."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def as_script(data: Any) -> Markup:
    """Return JSON that may stand in a script element: no text in it can end the element or begin a comment."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.translate(ESCAPES))  # noqa: S704 # escaped


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


def _content(findings: Findings) -> dict[str, Any]:
    """Return what the template is filled with."""
    predictions, card = findings.predictions, findings.description.card
    return {
        "setup": findings.setup,
        "card": card,
        "items": findings.items,
        "count": len(findings.items),
        "accuracy": predictions.accuracy,
        "calibration_error": predictions.calibration_error(),
        "calibration": predictions.calibration(),
        "confusion": _confusion(findings),
        "mistakes": [_mistake(findings, row) for row in predictions.mistakes()[:MAX_MISTAKES]],
        "mistaken": len(predictions.mistakes()),
        "clusters": [_cluster(findings, one) for one in findings.clusters[:MAX_CLUSTERS]],
        "cluster_count": len(findings.clusters),
        "plots": [(one.target, findings.classes[one.target], len(one.rows)) for one in findings.strategies],
        "plotted": max((len(one.embedded) for one in findings.strategies), default=0),
        "means": [_mean(findings, one) for one in findings.means[:MAX_MEANS]],
        "bands": [_band(low, high) for low, high in BANDS],
        "channels": ("red", "green", "blue") if len(findings.pixels(0)) == 3 else ("grey",),
        "has_equal_channels": findings.has_equal_channels,
        "has_masks": bool((~np.isnan(findings.outside)).any()),
        "notes": findings.notes(),
        "failures": findings.failures[:MAX_FAILURES],
        "failed": len(findings.failures),
        "seconds": findings.seconds,
        "limits": {
            "open": MAX_OPEN,
            "clustered": MAX_CLUSTERED,
            "points": MAX_POINTS,
            "tried": MAX_TRIED,
            "clusters": MAX_MEASURED,
        },
    }


def _confusion(findings: Findings) -> dict[str, Any]:
    """Return the matrix of the classes that occur, or the most frequent confusions where these are many."""
    matrix = findings.predictions.confusion()
    used = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    pairs = [
        {"label": int(label), "prediction": int(prediction), "count": int(matrix[label, prediction])}
        for label, prediction in np.argwhere(matrix)
        if label != prediction
    ]
    pairs.sort(key=lambda one: -one["count"])
    rows = [
        {
            "label": int(label),
            "total": int(matrix[label].sum()),
            "cells": [
                {
                    "prediction": int(prediction),
                    "count": int(matrix[label, prediction]),
                    "share": float(matrix[label, prediction] / max(1, matrix[label].sum())),
                }
                for prediction in used
            ],
        }
        for label in used
    ]
    is_matrix = 0 < len(used) <= MAX_MATRIX
    return {
        "used": used.tolist(),
        "rows": rows if is_matrix else [],
        "pairs": [] if is_matrix else pairs[:MAX_PAIRS],
        "is_empty": not len(used),
    }


def _mistake(findings: Findings, row: int) -> dict[str, Any]:
    predictions = findings.predictions
    return {
        "row": int(row),
        "label": findings.classes[predictions.labels[row]],
        "prediction": findings.classes[predictions.classes[row]],
        "confidence": float(predictions.confidence[row]),
    }


def _cluster(findings: Findings, one: Cluster) -> dict[str, Any]:
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


def _mean(findings: Findings, one: Any) -> dict[str, Any]:
    return {"name": findings.classes[one.target], "mean": one, "map": mean_url(one.cells, DIVERGING)}


def _band(low: float, high: float) -> str:
    if low == 0:
        return f"< {_fraction(high)}"
    return f"> {_fraction(low)}" if high >= 1 else f"{_fraction(low)}–{_fraction(high)}"


def _fraction(frequency: float) -> str:
    return f"1/{round(1 / frequency)}"


def _keyed(files: Mapping[str, Markup]) -> dict[str, Markup]:
    return {name.rpartition(".")[2]: content for name, content in files.items()}


def _data(findings: Findings) -> dict[str, Any]:
    """Return what the page's script shows: items by number, with as many pictures as the page may have."""
    mentioned = list(dict.fromkeys(_by_importance(findings)))
    numbers = findings.cluster_numbers()
    data: dict[str, Any] = {
        "classes": list(findings.classes),
        "items": {row: _item(findings, row, int(numbers[row])) for row in mentioned},
        "cells": _cells(findings),
        "plots": {
            one.target: {"rows": one.embedded.tolist(), "points": np.round(one.points, 3).tolist()}
            for one in findings.strategies
        },
        "images": {},
    }
    left = MAX_BYTES - len(json.dumps(data))
    for row in mentioned:
        images = _images(findings, row)
        left -= sum(map(len, images)) + 40
        if left < 0:
            break
        data["images"][row] = images
    return data


def _by_importance(findings: Findings) -> Iterator[int]:
    """Yield items, the most important first; some come twice."""
    mistakes = findings.predictions.mistakes().tolist()
    yield from mistakes[:MAX_MISTAKES]
    shown = [int(row) for one in findings.clusters[:MAX_CLUSTERS] for row in one.rows[:TYPICAL]]
    yield from shown
    yield from (row for rows in _cells(findings).values() for row in rows)
    yield from (
        int(other) for row in [*mistakes[:MAX_MISTAKES], *shown] for other in findings.neighbours[row]
    )
    yield from _in_turn([one.embedded.tolist() for one in findings.strategies])


def _in_turn(lists: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    yield from (one[place] for place in range(longest) for one in lists if place < len(one))


def _cells(findings: Findings) -> dict[str, list[int]]:
    """Return the items of each cell of the confusion, by ``label,prediction``: mistakes by confidence."""
    predictions = findings.predictions
    cells: dict[str, list[int]] = {}
    for row in predictions.mistakes().tolist():
        cells.setdefault(f"{predictions.labels[row]},{predictions.classes[row]}", []).append(row)
    return {name: rows[:MAX_IN_CELL] for name, rows in cells.items()}


def _item(findings: Findings, row: int, cluster: int) -> list[Any]:
    """Return name, label, predicted class, its probability, cluster and neighbours."""
    predictions, item = findings.predictions, findings.items[row]
    return [
        item.name,
        item.label,
        int(predictions.classes[row]),
        round(float(predictions.confidence[row]), 3),
        cluster,
        _integers(findings.neighbours[row]),
    ]


def _images(findings: Findings, row: int) -> list[str]:
    contrast = findings.contrasts.get(row)
    maps = [findings.relevance(row), *([] if contrast is None else [contrast])]
    return [picture_url(findings.pixels(row)), *map(map_url, maps)]


def _integers(values: Iterable[int]) -> list[int]:
    return [int(value) for value in values]
