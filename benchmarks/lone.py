"""Measure where the time of a request goes while no other client sends any.

Each step is measured alone, in this process, and as the service runs it, behind the hand-over to another process
or thread; then whole requests over HTTP. All take turns within a round, so that a noisy machine affects them
equally; figures are medians over the calls of all rounds. Run with ``make bench-lone``.
"""

import argparse
import asyncio
import http.client
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import torch
import uvloop
from rich.console import Console
from rich.table import Column, Table

from app.modalities.image.modality import ImageOptions
from app.models.local import LocalModel
from app.models.protocol import Job
from app.runtime.model_process import ModelProcess
from app.runtime.processes import ProcessExecutor
from app.serving.factory import create_pipeline, create_renderer, worker_memory_bytes
from app.serving.rendering import Renderer
from app.serving.representations import Format, explanation
from app.serving.requests import ExplainOptions
from app.serving.scheduler import BatchLimits, Scheduler
from app.serving.timings import Timings
from app.settings import Settings, shipped_model
from app.system import available_cores, keep_freed_memory
from app.telemetry.metrics import Metrics
from benchmarks import hardware, relevance
from benchmarks.peers.contenders import MULTIPART, OURS, RAW
from benchmarks.service import Body, make_bodies, running
from docs import blocks

GOAL_MS = 2.5
"""Milliseconds that a request may take in addition to the engine."""
KEEP_ALIVE_S = 60
"""Longer than a round, in which each connection is idle for a while."""
RULE = "epsilon_plus_flat"
OPTIONS = ExplainOptions(input=ImageOptions())
WRITE = partial(explanation, form=Format.PNG, values=False)
COLUMNS = ["step", "alone ms", "as served ms", "difference ms"]
STEPS: Mapping[str, tuple[str | None, str | None]] = {
    "engine": ("engine", None),
    "model: results from the engine, in a process of its own": ("model", "model process"),
    "scheduler: the same, in batches": (None, "scheduler"),
    "decode a JPEG, in a worker": ("decode", "decode in a worker"),
    "draw a PNG, in a worker": ("draw", "draw in a worker"),
    "all of these, in turn": (None, "pipeline"),
    "HTTP alone: `GET /livez`": (None, "GET"),
    "`POST /explain`, JPEG to PNG": (None, "POST"),
    "`POST /explain`, in a form": (None, "POST a form"),
}
"""What is measured of each step: alone, and as served."""

Call = Callable[[], Awaitable[object]]


