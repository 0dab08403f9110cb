"""What the report of tables shows: beeswarm and dependence plots of relevance."""

from functools import partial
from typing import Any

import numpy as np

from app.modalities.table.drawing.bars import bars_of_features
from app.modalities.table.modality import TableModality, TableOptions
from app.modalities.table.scores import scored
from app.modalities.table.spec import Category, TableSpec
from app.survey.arrays import Rows
from app.survey.kind import Page, Section
from app.survey.numerals import number
from app.survey.table.features import Features, Floats
from app.survey.table.findings import FeatureFinding, OutputFeatures, TableFindings
from app.survey.table.plots import axis_of, dots, ends, levels_of, spread

MAX_OUTPUTS = 10
"""Classes that are shown: those that are predicted most often."""
MAX_FEATURES = 20
"""Of a beeswarm; the others are one line, their sum."""
MAX_DEPENDENCE = 12
"""Dependence plots of each output."""
MAX_POINTS = 1_000
"""Of each plot; of more rows, so many are drawn at random."""
WIDTH, LINE = 560.0, 30.0
"""Of a beeswarm and of each of its lines."""
SIDE, HEIGHT = 260.0, 170.0
"""Of a dependence plot."""
JITTER = 0.35
"""How far points of one category are spread, in places of categories."""


def page(findings: TableFindings, spec: TableSpec, modality: TableModality) -> Page:
    """Return what the report shows."""
    outputs = sorted(findings.by_output, key=lambda one: -len(one.rows))[:MAX_OUTPUTS]
    drawn = [_output(findings, one) for one in outputs]
    unit = findings.description.card.unit
    return Page(
        noun="row",
        mistakes="Each with the features that have the largest relevance; choose one to see all of them.",
        sections=[
            Section("features", "What counts", "table_beeswarm.html", {"outputs": drawn, "unit": unit}),
            Section("dependence", "By value", "table_dependence.html", {"outputs": drawn, "unit": unit}),
        ],
        method=Section("method", "Method", "table_method.html", {"points": MAX_POINTS}),
        files="relevance.h5 has their maps: the relevance of each column that the network takes.",
        script="table.js",
        drawing=partial(drawing, findings, spec, modality),
        found_by="values",
    )


def drawing(
    findings: TableFindings, spec: TableSpec, modality: TableModality, row: int
) -> list[list[list[Any]]]:
    """Return name, value and relevance of each feature, and of a mistake why it is not its label."""
    sample = modality.decode(findings.items[row].read(), TableOptions())
    contrast = findings.contrasts.get(row)
    maps = [findings.contributions(np.array([row]))[0], *([] if contrast is None else [contrast])]
    charts = [bars_of_features(scored(one, sample.features, spec), None) for one in maps]
    return [[[bar.name, bar.value, float(f"{bar.relevance:.4g}")] for bar in bars] for bars in charts]


def _output(findings: TableFindings, one: OutputFeatures) -> dict[str, Any]:
    order = np.random.default_rng(findings.setup.seed).permutation(one.rows)
    shown = findings.table.of(np.sort(order[:MAX_POINTS]))
    return {
        "name": findings.classes[one.target],
        "count": len(one.rows),
        "drawn": min(len(one.rows), MAX_POINTS),
        "beeswarm": _beeswarm(shown, one),
        "dependence": [_dependence(shown, feature) for feature in one.features[:MAX_DEPENDENCE]],
        "other_features": max(0, len(one.features) - MAX_DEPENDENCE),
    }


def _beeswarm(shown: Features, one: OutputFeatures) -> dict[str, Any]:
    """Return the lines of a beeswarm, each with its points around its own middle."""
    listed, others = one.features[:MAX_FEATURES], [feature.number for feature in one.features[MAX_FEATURES:]]
    rest = shown.relevance[:, others].sum(1)
    numbers = [feature.number for feature in listed]
    axis = axis_of(np.concatenate([shown.relevance[:, numbers].ravel(), rest, [0.0]]), WIDTH)
    lines = []
    for feature in listed:
        relevance, spec = shown.relevance[:, feature.number], shown.features[feature.number]
        offsets = spread(relevance, axis, LINE - 6)
        levels = levels_of(shown.values[:, feature.number], spec)
        lines.append(
            {
                "name": spec.name,
                "magnitude": number(feature.magnitude, 3),
                "dots": dots(axis.place(relevance), offsets, levels),
            }
        )
    if others:
        unknown = np.full(len(rest), -1, np.int8)
        name = f"{len(others)} other features"
        lines.append(
            {
                "name": name,
                "magnitude": "",
                "dots": dots(axis.place(rest), spread(rest, axis, LINE - 6), unknown),
            }
        )
    return {
        "lines": lines,
        "width": WIDTH,
        "line": LINE,
        "zero": axis.zero,
        "low": number(axis.low, 3),
        "high": number(axis.high, 3),
    }


def _dependence(shown: Features, feature: FeatureFinding) -> dict[str, Any]:
    """Return one plot of relevance by value, coloured by the feature with the strongest interaction."""
    spec = shown.features[feature.number]
    known = np.flatnonzero(~np.isnan(shown.values[:, feature.number]))
    values, relevance = shown.values[known, feature.number], shown.relevance[known, feature.number]
    other = None if feature.interaction is None else shown.features[feature.interaction]
    levels = (
        np.full(len(known), 0, np.int8)
        if other is None or feature.interaction is None
        else levels_of(shown.values[known, feature.interaction], other)
    )
    x, labels = _places(values, known, spec)
    down = axis_of(np.append(relevance, 0.0), HEIGHT)
    return {
        "name": spec.name,
        "unit": spec.unit,
        "other": other and other.name,
        "other_ends": ()
        if other is None or feature.interaction is None
        else _ends(shown, feature.interaction),
        "missing": len(shown.values) - len(known),
        "width": SIDE,
        "height": HEIGHT,
        "zero": HEIGHT - (down.zero or 0.0),
        "low": number(down.low, 3),
        "high": number(down.high, 3),
        "ends": ends(values, spec) if len(values) else (),
        "labels": labels,
        "dots": dots(x, HEIGHT - down.place(relevance), levels),
    }


def _ends(shown: Features, feature: int) -> Any:
    values = shown.values[:, feature]
    return () if np.isnan(values).all() else ends(values, shown.features[feature])


def _places(values: Floats, known: Rows, spec: Any) -> tuple[Floats, list[tuple[float, str]]]:
    """Return where values are on the horizontal axis, and of categories their places with their names."""
    if not isinstance(spec, Category):
        return (axis_of(values, SIDE).place(values) if len(values) else values), []
    step = SIDE / len(spec.categories)
    jitter = np.random.default_rng(0).uniform(-JITTER, JITTER, len(known))
    return (values + 0.5 + jitter) * step, [
        ((place + 0.5) * step, name) for place, name in enumerate(spec.categories)
    ]
