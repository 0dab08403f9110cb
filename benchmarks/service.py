"""Measure the service against a minimal FastAPI service, LitServe, TorchServe and BentoML, with the same weights.

Servers run one at a time, in turn within each round (A B C, A B C, …), so that a noisy machine affects them
equally. Figures are medians over the rounds. wrk generates the load. Run with ``make bench-service``, or
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
ANSWER_LIMIT_S = 60  # of one request, in wrk; long, so that slow servers are measured too
POLL_S = 0.01
SAMPLE_S = 0.5
IDLE_SHARE = 0.1  # of one core; a server that uses less is idle
WARM_UP_S = 2
WARM_UP_CLIENTS = 32

START_TARGET_S, MEMORY_TARGET_MB = 2.5, 200.0
MB = 2**20

IMPORT_TORCH = "import torch"
TORCH_FORWARD = """
import torch, psutil
from app.models.architectures.minivgg import MiniVGG
with torch.inference_mode():
    MiniVGG().eval()(torch.zeros(1, 3, 32, 32))
print(psutil.Process().memory_info().rss)
"""


@dataclass(frozen=True)
class Baseline:
    """One round of torch alone: seconds of ``import torch``, and megabytes after one forward pass."""

    round: int
    import_s: float
    once_mb: float


@dataclass(frozen=True)
class Body:
    """Request body as a file, and its content type."""

    path: Path
    content_type: str


class NotServingError(Exception):
    """A server did not start, or gave a wrong answer; the message names the server and the reason."""


class Server:
    """Process tree of a contender, from its start until `stop`."""

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
                env={**os.environ, "PYTHONPATH": str(ROOT), **contender.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> float:
        """Return seconds from process start to ready. Raises `NotServingError` with the end of its output."""
        with httpx.Client(timeout=5) as client:
            while (passed := time.perf_counter() - self._started) < START_LIMIT_S:
                if self._process.poll() is not None:
                    raise NotServingError(f"{self.contender.name} ended during its start:\n{self.log_tail()}")
                with contextlib.suppress(httpx.TransportError):
                    answer = client.get(self.url + self.contender.ready_path)
                    if answer.status_code == 200 and self.contender.is_ready(answer.content):
                        return time.perf_counter() - self._started
                time.sleep(POLL_S)
        raise NotServingError(f"{self.contender.name} was not ready in {passed:.0f} s:\n{self.log_tail()}")

    def memory_mb(self) -> float:
        """Memory of the process tree in MB: unique memory of each process, plus the largest shared part once.

        For a single process this is its resident memory. PSS would be less if unrelated processes on the
        machine map the same libraries.
        """
        unique, shared = [0], [0]
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                unique.append(memory.uss)
                shared.append(memory.rss - memory.uss)
        return (sum(unique) + max(shared)) / MB

    def cpu_s(self) -> float:
        """Processor seconds used by the process tree so far."""
        used = 0.0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used += times.user + times.system
        return used

    def settle(self) -> None:
        """Wait until the server is idle after a load, at most ``SETTLE_LIMIT_S``."""
        deadline = time.perf_counter() + SETTLE_LIMIT_S
        while time.perf_counter() < deadline:
            before = self.cpu_s()
            time.sleep(SAMPLE_S)
            if self.cpu_s() - before < IDLE_SHARE * SAMPLE_S:
                return

    def stop(self) -> None:
        """Terminate the whole process tree; kill what remains after ``STOP_LIMIT_S``."""
        tree = self._tree()
        for process in tree:  # the children too: some servers do not end theirs
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

    def log_tail(self) -> str:
        """Return the last 20 lines of the server's output."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


