"""What the service withstands when it lasts: overload, thousands of mixed requests, damaged pictures.

Prints figures and fails where a bound is broken: rows 19, 20 and 22 of what the service must withstand, and the
decoder's fuzz run. Run with ``make soak``, or ``python -m benchmarks.soak --short``; each part alone by
``--only overload``.

Under overload the client has a core to itself where there are two, for in the world it has a machine to itself.
With ``--shared`` it shares all cores with the service, and nothing is judged. In the other parts it always does.
"""

import argparse
import asyncio
import gc
import io
import itertools
import multiprocessing
import os
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import uvloop
from PIL import Image
from skimage import data

from benchmarks.load import Tally, flood, saturate

ROOT = Path(__file__).parent.parent
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
RULES = ("epsilon_plus_flat", "gamma", "epsilon", "alpha_beta", "epsilon_gamma_box", "z_plus")
MIB = 2**20

START_LIMIT_S = 120.0
WARM_UP_S = 3.0
ANSWER_LIMIT_S = 60.0
OVERLOAD = 10
CLIENTS = 32  # of the best goodput: a full batch at once
PROBE_EVERY_S = 0.1
FUZZ_WARM_UP_SHARE = 0.2

SENT_AT_LEAST = 9.5  # times the capacity: less is not the overload that is claimed
REFUSED_WITHIN_MS = 50.0
PROBES_WITHIN_MS = 100.0
GOODPUT_AT_LEAST = 0.9
NORMAL_WITHIN_S = 5.0
MEMORY_UP_BY_MB = 100.0
FUZZ_MEMORY_UP_BY_MB = 50.0
FUZZ_DECODED_WITHIN_S = 1.0
"""Of a core, for the slowest: as long as an honest picture of 25 million pixels may take."""
EXTREMES = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 10**6, 2**24, 2**31 - 1, 2**32 - 1)
"""What counts and sizes are set to."""


@dataclass(frozen=True)
class Finding:
    """One figure, and whether it keeps to its bound."""

    what: str
    figure: str
    bound: str
    kept: bool | None
    """None where the bound does not hold."""


@dataclass(frozen=True)
class Lengths:
    """How long each part lasts."""

    overload_s: float = 60
    best_s: float = 10
    requests: int = 10_000
    mutations: int = 100_000
    warm_up_share: float = 0.2
    """Of the requests, until memory is as large as their kinds make it."""


SHORT = Lengths(overload_s=12, best_s=5, requests=1200, mutations=6000, warm_up_share=0.5)


@dataclass(frozen=True)
class Service:
    """The command, as a process, and the model's process that it starts."""

    process: psutil.Process
    port: int

    def memory_mb(self) -> float:
        """Of the whole tree. What its processes share counts once, or for each where the system does not tell."""
        tree = [self.process, *self.process.children(recursive=True)]
        return sum(_own_share(process.memory_full_info()) for process in tree) / MIB

    def cpu_s(self) -> float:
        """Processor seconds of the whole tree so far."""
        tree = [self.process, *self.process.children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in tree)


def _own_share(memory: Any) -> int:
    """Bytes of one process, of each page its part of those who share it."""
    share: int = getattr(memory, "pss", memory.rss)
    return share


@contextmanager
def serving() -> Iterator[Service]:
    """The service as it ships, warmed up, its log in a file that goes with it."""
    with tempfile.TemporaryFile("w+") as log:
        process = psutil.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", "0"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LRP_LOG_FORMAT": "json"},
            stderr=log,
            stdout=log,
        )
        try:
            yield Service(process, _port(process, log))
        finally:
            process.terminate()
            try:
                process.wait(30)
            except psutil.TimeoutExpired:
                process.kill()


def _port(process: Any, log: Any) -> int:
    until = time.monotonic() + START_LIMIT_S
    while time.monotonic() < until and process.poll() is None:
        log.seek(0)
        if found := re.search(r"http://127\.0\.0\.1:([1-9]\d*)", log.read()):
            url = found[0]
            while httpx.get(f"{url}/readyz").status_code == 503:
                time.sleep(0.05)
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit("the service did not start")


@dataclass(frozen=True)
class Answer:
    status: int
    head: bytes
    size: int
    seconds: float


