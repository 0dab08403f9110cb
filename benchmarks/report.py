"""Results of the service benchmark: medians over the rounds, ratios, tables, a plot."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, AFTERNOON = ("lrpserve", "lrpserve-bfloat16"), "afternoon"
MULTIPART = "multipart"

COLUMNS = (
    *("clients", "service", "body", "answers/s", "p50 ms", "p99 ms"),
    *("refused", "errors", "CPU ms/answer", "peak MB"),
)
MAX_OTHERS = 0.1
"""Largest share of the machine's processor time for other processes at which figures are valid."""

MARKERS = ("o", "s", "^", "D", "v", "P")
COLOURS = (
    "#000000",
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
)  # Okabe and Ito, safe for colour-blind readers


@dataclass(frozen=True)
class Load:
    """Counts of wrk: ``answered`` are 200s, ``refused`` are 503s, ``errors`` are all other failures.

    Latencies include refusals, since wrk does not separate them.
    """

    answered: int
    refused: int
    errors: int
    seconds: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Cell:
    """Result of one contender under one load in one round.

    ``cpu_s`` and ``peak_mb`` are those of its whole process tree. ``others`` is the share of the machine's
    processor time that neither the contender nor wrk used.
    """

    service: str
    body: str
    clients: int
    round: int
    load: Load
    cpu_s: float
    peak_mb: float
    others: float

    @property
    def key(self) -> tuple[int, str, str]:
        return self.clients, self.body, self.service


@dataclass(frozen=True)
class Start:
    """Seconds from process start to ready, and megabytes when ready, of one contender in one round."""

    service: str
    round: int
    seconds: float
    ready_mb: float


@dataclass(frozen=True)
class Row:
    """Medians over the rounds of one contender under one load.

    ``rate`` is in answers per second; ``refused`` and ``errors`` are shares of all answers.
    """

    clients: int
    service: str
    body: str
    rate: float
    p50_ms: float
    p99_ms: float
    refused: float
    errors: float
    cpu_ms: float
    peak_mb: float

    def texts(self) -> list[str]:
        return [
            *(str(self.clients), self.service, self.body, f"{self.rate:.1f}"),
            *(f"{self.p50_ms:.0f}", f"{self.p99_ms:.0f}", f"{self.refused:.0%}", f"{self.errors:.0%}"),
            *(f"{self.cpu_ms:.1f}", f"{self.peak_mb:.0f}"),
        ]


@dataclass(frozen=True)
class Ratio:
    """Answers per second of one of `OURS`, relative to the `afternoon` service and to the best peer.

    A ratio is ``None`` if that peer did not run.
    """

    clients: int
    service: str
    rate: float
    afternoon: float | None
    best: float | None
    best_name: str


def parse_load(printed: str) -> Load:
    """Parse the line of JSON that ``load.lua`` prints. Raises `ValueError` with wrk's output if there is none."""
    line = next((line for line in reversed(printed.splitlines()) if line.startswith("{")), None)
    if line is None:
        raise ValueError(f"wrk reported no counts: {printed.strip() or 'no output'}")
    counts = json.loads(line)
    errors = counts.pop("failed") + counts.pop("broken")
    return Load(errors=errors, **counts)


def rows(cells: Sequence[Cell]) -> list[Row]:
    """Return one row for each load and contender, sorted by clients, then multipart before raw."""
    keys = sorted(dict.fromkeys(cell.key for cell in cells), key=lambda key: key[:2])
    return [_row([cell for cell in cells if cell.key == key]) for key in keys]


def _row(cells: Sequence[Cell]) -> Row:
    first = cells[0]

    def median(values: Iterable[float]) -> float:
        return statistics.median(values)

    return Row(
        clients=first.clients,
        service=first.service,
        body=first.body,
        rate=median(cell.load.answered / cell.load.seconds for cell in cells),
        p50_ms=median(cell.load.p50_ms for cell in cells),
        p99_ms=median(cell.load.p99_ms for cell in cells),
        refused=median(_share(cell.load.refused, cell.load) for cell in cells),
        errors=median(_share(cell.load.errors, cell.load) for cell in cells),
        cpu_ms=median(1000 * cell.cpu_s / max(cell.load.answered, 1) for cell in cells),
        peak_mb=median(cell.peak_mb for cell in cells),
    )


