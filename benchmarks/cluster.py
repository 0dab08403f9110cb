"""Soak test of the service on a Ray cluster of three nodes, of which processes and nodes are killed under load.

Clients check every answer against that of the idle service, and send what fails once more. Prints a table, and
fails if an answer was wrong, or a request failed twice. Run with ``python -m benchmarks.cluster``; a minute of it
with ``--seconds 60``. It needs the extra ``ray``.
"""

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from benchmarks.exchanges import REQUEST_S, Exchange, alike, client_of, exchanges
from benchmarks.ray_nodes import Nodes, three_nodes

CLIENTS = 4
RETRY_S = 1.0
"""Pause before a request is sent again, unless ``Retry-After`` says otherwise."""
REFUSED = "503"
MODEL, INGRESS = "minivgg-cifar10", "ingress"
NO_FAULT = "none"
QUIET_S = 10.0
"""Shortest time between the end of a fault and the next one."""


@dataclass
class Tally:
    """What became of the requests that were answered, or failed at first, in one phase."""

    requests: int = 0
    answered: int = 0
    retried: int = 0
    """Failed, and were answered when sent again."""
    wrong: int = 0
    lost: int = 0
    """Failed twice."""
    failures: Counter[str] = field(default_factory=Counter)
    """Why requests failed at first: status or error of the connection."""
    losses: Counter[str] = field(default_factory=Counter)
    """The same of those that were lost, the last time."""


class Load:
    """Clients that send requests until the end of the block; each sends the next one when it has its answer."""

    def __init__(self, nodes: Nodes, expected: Sequence[Exchange]) -> None:
        self.phases: dict[str, Tally] = {}
        self._nodes, self._exchanges = nodes, itertools.cycle(expected)
        self._phase, self._lock, self._ended = NO_FAULT, threading.Lock(), threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)

    def __enter__(self) -> Self:
        self._clients = [self._pool.submit(self._send) for _ in range(CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._pool.shutdown()
        for one in self._clients:
            one.result()

    def begin(self, phase: str) -> Tally:
        """Count what ends from now on in ``phase``, together with its earlier times."""
        with self._lock:
            self._phase = phase
            return self.phases.setdefault(phase, Tally())

    def wait_for(self, count: int) -> None:
        """Wait until so many further requests are done; raises what a client raises."""
        goal = self._done() + count
        while self._done() < goal:
            for one in self._clients:
                if one.done():
                    one.result()
            time.sleep(0.05)

    def _done(self) -> int:
        with self._lock:
            return sum(one.answered + one.retried + one.wrong + one.lost for one in self.phases.values())

    def _send(self) -> None:
        with client_of(self._nodes) as client:
            while not self._ended.is_set():
                with self._lock:
                    exchange = next(self._exchanges)
                answer, failure = _try(client, exchange)
                with self._lock:
                    tally = self.phases.setdefault(self._phase, Tally())
                    tally.requests += 1
                    tally.failures.update([failure] if failure else [])
                retried = failure is not None
                if retried:
                    answer, failure = _retry(client, exchange, answer)
                result = (
                    "lost" if failure else _result(answer, exchange, "retried" if retried else "answered")
                )
                with self._lock:
                    setattr(tally, result, getattr(tally, result) + 1)
                    tally.losses.update([failure] if failure else [])


def _retry(
    client: httpx.Client, exchange: Exchange, answer: httpx.Response | None
) -> tuple[httpx.Response | None, str | None]:
    """Send once more what failed with ``answer``; return what `_try` does.

    A refusal is an answer, which says when to come again: it is obeyed, for `REQUEST_S` at most.
    """
    ends_at = time.monotonic() + REQUEST_S
    failure: str | None = REFUSED
    while failure == REFUSED and time.monotonic() < ends_at:
        time.sleep(RETRY_S if answer is None else float(answer.headers.get("Retry-After", RETRY_S)))
        answer, failure = _try(client, exchange)
    return answer, failure


def _result(answer: httpx.Response | None, exchange: Exchange, right: str) -> str:
    """Return the field of `Tally` that counts an answer, ``right`` if it is the expected one."""
    return right if answer is not None and alike(answer, exchange.answer) else "wrong"


def _try(client: httpx.Client, exchange: Exchange) -> tuple[httpx.Response | None, str | None]:
    """Return the answer, if there is one, and why it is none that was wanted."""
    try:
        answer = client.post(exchange.path, **exchange.options)
    except httpx.TransportError as error:
        return None, type(error).__name__
    return answer, None if answer.status_code == httpx.codes.OK else str(answer.status_code)


def faults(nodes: Nodes) -> dict[str, Callable[[], str]]:
    """Return what can happen to the cluster, by name; each returns what it hit."""
    return {
        "a model's replica killed": lambda: nodes.kill_replica(MODEL),
        "an ingress killed": lambda: nodes.kill_replica(INGRESS),
        "a node removed": nodes.remove_worker,
    }


def soak(seconds: float) -> tuple[dict[str, Tally], Counter[str]]:
    """Return what became of the requests, by the last fault before them, and how often each fault occurred."""
    times: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, three_nodes(Path(folder)) as nodes:
        ends_at = time.monotonic() + seconds
        with Load(nodes, exchanges(nodes)) as load:
            load.begin(NO_FAULT)
            for name, inject in itertools.cycle(faults(nodes).items()):
                time.sleep(min(QUIET_S, max(0.0, ends_at - time.monotonic())))
                if time.monotonic() >= ends_at:
                    break
                load.begin(name)
                times[name] += 1
                print(f"{seconds - ends_at + time.monotonic():4.0f} s: {name}: {inject()}", flush=True)
                nodes.restore()
    return load.phases, times


def table(phases: Mapping[str, Tally], times: Mapping[str, int]) -> str:
    """Return the result in Markdown."""
    lines = [
        "| last fault | times | requests | answered | when sent again | wrong | lost | failed at first by "
        "| lost by |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for name, one in phases.items():
        lines.append(
            f"| {name} | {times.get(name, '–')} | {one.requests} | {one.answered} | {one.retried} | {one.wrong} "
            f"| {one.lost} | {_causes(one.failures)} | {_causes(one.losses)} |"
        )
    return "\n".join(lines)


def _causes(counts: Counter[str]) -> str:
    return ", ".join(f"{count} × {cause}" for cause, count in counts.most_common()) or "–"


def main() -> None:
    """Run the test and print its table; exit with 1 if an answer was wrong or a request failed twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300, help="of load; default %(default)s")
    seconds = parser.parse_args().seconds
    print(f"{os.cpu_count()} cores; load average {os.getloadavg()[0]:.1f} at the start")
    phases, times = soak(seconds)
    print(f"\n{CLIENTS} clients, {seconds:g} s:\n\n{table(phases, times)}")
    sys.exit(any(one.wrong or one.lost for one in phases.values()))


if __name__ == "__main__":
    main()