class Connection:
    """One that is kept open; HTTP just as far as our own answers need it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> Answer:
        """Seconds are from the request's first byte to the answer's last."""
        started = time.perf_counter()
        self._writer.write(request)
        async with asyncio.timeout(ANSWER_LIMIT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            assert length, head
            await self._reader.readexactly(int(length[1]))
        return Answer(int(head.split(b" ", 2)[1]), head, int(length[1]), time.perf_counter() - started)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    connection = await Connection.open(port)
    try:
        yield connection
    finally:
        connection.close()


def raw(method: str, path: str, **content: Any) -> bytes:
    """A request as it goes over the wire."""
    request = httpx.Request(method, f"http://127.0.0.1{path}", **content)
    body = request.read()
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def encoded(form: str, side: int | None = None) -> bytes:
    """The cat, Chelsea, as a file of this format."""
    cat = Image.fromarray(data.chelsea())  # type: ignore[no-untyped-call] # it has no types
    buffer = io.BytesIO()
    (cat.resize((side, side)) if side else cat).save(buffer, form)
    return buffer.getvalue()


def percentile(values: Sequence[float], share: float) -> float:
    """Of none: 0."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


# ── Rows 19 and 22: ten times more than it can do ──


@dataclass(frozen=True)
class Arrangement:
    """Who runs on which cores."""

    service: Collection[int]
    client: Collection[int]

    @classmethod
    def of_this_machine(cls, *, apart: bool) -> "Arrangement":
        """``apart`` where there are cores enough."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[:-1], cores[-1:]) if apart and len(cores) > 1 else cls(cores, cores)

    def __str__(self) -> str:
        def words(cores: Collection[int]) -> str:
            return f"core{'s' * (len(cores) > 1)} {', '.join(map(str, cores))}"

        if self.service == self.client:
            return f"service and client share {words(self.service)}"
        return f"service on {words(self.service)}, client on {words(self.client)}"


@contextmanager
def on(cores: Collection[int]) -> Iterator[None]:
    """This thread, and the processes that it starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Client:
    """`benchmarks.load` in a process of its own, so that it and the probes do not wait for each other."""

    def __init__(self, pool: ProcessPoolExecutor, port: int, request: bytes) -> None:
        self._pool, self._port, self._request = pool, port, request

    async def ask(self, load: Callable[..., Tally], *amount: float) -> Tally:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, load, self._port, self._request, *amount)

    async def best(self, seconds: float) -> float:
        """Answers a second where nobody sends more than can be done."""
        tally = await self.ask(saturate, CLIENTS, seconds)
        return len(tally.answers[200].took_s) / tally.seconds


@asynccontextmanager
async def probing(port: int) -> AsyncIterator[list[Answer]]:
    """What /livez and /readyz answer meanwhile, in turn and on new connections, as kubelets ask."""
    answers: list[Answer] = []
    end = asyncio.Event()

    async def ask() -> None:
        for path in itertools.cycle(("/livez", "/readyz")):
            if end.is_set():
                return
            started = time.perf_counter()
            async with connected(port) as connection:
                answer = await connection.ask(raw("GET", path))
            answers.append(replace(answer, seconds=time.perf_counter() - started))
            await asyncio.sleep(PROBE_EVERY_S)

    prober = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        end.set()
        await prober


async def seconds_until_normal(port: int, request: bytes, limit_s: float, usual_s: float) -> float:
    """Until ten answers in a row are 200 and take at most twice as long as they did before all this."""
    started, good = time.monotonic(), 0
    async with connected(port) as connection:
        while good < 10 and time.monotonic() - started < limit_s:
            answer = await connection.ask(request)
            good = good + 1 if answer.status == 200 and answer.seconds <= 2 * usual_s else 0
    return time.monotonic() - started


async def usual(port: int, request: bytes) -> float:
    """Seconds of one request when nothing else goes on; the slowest of twenty but one."""
    async with connected(port) as connection:
        return sorted([(await connection.ask(request)).seconds for _ in range(20)])[-2]