@dataclass
class CpuMeter:
    """Processor time of a server, and of other processes, since the meter was created."""

    server: Server

    def __post_init__(self) -> None:
        self._before = self._now()

    def read(self) -> tuple[float, float]:
        """Return processor seconds of the server's tree, and the machine's share used by neither it nor wrk."""
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
    """Run a contender's server in a temporary folder; stop it on exit."""
    with tempfile.TemporaryDirectory(prefix="lrpserve-bench-") as scratch:
        server = Server(contender, Path(scratch))
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def peak_memory(server: Server) -> Iterator[list[float]]:
    """Sample the server's memory twice a second; the list yielded grows while the block runs. Unit: MB."""
    samples = [server.memory_mb()]
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(SAMPLE_S):
            samples.append(server.memory_mb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        finished.set()
        thread.join()


def make_bodies(folder: Path) -> dict[str, Body]:
    """Write the photo of a cat as JPEG to ``folder``, raw and in a form; return both bodies by name."""
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
    """Send one request, and check the class and the heatmap's size. Keeps the heatmap for inspection.

    Raises `NotServingError` if the answer is wrong.
    """
    answer = httpx.post(
        server.url + server.contender.explain_path,
        content=body.path.read_bytes(),
        headers={"Content-Type": body.content_type},
        timeout=ANSWER_LIMIT_S,
    )
    if answer.status_code != 200:
        raise NotServingError(
            f"{server.contender.name} answers {answer.status_code}: {answer.text[:500]}\n{server.log_tail()}"
        )
    content = answer.json()
    content = content[0] if isinstance(content, list) else content  # BentoML returns a batch as a list
    png = base64.b64decode(content["heatmap"]["data"])
    with Image.open(io.BytesIO(png)) as heatmap:
        if heatmap.size != HEATMAP_SIZE or content["prediction"]["label"] != "cat":
            raise NotServingError(
                f"{server.contender.name} predicts {content['prediction']} and draws {heatmap.size}; "
                f"expected 'cat' and {HEATMAP_SIZE}"
            )
    HEATMAPS.mkdir(parents=True, exist_ok=True)
    (HEATMAPS / f"{server.contender.name}.png").write_bytes(png)


def load(server: Server, body: Body, clients: int, seconds: int) -> Load:
    """Run wrk for ``seconds``; each of ``clients`` sends its next request when it has received an answer."""
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
    """Run round ``number`` of one contender: start it, warm it up, and apply each load for ``seconds``."""
    cells = []
    with running(contender) as server:
        start = Start(contender.name, number, server.wait_until_ready(), server.memory_mb())
        check(server, bodies[MULTIPART])
        load(server, bodies[MULTIPART], WARM_UP_CLIENTS, WARM_UP_S)
        for form, clients in plan:
            if form not in contender.forms:
                continue
            server.settle()
            meter = CpuMeter(server)
            with peak_memory(server) as samples:
                found = load(server, bodies[form], clients, seconds)
            used, others = meter.read()
            cells.append(Cell(contender.name, form, clients, number, found, used, max(samples), others))
    return start, cells


def measure_baseline(number: int) -> Baseline:
    """Measure torch alone: the time to import it, and the memory after one forward pass."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT_TORCH], check=True, timeout=START_LIMIT_S)
    import_s = time.perf_counter() - started
    once = subprocess.run(
        [sys.executable, "-c", TORCH_FORWARD],
        check=True,
        timeout=START_LIMIT_S,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return Baseline(number, import_s, int(once.stdout) / MB)


def machine() -> str:
    """Describe the machine, Python and the commit in one line."""
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
    """Versions of a contender's packages; those in its own environment take precedence over the shared ones."""
    own = [str(path) for path in (ENVIRONMENTS / contender.name).glob("lib/python*/site-packages")]
    found = {}
    for name in contender.packages:
        place = next(iter(metadata.distributions(name=name, path=own)), None)
        found[name] = place.version if place else metadata.version(name)
    return ", ".join(f"{name} {number}" for name, number in found.items())


def start_lines(starts: Sequence[Start], baselines: Sequence[Baseline]) -> list[list[str]]:
    """Rows for `START_COLUMNS`: torch alone, then each contender. Medians over the rounds."""
    import_s = statistics.median(one.import_s for one in baselines)
    once_mb = statistics.median(one.once_mb for one in baselines)
    lines = [["torch alone: import, one forward pass", f"{import_s:.1f}", "", f"{once_mb:.0f}", ""]]
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


START_COLUMNS = ("process", "seconds to ready", "seconds over torch", "MB when ready", "MB over torch")


SUMMARY = """{machine}:

{ratios}

![Answers per second and p99 latency by number of clients](benchmark/service.png)

{starts}

[All figures](benchmark/service.md)."""
"""Summary of the benchmark in docs/performance.md."""


def page(
    arguments: argparse.Namespace,
    contenders: Sequence[Contender],
    tables: Mapping[str, str],
    left_out: Sequence[str],
    others: str,
) -> str:
    """Return the page docs/benchmark/service.md."""
    services = "\n".join(f"- **{one.name}**: {one.about} ({versions(one)})" for one in contenders)
    absent = "".join(f"\n{line}." for line in left_out)
    return f"""# The service compared with its peers

Written by `make bench-service`; do not edit. {machine()}.

Request: one JPEG of a cat (451×300). Response: class scores and a heatmap PNG of 256×256 pixels, as JSON. All
services use the same weights, and EpsilonPlusFlat if available. Servers run one at a time, in turn, with
{arguments.rounds} rounds of {arguments.seconds} seconds for each figure; figures are medians over the rounds. wrk
generates the load on the same machine; each client sends its next request when it has received an answer.
Status 200 counts as answered, 503 as refused, and anything else as an error; latencies include all of them.
CPU and memory are those of the whole process tree.
{others}

{services}
{absent}

![Answers per second and p99 latency by number of clients](service.png)

## Speed relative to the peers

{tables["ratios"]}

## Start and memory

{tables["starts"]}

Targets for lrpserve: at most {START_TARGET_S:+.1f} s, and at most {MEMORY_TARGET_MB:+.0f} MB.

## All figures

{tables["rows"]}
"""


def publish(
    arguments: argparse.Namespace,
    contenders: Sequence[Contender],
    left_out: Sequence[str],
    cells: Sequence[Cell],
    starts: Sequence[Start],
    baselines: Sequence[Baseline],
) -> None:
    """Print the tables, and write the page, the plot and the raw figures."""
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
    arguments.output.mkdir(parents=True, exist_ok=True)
    markdown = {name: report.markdown_table(*part) for name, part in parts.items()}
    (arguments.output / "service.md").write_text(page(arguments, contenders, markdown, left_out, others))
    about = {"machine": machine(), "versions": {one.name: versions(one) for one in contenders}}
    about_torch = {"baselines": [asdict(one) for one in baselines]}
    (arguments.output / "service.json").write_text(report.raw_json(cells, starts, {**about, **about_torch}))
    report.plot(table, arguments.output / "service.png")
    if arguments.output == PAGE:
        blocks.fill("performance.md", {"service": SUMMARY.format(machine=machine(), **markdown)})
    console.print(f"wrote {arguments.output}/service.md, .json and .png; the heatmaps are in {HEATMAPS}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="seconds of load for each figure")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument(
        "--raw-clients", type=int, nargs="*", default=[32], help="numbers of clients with raw bodies"
    )
    parser.add_argument("--only", nargs="+", choices=[one.name for one in CONTENDERS], help="run only these")
    parser.add_argument(
        "--output", type=Path, default=PAGE, help="folder of the page, the plot and the figures"
    )
    return parser.parse_args()


def run_rounds(
    arguments: argparse.Namespace, contenders: Sequence[Contender], console: Console
) -> tuple[list[Cell], list[Start], list[Baseline], dict[str, str]]:
    """Run all rounds. The last item returned maps contenders that failed to the error; later rounds skip them."""
    plan = [(MULTIPART, count) for count in arguments.clients] + [
        (RAW, count) for count in arguments.raw_clients
    ]
    plan.sort(key=lambda load: load[1])  # the largest loads last: their backlog delays no other load
    cells: list[Cell] = []
    starts: list[Start] = []
    baselines: list[Baseline] = []
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="lrpserve-bench-") as folder:
        bodies = make_bodies(Path(folder))
        for number in range(arguments.rounds):
            baselines.append(measure_baseline(number))
            for contender in contenders:
                if contender.name in failed:
                    continue
                console.print(f"round {number + 1} of {arguments.rounds}: {contender.name}")
                try:
                    start, found = measure(contender, bodies, plan, arguments.seconds, number)
                except NotServingError as error:
                    if contender.is_ours:
                        sys.exit(f"{contender.name} did not serve: {error}")
                    failed[contender.name] = str(error)
                    console.print(f"{contender.name} is left out: {error}", markup=False)
                    continue
                starts.append(start)
                cells.extend(found)
    return cells, starts, baselines, failed


def main() -> None:
    """Measure all contenders that are installed."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that servers are stopped too
    if shutil.which("wrk") is None:
        sys.exit("wrk, which generates the load, is missing: install it ('apt-get install wrk' on Debian)")
    selected = [one for one in CONTENDERS if arguments.only is None or one.name in arguments.only]
    left_out = [reason for one in selected if (reason := one.missing())]
    console = Console(stderr=True, highlight=False)
    for reason in left_out:
        console.print(reason)
    available = [one for one in selected if one.missing() is None]
    cells, starts, baselines, failed = run_rounds(arguments, available, console)
    left_out += [f"{name} is left out: it did not serve" for name in failed]
    served = [one for one in available if one.name not in failed]
    if not served:
        sys.exit("no contender served requests; their errors are above")
    publish(arguments, served, left_out, cells, starts, baselines)


if __name__ == "__main__":
    main()