async def medians_ms(candidates: Mapping[str, Call], rounds: int, calls: int) -> dict[str, float]:
    """Return the median milliseconds of each candidate.

    In each round the candidates take turns, with one call that is not measured and then ``calls`` that are.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            await call()
            for _ in range(calls):
                started = time.perf_counter()
                await call()
                times[name].append(1000 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


@contextmanager
def steps(settings: Settings, picture: bytes) -> Iterator[dict[str, Call]]:
    """Yield the steps of an explanation of a ``picture`` file without HTTP, in this process and as served."""
    card, cores = shipped_model(), settings.cores or available_cores()
    process = ModelProcess([card], "cpu", cores)
    local = LocalModel.load(card, "cpu", cores)
    engine = relevance.candidates(card, RULE, 1, torch.device("cpu"))["engine"]
    (remote,) = process.models
    renderer = create_renderer(remote.description, settings)
    workers = ProcessExecutor(
        renderer,
        cores,
        deadline_s=settings.queue_deadline_s,
        on_death=_fail,
        memory_limit_bytes=worker_memory_bytes(settings),
    )
    metrics = Metrics().of_model(remote.description.card.name)
    scheduler = Scheduler(remote, limits=BatchLimits(), metrics=metrics)
    pipeline = create_pipeline(remote, settings, metrics, workers)
    sample, request = renderer.decode(picture, OPTIONS.input), pipeline.request(OPTIONS)
    job = Job(sample.input, (request,))
    (result,) = local.run([job])
    explain = Renderer.explain
    try:
        yield {
            "engine": _here(engine),
            "model": _here(partial(local.run, [job])),
            "model process": _here(partial(remote.run, [job])),
            "scheduler": partial(scheduler.submit, job),
            "decode": _here(partial(renderer.decode, picture, OPTIONS.input)),
            "decode in a worker": partial(workers.call, Renderer.decode, picture, OPTIONS.input),
            "draw": _here(partial(explain, renderer, sample, request, result, OPTIONS, WRITE)),
            "draw in a worker": partial(workers.call, explain, sample, request, result, OPTIONS, WRITE),
            "pipeline": lambda: pipeline.explain(picture, OPTIONS, Timings(), WRITE),
        }
    finally:
        pipeline.close()
        scheduler.close()


@contextmanager
def requests(bodies: Mapping[str, Body]) -> Iterator[dict[str, Call]]:
    """Yield requests over one connection each to the service, which runs meanwhile."""
    os.environ["LRP_KEEP_ALIVE_S"] = str(KEEP_ALIVE_S)
    with running(OURS) as server:
        server.wait_until_ready()
        address = server.url.removeprefix("http://")
        connect = partial(http.client.HTTPConnection, address, timeout=60)
        yield {
            "GET": _here(partial(_exchange, connect(), "GET", "/livez")),
            "POST": _here(partial(_explain, connect(), bodies[RAW])),
            "POST a form": _here(partial(_explain, connect(), bodies[MULTIPART])),
        }


def _explain(connection: http.client.HTTPConnection, body: Body) -> None:
    headers = {"Content-Type": body.content_type}
    _exchange(connection, "POST", "/explain?format=png", body.path.read_bytes(), headers)


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError(f"{method} {path}: {response.status}, {answer[:500]!r}")


def _here(run: Callable[[], object]) -> Call:
    async def call() -> object:
        return run()

    return call


def _fail(error: BaseException) -> None:
    raise error


async def measure(rounds: int, calls: int) -> dict[str, float]:
    """Return the median milliseconds of each step by name."""
    with tempfile.TemporaryDirectory(prefix="lrpserve-bench-") as folder:
        bodies = make_bodies(Path(folder))
        with steps(Settings(), bodies[RAW].path.read_bytes()) as inside, requests(bodies) as outside:
            return await medians_ms({**inside, **outside}, rounds, calls)


def lines(found: Mapping[str, float]) -> list[list[str]]:
    """Return the rows for `COLUMNS`."""
    rows = []
    for step, (alone, served) in STEPS.items():
        cells = ["–" if name is None else f"{found[name]:.2f}" for name in (alone, served)]
        difference = "–" if alone is None or served is None else f"{found[served] - found[alone]:.2f}"
        rows.append([step, *cells, difference])
    return rows


def sentence(found: Mapping[str, float]) -> str:
    """Return what is left to the goal."""
    above = found["POST"] - found["engine"]
    return f"The request takes the engine's time + {above:.2f} ms (goal: + {GOAL_MS} ms)."


def main() -> None:
    """Print the table of all steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=5, help="calls of each step in a round")
    parser.add_argument("--write", action="store_true", help="also write the table into docs/performance.md")
    arguments = parser.parse_args()
    keep_freed_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.rounds, arguments.calls))
    machine = f"{hardware.described(torch.device('cpu'))}, torch {version('torch')}"
    title = f"Medians of {arguments.rounds} rounds of {arguments.calls} calls ({machine})"
    rows = lines(found)
    table = Table(*(Column(name, justify="right") for name in COLUMNS), title=title)
    for row in rows:
        table.add_row(*row)
    console = Console(width=120)
    console.print(table)
    console.print(sentence(found))
    if arguments.write:
        blocks.fill(
            "performance.md", {"lone": f"{title}:\n\n{blocks.table(COLUMNS, rows)}\n\n{sentence(found)}"}
        )


if __name__ == "__main__":
    main()