@dataclass(frozen=True)
class Overload:
    """What ten times the capacity did."""

    tally: Tally
    lasted_s: float
    before: float
    after: float
    """Answers a second at best, before and after."""
    normal_s: float
    probed: list[Answer]
    service_cpu_s: float

    @property
    def times(self) -> float:
        """The capacity, of what was sent."""
        return self.tally.sent / self.lasted_s / self.before

    @property
    def goodput(self) -> float:
        """Of the best. The seconds after the flood count, for their answers do."""
        return len(self.tally.answers[200].took_s) / self.tally.seconds / max(self.before, self.after)

    @property
    def others(self) -> Counter[int]:
        """How many answers had a status that none should have."""
        counts = {status: len(answers.took_s) for status, answers in self.tally.answers.items()}
        return Counter({status: count for status, count in counts.items() if status not in (200, 503)})

    def words(self) -> str:
        tally, answered, refused = self.tally, self.tally.answers[200], self.tally.answers[503]
        return "; ".join(
            (
                f"best {self.before:.0f}/s before and {self.after:.0f}/s after",
                f"{tally.sent / self.lasted_s:.0f}/s sent, {len(answered.took_s)} answered, "
                f"{len(refused.took_s)} refused, {dict(self.others)} others, {dict(tally.lost)} lost, "
                f"{tally.not_sent} not sent for want of a connection",
                f"median answer {milliseconds(answered.waited_s, 0.5):.0f} ms, "
                f"503s median {milliseconds(refused.waited_s, 0.5):.1f} ms; without the client's delay "
                f"{milliseconds(refused.took_s, 0.5):.1f} ms, p99 {milliseconds(refused.took_s, 0.99):.0f} ms",
                f"client behind its plan by {milliseconds(tally.late_s, 0.99):.1f} ms (p99), "
                f"{1e6 * tally.cpu_s / max(1, tally.sent):.0f} µs of a core a request",
                f"cores busy: service {self.service_cpu_s / tally.seconds:.2f}, "
                f"client {tally.cpu_s / tally.seconds:.2f}",
            )
        )


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """This percentile of them."""
    return 1000 * percentile(seconds, share)


async def overload(
    lengths: Lengths, *, apart: bool = True, goodput_at_least: float = GOODPUT_AT_LEAST
) -> list[Finding]:
    """Rows 19 and 22; with bounds for a client ``apart`` from the service, as far as there are cores."""
    arrangement = Arrangement.of_this_machine(apart=apart)
    with on(arrangement.service), serving() as service, on(arrangement.client):
        seen = await overloaded(service, lengths)
    print(f"{arrangement}; {seen.words()}")
    findings = overload_findings(seen, goodput_at_least)
    return findings if apart else [replace(finding, kept=None) for finding in findings]


async def overloaded(service: Service, lengths: Lengths) -> Overload:
    """Ten times what ``service`` can do, and what it can do before and after."""
    request = raw("POST", "/explain", content=encoded("JPEG"), headers={"Content-Type": "image/jpeg"})
    context = multiprocessing.get_context("spawn")
    # There is no garbage to look for, and looking through all that is imported makes the client late.
    with ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=gc.disable) as pool:
        client = Client(pool, service.port, request)
        await client.best(WARM_UP_S)
        usual_s = await usual(service.port, request)
        before = await client.best(lengths.best_s)
        async with probing(service.port) as probed:
            cpu_before_s = service.cpu_s()
            tally = await client.ask(flood, OVERLOAD * before, lengths.overload_s)
            service_cpu_s = service.cpu_s() - cpu_before_s
        normal_s = await seconds_until_normal(service.port, request, 60, usual_s)
        after = await client.best(lengths.best_s)
    return Overload(tally, lengths.overload_s, before, after, normal_s, probed, service_cpu_s)


def overload_findings(seen: Overload, goodput_at_least: float = GOODPUT_AT_LEAST) -> list[Finding]:
    refused = seen.tally.answers[503]
    count, refused_ms = len(refused.waited_s), milliseconds(refused.waited_s, 0.99)
    unanswered = seen.others.total() + seen.tally.lost.total()
    probe_waits = [answer.seconds for answer in seen.probed]
    probed_ms = milliseconds(probe_waits, 0.99)
    return [
        Finding(
            "19 load sent",
            f"{seen.times:.1f} x the capacity",
            f">= {SENT_AT_LEAST} x the capacity",
            seen.times >= SENT_AT_LEAST,
        ),
        Finding(
            "19 refusals, p99",
            f"{refused_ms:.0f} ms of {count}",
            f"<= {REFUSED_WITHIN_MS:.0f} ms",
            bool(count) and refused_ms <= REFUSED_WITHIN_MS,
        ),
        Finding(
            "19 refusals with Retry-After",
            f"{refused.with_retry_after} of {count}",
            "all",
            bool(count) and refused.with_retry_after == count,
        ),
        Finding("19 accepted but not answered", f"{unanswered}", "0", not unanswered),
        Finding(
            "19 goodput under overload",
            f"{seen.goodput:.1%} of the best",
            f">= {goodput_at_least:.0%}",
            seen.goodput >= goodput_at_least,
        ),
        Finding(
            "19 back to normal",
            f"{seen.normal_s:.1f} s",
            f"<= {NORMAL_WITHIN_S:.0f} s",
            seen.normal_s <= NORMAL_WITHIN_S,
        ),
        Finding(
            "22 probes under overload, p99",
            f"{probed_ms:.0f} ms of {len(probe_waits)} (max {milliseconds(probe_waits, 1):.0f})",
            f"<= {PROBES_WITHIN_MS:.0f} ms, all 200",
            probed_ms <= PROBES_WITHIN_MS and {answer.status for answer in seen.probed} == {200},
        ),
    ]


