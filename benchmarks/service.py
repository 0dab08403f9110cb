"""How fast is the service? Against an afternoon's work, LitServe, TorchServe and BentoML on the same weights.

Servers run one at a time; the rounds take them in turn (A B C, A B C, …), so that a noisy machine slows them
alike, and all figures are medians over the rounds. wrk makes the load. Run with ``make bench-service``, or
``python -m benchmarks.service --rounds 1 --seconds 3 --only lrpserve afternoon``.
"""

import argparse
import base64
import contextlib
import io
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from skimage import data

from benchmarks import report
from benchmarks.peers.contenders import CONTENDERS, ENVIRONMENTS, MULTIPART, RAW, ROOT, Contender
from benchmarks.peers.torchserve.serve import free_ports
from benchmarks.report import Cell, Load, Start
from docs import blocks

LOAD_SCRIPT = Path(__file__).parent / "load.lua"
PAGE = ROOT / "docs" / "benchmark"
HEATMAPS = ENVIRONMENTS / "heatmaps"
HEATMAP_SIZE = (256, 256)

START_LIMIT_S = 90.0
STOP_LIMIT_S = 10.0
SETTLE_LIMIT_S = 15.0
ANSWER_LIMIT_S = 60  # of one request, in wrk; nobody is cut off only for being slow
POLL_S = 0.01
SAMPLE_S = 0.5
IDLE_SHARE = 0.1  # of one core; below it a server has nothing left to do
WARM_UP_S = 2
WARM_UP_CLIENTS = 32

START_TARGET_S, MEMORY_TARGET_MB = 2.5, 200.0
MB = 2**20

IMPORT_TORCH = "import torch"
TORCH_ONCE = """
import torch, psutil
from app.models.architectures.minivgg import MiniVGG
with torch.inference_mode():
    MiniVGG().eval()(torch.zeros(1, 3, 32, 32))
print(psutil.Process().memory_info().rss)
"""


@dataclass(frozen=True)
class Baseline:
    """Seconds that ``import torch`` takes, and megabytes of a process that ran the network once, in one round."""

    round: int
    import_s: float
    once_mb: float


@dataclass(frozen=True)
class Body:
    """One request's body as a file, and its content type."""

    path: Path
    content_type: str


class NotServingError(Exception):
    """A server did not start, or does not answer as it should; the text says which and why."""