def _share(count: int, load: Load) -> float:
    return count / max(load.answered + load.refused + load.errors, 1)


def others_sentence(cells: Sequence[Cell]) -> str:
    """State the processor time used by other processes, with a warning above `MAX_OTHERS`.

    torch's threads synchronise by spinning. If one of them has no core, a server slows down many times.
    """
    shares = [cell.others for cell in cells]
    median = statistics.median(shares)
    sentence = (
        f"Other processes used {median:.0%} of the machine's processor time "
        f"(median over the loads; {max(shares):.0%} at most)."
    )
    if median <= MAX_OTHERS:
        return sentence
    return f"{sentence} **This is too much: measure again when the machine is quiet.**"


def ratios(table: Sequence[Row]) -> list[Ratio]:
    """Return one ratio for each number of clients and each of `OURS`, for multipart bodies."""
    found = []
    for clients in sorted({row.clients for row in table}):
        rates = {row.service: row.rate for row in table if row.clients == clients and row.body == MULTIPART}
        ours = {name: rates.pop(name) for name in OURS if name in rates}
        best = max(rates, key=rates.__getitem__, default="")
        found += [
            Ratio(
                clients, name, rate, _ratio(rate, rates.get(AFTERNOON)), _ratio(rate, rates.get(best)), best
            )
            for name, rate in ours.items()
        ]
    return found


def _ratio(ours: float, theirs: float | None) -> float | None:
    return ours / theirs if theirs else None


def rich_table(title: str, columns: Sequence[str], body: Iterable[Sequence[str]]) -> Table:
    """Return a table for the terminal; figures are aligned to the right."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column in ("service", "body") else "right")
    for line in body:
        table.add_row(*line)
    return table


def markdown_table(columns: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; figures are aligned to the right."""
    rules = ["---" if column in ("service", "body", "process") else "---:" for column in columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, rules, *body))


def ratio_lines(found: Iterable[Ratio]) -> list[list[str]]:
    """Format the ratios as rows for `RATIO_COLUMNS`."""
    return [
        [
            *(str(ratio.clients), ratio.service, f"{ratio.rate:.1f}"),
            *(f"{value:.2f}" if value else "–" for value in (ratio.afternoon, ratio.best)),
            ratio.best_name or "–",
        ]
        for ratio in found
    ]


RATIO_COLUMNS = ("clients", "service", "answers/s", "× afternoon", "× best peer", "best peer")


def plot(table: Sequence[Row], path: Path) -> None:
    """Plot answers per second and the 99th percentile of latency by number of clients, and save to ``path``."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    multipart = [row for row in table if row.body == MULTIPART]
    services = list(dict.fromkeys(row.service for row in multipart))
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        rate, latency = figure.subplots(1, 2)
        for number, service in enumerate(services):
            lines = [row for row in multipart if row.service == service]
            style = {
                "label": service,
                "color": COLOURS[number % len(COLOURS)],
                "marker": MARKERS[number % len(MARKERS)],
                "linewidth": 3 if service in OURS else 1.6,
            }
            clients = [row.clients for row in lines]
            rate.plot(clients, [row.rate for row in lines], **style)
            # A latency of 0 means that there was no answer.
            latency.plot(clients, [row.p99_ms or math.nan for row in lines], **style)
        _label(rate, multipart, "Explanations answered per second", "higher is better")
        _label(latency, multipart, "99th percentile of latency, ms", "lower is better")
        rate.set_ylim(bottom=0)
        latency.set_yscale("log")
        figure.legend(*rate.get_legend_handles_labels(), loc="outside lower center", ncols=len(services))
        figure.savefig(path, dpi=130)


def _label(axes: "Axes", table: Sequence[Row], title: str, better: str) -> None:
    clients = sorted({row.clients for row in table})
    axes.set_title(f"{title} ({better})", fontsize=12)
    axes.set_xscale("log", base=2)
    axes.set_xticks(clients, [str(count) for count in clients])
    axes.set_xlabel("clients at once")
    axes.grid(visible=True, alpha=0.3)


def raw_json(cells: Sequence[Cell], starts: Sequence[Start], about: dict[str, object]) -> str:
    """Return the figures of every round as JSON."""
    found = {
        **about,
        "cells": [asdict(cell) for cell in cells],
        "starts": [asdict(start) for start in starts],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