# ── Row 20: thousands of mixed requests ──


def mixture(chance: random.Random) -> Callable[[], tuple[bytes, set[int]]]:
    """Requests of every kind, good and bad, each with the statuses that it may have."""
    pictures = [(encoded(form), f"image/{form.lower()}") for form in FORMATS]
    pictures += [(encoded("PNG", side), "image/png") for side in (1, 32, 900)]
    ok, busy = {200}, {503, 504}

    def picture() -> tuple[bytes, dict[str, str]]:
        content, media_type = chance.choice(pictures)
        return content, {"Content-Type": media_type}

    def explain() -> tuple[bytes, set[int]]:
        content, headers = picture()
        query = (
            f"rule={chance.choice(RULES)}&format={chance.choice(('json', 'png', 'npy'))}"
            f"&view={chance.choice(('heatmap', 'overlay', 'side_by_side'))}&target={chance.randrange(10)}"
            f"&size={chance.choice(('model', 'input', '256', '512'))}"
        )
        return raw("POST", f"/explain?{query}", content=content, headers=headers), ok

    def predict() -> tuple[bytes, set[int]]:
        return raw("POST", "/predict", files={"file": picture()[0]}), ok

    def compare() -> tuple[bytes, set[int]]:
        content, headers = picture()
        rules = "&".join(f"rule={rule}" for rule in chance.sample(RULES, 3))
        return raw("POST", f"/compare?{rules}&target=cat&target=dog", content=content, headers=headers), ok

    def batch() -> tuple[bytes, set[int]]:
        files = [("file", (f"{number}", picture()[0])) for number in range(chance.randrange(1, 5))]
        form = chance.choice(("json", "zip"))
        return raw(
            "POST", f"/explain/batch?format={form}", files=[*files, ("file", ("bad", b"no picture"))]
        ), ok

    def damaged() -> tuple[bytes, set[int]]:
        content, headers = picture()
        return raw("POST", "/explain", content=mutated(content, chance), headers=headers), {
            200,
            400,
            413,
            422,
        }

    def wrong() -> tuple[bytes, set[int]]:
        content, headers = picture()
        path = chance.choice(
            ("/explain?rule=none", "/explain?epsilon=nan", "/predict?x=1", "/compare?target=x")
        )
        return raw("POST", path, content=content, headers=headers), {422}

    def get() -> tuple[bytes, set[int]]:
        return raw(
            "GET", chance.choice(("/", "/model", "/rules", "/metrics", "/openapi.json", "/readyz"))
        ), ok

    kinds = (
        explain,
        explain,
        explain,
        explain,
        predict,
        predict,
        compare,
        batch,
        damaged,
        damaged,
        wrong,
        get,
    )

    def one() -> tuple[bytes, set[int]]:
        request, statuses = chance.choice(kinds)()
        return request, statuses | busy

    return one


async def mixed(lengths: Lengths) -> list[Finding]:
    """Row 20."""
    one = mixture(random.Random(20))
    wrong: Counter[str] = Counter()
    seen: Counter[int] = Counter()
    memory: list[float] = []
    numbers = iter(range(lengths.requests))
    with serving() as service:

        async def client() -> None:
            async with connected(service.port) as connection:
                for number in numbers:
                    request, statuses = one()
                    answer = await connection.ask(request)
                    seen[answer.status] += 1
                    if answer.status not in statuses:
                        wrong[f"{answer.status} for {request[:60]!r}"] += 1
                    if number % 100 == 0:
                        memory.append(service.memory_mb())

        started = time.monotonic()
        await asyncio.gather(*(client() for _ in range(16)))
        took_s = time.monotonic() - started
        memory.append(service.memory_mb())
    warm = max(memory[: max(1, int(lengths.warm_up_share * len(memory)))])
    up = memory[-1] - warm
    print(
        f"{lengths.requests} requests in {took_s:.0f} s: {dict(seen)}; memory {memory[0]:.0f} MB at first, "
        f"{warm:.0f} warm, {max(memory):.0f} at most, {memory[-1]:.0f} at the end"
    )
    return [
        Finding(
            "20 memory after the warm-up",
            f"{up:+.0f} MB",
            f"<= {MEMORY_UP_BY_MB:.0f} MB",
            up <= MEMORY_UP_BY_MB,
        ),
        Finding("20 answers that should not be", f"{dict(wrong)}", "none", not wrong),
    ]