class Server:
    """A contender's processes, from their start until all of them are gone."""

    def __init__(self, contender: Contender, scratch: Path) -> None:
        (port,) = free_ports(1)
        self.contender = contender
        self.url = f"http://127.0.0.1:{port}"
        self._log = scratch / "log.txt"
        self._started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                contender.command(port, scratch),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> float:
        """Seconds since the process was started; raises `NotServingError` with its last words if it never is."""
        with httpx.Client(timeout=5) as client:
            while (passed := time.perf_counter() - self._started) < START_LIMIT_S:
                if self._process.poll() is not None:
                    raise NotServingError(f"{self.contender.name} ended at its start:\n{self.last_words()}")
                with contextlib.suppress(httpx.TransportError):
                    answer = client.get(self.url + self.contender.ready_path)
                    if answer.status_code == 200 and self.contender.is_ready(answer.content):
                        return time.perf_counter() - self._started
                time.sleep(POLL_S)
        raise NotServingError(f"{self.contender.name} was not ready in {passed:.0f} s:\n{self.last_words()}")

    def memory_mb(self) -> float:
        """Memory of the process tree: what each holds alone, and the largest part that one shares, once.

        Of a single process that is its resident memory. PSS would be less where unrelated processes on the
        machine happen to map the same libraries.
        """
        alone, shared = [0], [0]
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                alone.append(memory.uss)
                shared.append(memory.rss - memory.uss)
        return (sum(alone) + max(shared)) / MB

    def cpu_s(self) -> float:
        """Processor seconds that the process tree has used so far."""
        used = 0.0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used += times.user + times.system
        return used

    def settle(self) -> None:
        """Wait until what the last load left behind is done, within limits."""
        deadline = time.perf_counter() + SETTLE_LIMIT_S
        while time.perf_counter() < deadline:
            before = self.cpu_s()
            time.sleep(SAMPLE_S)
            if self.cpu_s() - before < IDLE_SHARE * SAMPLE_S:
                return

    def stop(self) -> None:
        """Ask the whole tree to end, then make it."""
        tree = self._tree()
        for process in tree:  # all of them: some leave their children behind, waiting
            with contextlib.suppress(psutil.Error):
                process.terminate()
        for process in psutil.wait_procs(tree, timeout=STOP_LIMIT_S)[1]:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(tree, timeout=STOP_LIMIT_S)

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return []

    def last_words(self) -> str:
        """The end of what it printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


@dataclass
class Clock:
    """Processor seconds that a server took since the clock was made, and the share that nobody here took."""

    server: Server

    def __post_init__(self) -> None:
        self._before = self._now()

    def read(self) -> tuple[float, float]:
        """Seconds of the server's tree; the share of the machine's time that neither it nor wrk took."""
        server, wrk, busy, idle = (
            now - before for now, before in zip(self._now(), self._before, strict=True)
        )
        return server, max(0.0, (busy - server - wrk) / (busy + idle))

    def _now(self) -> tuple[float, float, float, float]:
        machine = psutil.cpu_times()
        idle = machine.idle + machine.iowait
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        return self.server.cpu_s(), ours.ru_utime + ours.ru_stime, sum(machine) - idle, idle


@contextlib.contextmanager
def running(contender: Contender) -> Iterator[Server]:
    """A server of this contender, in a scratch folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lrpserve-bench-") as scratch:
        server = Server(contender, Path(scratch))
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def peak_memory(server: Server) -> Iterator[list[float]]:
    """A list that grows by one sample, in megabytes, twice a second while the block runs."""
    samples = [server.memory_mb()]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_S):
            samples.append(server.memory_mb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def make_bodies(folder: Path) -> dict[str, Body]:
    """The photo of a cat as a JPEG, raw and in a form."""
    jpeg = io.BytesIO()
    Image.fromarray(np.asarray(data.chelsea())).save(jpeg, "JPEG")  # type: ignore[no-untyped-call] # no types
    form = httpx.Request(
        "POST", "http://127.0.0.1", files={"file": ("cat.jpg", jpeg.getvalue(), "image/jpeg")}
    )
    raw, multipart = folder / "raw.bin", folder / "multipart.bin"
    raw.write_bytes(jpeg.getvalue())
    multipart.write_bytes(form.read())
    return {RAW: Body(raw, "image/jpeg"), MULTIPART: Body(multipart, form.headers["Content-Type"])}


def check(server: Server, body: Body) -> None:
    """One answer must hold a class and a heatmap of the right size; the heatmap is kept to be looked at."""
    answer = httpx.post(
        server.url + server.contender.explain_path,
        content=body.path.read_bytes(),
        headers={"Content-Type": body.content_type},
        timeout=ANSWER_LIMIT_S,
    )
    if answer.status_code != 200:
        raise NotServingError(
            f"{server.contender.name} answers {answer.status_code}: {answer.text[:500]}\n{server.last_words()}"
        )
    said = answer.json()
    said = said[0] if isinstance(said, list) else said  # BentoML's batches are answered as lists, here of one
    png = base64.b64decode(said["heatmap"]["data"])
    with Image.open(io.BytesIO(png)) as heatmap:
        if heatmap.size != HEATMAP_SIZE or said["prediction"]["label"] != "cat":
            raise NotServingError(
                f"{server.contender.name} sees {said['prediction']} and draws {heatmap.size}: not the same work"
            )
    HEATMAPS.mkdir(parents=True, exist_ok=True)
    (HEATMAPS / f"{server.contender.name}.png").write_bytes(png)


def load(server: Server, body: Body, clients: int, seconds: int) -> Load:
    """What so many clients, each asking again as soon as it is answered, get in so many seconds."""
    wrk = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds}s"]
    limits = ["--timeout", f"{ANSWER_LIMIT_S}s", "--script", str(LOAD_SCRIPT)]
    url = server.url + server.contender.explain_path
    done = subprocess.run(
        [*wrk, *limits, url, "--", str(body.path), body.content_type],
        capture_output=True,
        text=True,
        timeout=seconds + ANSWER_LIMIT_S,
        check=False,
    )
    return report.parse_load(done.stdout + done.stderr)


