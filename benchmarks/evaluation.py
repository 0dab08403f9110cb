"""Measure what an evaluation costs other requests: the latency of ``/explain`` with and without one.

Within a round, both are measured in turn, so that a noisy machine affects them equally. Run with
``python -m benchmarks.evaluation --rounds 5 --requests 40``.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import time

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.soak import encoded, serving

LIMIT_S = 120.0
HEADERS = {"Content-Type": "image/png"}


async def latencies(client: httpx.AsyncClient, picture: bytes, clients: int, requests: int) -> list[float]:
    """Return the seconds of each of ``requests`` explanations of each of ``clients``, one after another."""

    async def one_client() -> list[float]:
        found = []
        for _ in range(requests):
            started = time.perf_counter()
            response = await client.post("/explain?format=png", content=picture, headers=HEADERS)
            response.raise_for_status()
            found.append(time.perf_counter() - started)
        return found

    return [*itertools.chain(*await asyncio.gather(*(one_client() for _ in range(clients))))]


async def evaluate(client: httpx.AsyncClient, picture: bytes) -> float:
    """Return the seconds of one evaluation of all composites."""
    started = time.perf_counter()
    response = await client.post("/evaluate", content=picture, headers=HEADERS)
    response.raise_for_status()
    return time.perf_counter() - started


async def keep_evaluating(client: httpx.AsyncClient, picture: bytes) -> None:
    """Evaluate again and again until cancelled; those that run out of time under load are repeated, too."""
    while True:
        await client.post("/evaluate", content=picture, headers=HEADERS)


async def measure(
    port: int, clients: int, rounds: int, requests: int
) -> tuple[list[float], list[float], float]:
    """Return latencies alone, latencies beside an evaluation, and the median seconds of an evaluation alone."""
    picture = encoded("PNG")
    alone: list[float] = []
    beside: list[float] = []
    durations: list[float] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client:
        await evaluate(client, picture)  # compiles what is random
        for _ in range(rounds):
            alone += await latencies(client, picture, clients, requests)
            durations.append(await evaluate(client, picture))
            evaluating = asyncio.create_task(keep_evaluating(client, picture))
            beside += await latencies(client, picture, clients, requests)
            evaluating.cancel()
            await asyncio.wait([evaluating])
    return alone, beside, statistics.median(durations)


def main() -> None:
    """Print the median latencies for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    arguments = parser.parse_args()
    table = Table(
        "clients",
        "p50 alone",
        "p50 beside an evaluation",
        "ratio",
        "an evaluation alone",
        title=f"POST /explain?format=png ({os.cpu_count()} cores)",
    )
    with serving() as service:
        for clients in arguments.clients:
            alone, beside, seconds = asyncio.run(
                measure(service.port, clients, arguments.rounds, arguments.requests)
            )
            before, after = statistics.median(alone), statistics.median(beside)
            table.add_row(
                str(clients),
                f"{1000 * before:.1f} ms",
                f"{1000 * after:.1f} ms",
                f"{after / before:.2f}",
                f"{seconds:.1f} s",
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