# ── The decoder ──


def seeds() -> dict[str, bytes]:
    """What is mutated, by name: the cat in all six formats, and files of many parts that cost a decoder most."""
    cat = Image.fromarray(data.chelsea())  # type: ignore[no-untyped-call] # it has no types
    grey = cat.convert("L")

    def saved(image: Image.Image, form: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        return buffer.getvalue()

    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x010E] = 6, 72.0, "a cat" * 100  # orientation, resolution, description
    return {
        **{form: encoded(form) for form in FORMATS},
        "progressive JPEG": saved(cat, "JPEG", progressive=True, exif=exif),
        "JPEG with restarts": saved(cat, "JPEG", restart_marker_rows=1),
        "interlaced GIF": saved(grey, "GIF", interlace=True, comment=b"a cat" * 200),
        "animated WebP": saved(cat, "WEBP", save_all=True, append_images=[grey], exif=exif),
        "lossless WebP": saved(cat, "WEBP", lossless=True, exif=exif),
        "animated PNG": saved(cat, "PNG", save_all=True, append_images=[cat.rotate(90)], exif=exif),
        "16-bit PNG": saved(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "1-bit BMP": saved(cat.convert("1"), "BMP"),
        "RLE BMP": run_lengths(25_000_000),
        "TIFF in strips": saved(grey, "TIFF", compression="packbits", strip_size=1, exif=exif),
        "TIFF in raw strips": strips(400_000),
        "JPEG in TIFF": saved(cat, "TIFF", compression="jpeg", strip_size=4096),
        "fax in TIFF": saved(cat.convert("1"), "TIFF", compression="group3"),
        "big TIFF": saved(cat, "TIFF", big_tiff=True),
    }


def run_lengths(width: int) -> bytes:
    """A run-length encoded BMP, which Pillow does not write: one pixel, the rest of the only row, the end."""
    colours = b"".join(bytes((level, 0, 0, 0)) for level in range(256))
    runs = b"\1\0\0\0\0\1"
    sizes = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, len(runs), 0, 0, 256, 0)
    begin = 14 + len(sizes) + len(colours)
    return b"BM" + struct.pack("<IHHI", begin + len(runs), 0, 0, begin) + sizes + colours + runs