def measure(
    contender: Contender,
    bodies: Mapping[str, Body],
    plan: Sequence[tuple[str, int]],
    seconds: int,
    number: int,
) -> tuple[Start, list[Cell]]:
    """Round ``number`` of one contender: start it, warm it up, load it as planned, ``seconds`` each time."""
    cells = []
    with running(contender) as server:
        start = Start(contender.name, number, server.wait_until_ready(), server.memory_mb())
        check(server, bodies[MULTIPART])
        load(server, bodies[MULTIPART], WARM_UP_CLIENTS, WARM_UP_S)
        for form, clients in plan:
            if form not in contender.forms:
                continue
            server.settle()
            clock = Clock(server)
            with peak_memory(server) as samples:
                found = load(server, bodies[form], clients, seconds)
            used, others = clock.read()
            cells.append(Cell(contender.name, form, clients, number, found, used, max(samples), others))
    return start, cells


def measure_baseline(number: int) -> Baseline:
    """What torch alone takes: the time to import it, the memory after the network has run once."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT_TORCH], check=True, timeout=START_LIMIT_S)
    import_s = time.perf_counter() - started
    once = subprocess.run(
        [sys.executable, "-c", TORCH_ONCE],
        check=True,
        timeout=START_LIMIT_S,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return Baseline(number, import_s, int(once.stdout) / MB)


def machine() -> str:
    """The machine and the commit, in one line."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return (
        f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; commit {commit}"
    )


def versions(contender: Contender) -> str:
    """The releases that matter for a contender, its own environment's before those it shares with ours."""
    own = [str(path) for path in (ENVIRONMENTS / contender.name).glob("lib/python*/site-packages")]
    found = {}
    for name in contender.packages:
        place = next(iter(metadata.distributions(name=name, path=own)), None)
        found[name] = place.version if place else metadata.version(name)
    return ", ".join(f"{name} {number}" for name, number in found.items())


def start_lines(starts: Sequence[Start], baselines: Sequence[Baseline]) -> list[list[str]]:
    """Time to ready, and memory then, of each contender; and of torch alone."""
    import_s = statistics.median(one.import_s for one in baselines)
    once_mb = statistics.median(one.once_mb for one in baselines)
    lines = [["`import torch`; the network run once", f"{import_s:.1f}", "", f"{once_mb:.0f}", ""]]
    for name in dict.fromkeys(start.service for start in starts):
        own = [start for start in starts if start.service == name]
        seconds = statistics.median(start.seconds for start in own)
        ready_mb = statistics.median(start.ready_mb for start in own)
        lines.append(
            [
                *(name, f"{seconds:.1f}", f"{seconds - import_s:+.1f}"),
                *(f"{ready_mb:.0f}", f"{ready_mb - once_mb:+.0f}"),
            ]
        )
    return lines


START_COLUMNS = ("what", "seconds to ready", "over torch", "MB when ready", "over torch once")


SUMMARY = """{machine}:

{ratios}

![Answers a second, and p99 latency, over the number of clients](benchmark/service.png)

{starts}

[All figures](benchmark/service.md)."""
"""The benchmark in docs/performance.md."""


def page(
    asked: argparse.Namespace,
    contenders: Sequence[Contender],
    tables: Mapping[str, str],
    left_out: Sequence[str],
    others: str,
) -> str:
    """The benchmark as a page of its own."""
    who = "\n".join(f"- **{one.name}**: {one.about} ({versions(one)})" for one in contenders)
    absent = "".join(f"\n{line}." for line in left_out)
    return f"""# The service against its peers

Written by `make bench-service`; do not edit. {machine()}.

One JPEG of a cat (451×300) in; class scores and a heatmap PNG of 256×256 pixels out, as JSON. The same weights
everywhere, and EpsilonPlusFlat where there is one. Servers run one at a time, in turn, {asked.rounds} rounds of
{asked.seconds} seconds a figure; figures are medians over the rounds. wrk loads from the same machine, each
client asking again as soon as it is answered. Answers are 200s; 503s are refused, and anything else is an error;
latencies are of all of them.
CPU and memory are of the whole process tree. {others}

{who}
{absent}

![Answers a second, and p99 latency, over the number of clients](service.png)

## How many times as fast

{tables["ratios"]}

## Start and memory

{tables["starts"]}

Targets for lrpserve: at most {START_TARGET_S:+.1f} s, and at most {MEMORY_TARGET_MB:+.0f} MB.

## All figures

{tables["rows"]}
"""


def publish(
    asked: argparse.Namespace,
    contenders: Sequence[Contender],
    left_out: Sequence[str],
    cells: Sequence[Cell],
    starts: Sequence[Start],
    baselines: Sequence[Baseline],
) -> None:
    """Print the tables; write page, plot and raw figures."""
    table = report.rows(cells)
    parts = {
        "rows": (report.COLUMNS, [row.texts() for row in table]),
        "ratios": (report.RATIO_COLUMNS, report.ratio_lines(report.ratios(table))),
        "starts": (START_COLUMNS, start_lines(starts, baselines)),
    }
    others = report.others_sentence(cells)
    console = Console(width=120)
    for title, (columns, lines) in parts.items():
        console.print(report.rich_table(title, columns, lines))
    console.print(others)
    asked.output.mkdir(parents=True, exist_ok=True)
    markdown = {name: report.markdown_table(*part) for name, part in parts.items()}
    (asked.output / "service.md").write_text(page(asked, contenders, markdown, left_out, others))
    about = {"machine": machine(), "versions": {one.name: versions(one) for one in contenders}}
    about_torch = {"baselines": [asdict(one) for one in baselines]}
    (asked.output / "service.json").write_text(report.raw_json(cells, starts, {**about, **about_torch}))
    report.plot(table, asked.output / "service.png")
    if asked.output == PAGE:
        blocks.fill("performance.md", {"service": SUMMARY.format(machine=machine(), **markdown)})
    console.print(f"wrote {asked.output}/service.md, .json and .png; heatmaps to look at are in {HEATMAPS}")


def parse_arguments() -> argparse.Namespace:
    """What is asked on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of load for each figure")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--raw-clients", type=int, nargs="*", default=[32], help="clients that send no form")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS], help="these alone")
    parser.add_argument(
        "--output", type=Path, default=PAGE, help="folder of the page, the plot and the figures"
    )
    return parser.parse_args()


def run_rounds(
    asked: argparse.Namespace, contenders: Sequence[Contender], console: Console
) -> tuple[list[Cell], list[Start], list[Baseline], dict[str, str]]:
    """All rounds; and what became of those that did not serve, by name: they are left out from then on."""
    plan = [(MULTIPART, count) for count in asked.clients] + [(RAW, count) for count in asked.raw_clients]
    plan.sort(key=lambda load: load[1])  # what the most clients leave behind need not be waited for
    cells: list[Cell] = []
    starts: list[Start] = []
    baselines: list[Baseline] = []
    fallen: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lrpserve-bench-") as folder:
        bodies = make_bodies(Path(folder))
        for number in range(asked.rounds):
            baselines.append(measure_baseline(number))
            for contender in contenders:
                if contender.name in fallen:
                    continue
                console.print(f"round {number + 1} of {asked.rounds}: {contender.name}")
                try:
                    start, found = measure(contender, bodies, plan, asked.seconds, number)
                except NotServingError as error:
                    if contender.is_ours:
                        sys.exit(f"nothing to compare: {error}")
                    fallen[contender.name] = str(error)
                    console.print(f"{contender.name} is left out: {error}", markup=False)
                    continue
                starts.append(start)
                cells.extend(found)
    return cells, starts, baselines, fallen


def main() -> None:
    """Measure all contenders that can run here."""
    asked = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that no server is left behind
    if shutil.which("wrk") is None:
        sys.exit("wrk, which makes the load, is missing: install it ('apt-get install wrk' on Debian)")
    wanted = [one for one in CONTENDERS if asked.only is None or one.name in asked.only]
    left_out = [reason for one in wanted if (reason := one.missing())]
    console = Console(stderr=True, highlight=False)
    for reason in left_out:
        console.print(reason)
    able = [one for one in wanted if one.missing() is None]
    cells, starts, baselines, fallen = run_rounds(asked, able, console)
    left_out += [f"{name} is left out: it did not serve" for name in fallen]
    served = [one for one in able if one.name not in fallen]
    if not served:
        sys.exit("nobody served; what each said is above")
    publish(asked, served, left_out, cells, starts, baselines)


if __name__ == "__main__":
    main()