def strips(rows: int) -> bytes:
    """A TIFF of one pixel a row and one row a strip, uncompressed, which Pillow does not write."""
    tags = {256: (1, 1), 257: (1, rows), 258: (1, 8), 259: (1, 1), 262: (1, 1), 277: (1, 1), 278: (1, 1)}
    places = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {273: (rows, places), 279: (rows, places + 4 * rows)}  # where each strip is, and how long
    entries = b"".join(struct.pack("<HHLL", tag, 4, *tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<4sLH", b"II*\0", 8, len(tags)) + entries + bytes(4)
    return directory + struct.pack("<L", 8) * rows + struct.pack("<L", 1) * rows


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A file with something wrong: bytes changed, cut, doubled, or numbers set to their extremes."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        # Half of the damage is where the structure is, in the first bytes.
        at = chance.randrange(min(len(spoilt), 200) if chance.random() < 0.5 else len(spoilt))
        match chance.randrange(7):
            case 0:
                spoilt[at] ^= 1 << chance.randrange(8)
            case 1:
                spoilt[at] = chance.choice((0, 1, 127, 128, 255))
            case 2:
                del spoilt[at : at + chance.randrange(1, 64)]
            case 3:
                spoilt[at:at] = spoilt[at : at + chance.randrange(1, 64)]
            case 4:
                spoilt[at : at + 4] = chance.choice(
                    (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\xff\xff")
                )
            case 5:
                length = chance.choice((2, 4))
                number = chance.choice(EXTREMES) % 2 ** (8 * length)
                spoilt[at : at + length] = number.to_bytes(length, chance.choice(("big", "little")))
            case _:
                del spoilt[max(at, 1) :]
        if not spoilt:
            return b"\0"
    return bytes(spoilt)


@dataclass(frozen=True)
class Fuzzed:
    """What one process saw."""

    outcomes: Counter[str]
    escaped: list[str]
    up_mb: float
    slowest: tuple[float, str]
    """Processor seconds, and which file it was."""


def fuzz_alone(seed: int, count: int) -> Fuzzed:
    """Decode ``count`` damaged pictures in this process."""
    from app.errors import RequestError
    from app.modalities.image.decoding import decode
    from app.modalities.image.fitting import Fit, fit_to_model
    from app.settings import Settings

    chance, max_pixels = random.Random(seed), Settings().max_pixels
    files = list(seeds().items())
    outcomes: Counter[str] = Counter()
    escaped: list[str] = []
    memory: list[float] = []
    slowest = 0.0, "none"
    process = psutil.Process()
    for number in range(count):
        name, whole = files[number % len(files)]
        content = mutated(whole, chance)
        which = f"{name}, seed {seed}, number {number}"
        started = time.process_time()
        try:
            fit_to_model(decode(content, max_pixels), Fit.CROP, 32)
            outcomes["picture"] += 1
        except RequestError as error:
            outcomes[type(error).__name__] += 1
        except BaseException as error:  # noqa: BLE001 # it is what is looked for
            escaped.append(f"{which}: {error!r}")
        slowest = max(slowest, (time.process_time() - started, which))
        if number % 200 == 0:
            memory.append(process.memory_info().rss / MIB)
    warm = max(memory[: max(1, int(FUZZ_WARM_UP_SHARE * len(memory)))])
    return Fuzzed(outcomes, escaped, memory[-1] - warm, slowest)


def fuzz(lengths: Lengths) -> list[Finding]:
    """Mutations of the cat in all six formats and several of their forms, on two cores."""
    workers = 2
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        seen = pool.starmap(fuzz_alone, [(seed, lengths.mutations // workers) for seed in range(workers)])
    took_s = time.monotonic() - started
    outcomes = sum((one.outcomes for one in seen), Counter[str]())
    escaped = [error for one in seen for error in one.escaped]
    up = max(one.up_mb for one in seen)
    slowest_s, slowest = max(one.slowest for one in seen)
    print(f"{lengths.mutations} mutations in {took_s:.0f} s: {dict(outcomes)}; slowest {slowest}")
    return [
        Finding("decoder: exceptions but ours", "; ".join(escaped[:3]) or "0", "0", not escaped),
        Finding(
            "decoder: memory after the warm-up", f"{up:+.0f} MB", f"<= {FUZZ_MEMORY_UP_BY_MB:.0f} MB",
            up <= FUZZ_MEMORY_UP_BY_MB,
        ),
        Finding(
            "decoder: slowest picture", f"{1000 * slowest_s:.0f} ms", f"<= {1000 * FUZZ_DECODED_WITHIN_S:.0f} ms",
            slowest_s <= FUZZ_DECODED_WITHIN_S,
        ),
    ]  # fmt: skip


PARTS: dict[str, Callable[[Lengths], list[Finding]]] = {
    "overload": lambda lengths: uvloop.run(overload(lengths)),
    "mixed": lambda lengths: uvloop.run(mixed(lengths)),
    "fuzz": fuzz,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--short", action="store_true", help="a minute and a half instead of a quarter of an hour"
    )
    parser.add_argument(
        "--shared", action="store_true", help="overload from a client on the service's cores, without bounds"
    )
    parser.add_argument(
        "--goodput-at-least", type=float, default=GOODPUT_AT_LEAST, help="under overload; default %(default)s"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts; default all")
    settable = (("overload_s", float), ("best_s", float), ("requests", int), ("mutations", int))
    for name, kind in settable:
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, help=f"default {getattr(Lengths(), name)}"
        )
    asked = parser.parse_args()
    given = {name: getattr(asked, name) for name, _ in settable if getattr(asked, name)}
    lengths = replace(SHORT if asked.short else Lengths(), **given)
    print(f"{os.cpu_count()} cores; load average {os.getloadavg()[0]:.1f} at the start")
    overloading = {"apart": not asked.shared, "goodput_at_least": asked.goodput_at_least}
    parts = {**PARTS, "overload": lambda lengths: uvloop.run(overload(lengths, **overloading))}
    findings = [finding for part in asked.only for finding in parts[part](lengths)]
    for finding in findings:
        verdict = {True: "kept", False: "BROKEN", None: "told"}[finding.kept]
        print(f"{verdict:7} {finding.what:36} {finding.figure:32} bound {finding.bound}")
    sys.exit(any(finding.kept is False for finding in findings))


if __name__ == "__main__":
    main()
