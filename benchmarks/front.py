"""Processor time of an answer on Ray, by process: Ray's proxy, the application, decoding and drawing, the model.

Clients send the same JPEG at once and receive its heatmap as PNG. Run with ``python -m benchmarks.front``;
``--write`` writes the table into ``docs/scale.md``. It needs the extra ``ray``.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import psutil

from benchmarks import hardware
from benchmarks.load import saturate
from benchmarks.soak import ROOT, encoded, raw
from docs import blocks

CLIENTS, SECONDS, WARM_UP_S = 32, 20.0, 3.0
START_LIMIT_S = 120.0
COLUMNS = ["process", "ms of processor time an answer", "answers a second of one core"]
PROXY, APPLICATION, PICTURES = "Ray's proxy", "the application", "decoding and drawing"
MODEL, REST = "the model", "Ray's other processes"
TITLES = {
    "ray::ProxyActor": PROXY,
    "ray::ServeReplica:lrpserve:ingress": APPLICATION,
    "ray::ServeReplica:lrpserve:minivgg-cifar10": MODEL,
}


@contextlib.contextmanager
def on_ray(port: int) -> Iterator[psutil.Process]:
    """Serve the shipped model for pictures on Ray; the value is the process that started all others."""
    command = [sys.executable, "-m", "app.cli", "serve", "--ray", "--port", str(port)]
    command += ["--model", "model_weights/minivgg-cifar10"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen(command, cwd=ROOT, env=environment, stderr=log)
        try:
            _wait_until_ready(port, process)
            yield process
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(port: int, process: psutil.Process) -> None:
    ends_at = time.monotonic() + START_LIMIT_S
    while time.monotonic() < ends_at and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK:
                return
        time.sleep(0.2)
    raise SystemExit("the service did not start")


def cpu_s(root: psutil.Process) -> Counter[str]:
    """Return the processor seconds so far of each kind of process."""
    found: Counter[str] = Counter()
    for process in root.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found[_kind(process)] += sum(process.cpu_times()[:2])
    return found


def _kind(process: psutil.Process) -> str:
    title = _title(process)
    if title in TITLES:
        return TITLES[title]
    parent = process.parent()
    return PICTURES if parent and _title(parent) == "ray::ServeReplica:lrpserve:ingress" else REST


def _title(process: psutil.Process) -> str:
    """Return the title that Ray gives a process, without the method that it runs."""
    return str((process.cmdline() or [""])[0]).split(".")[0].split(" ")[0]


def measured(port: int) -> tuple[Counter[str], int]:
    """Return the processor seconds by process, and the answers meanwhile."""
    headers = {"Content-Type": "image/jpeg", "Accept": "image/png"}
    request = raw("POST", "/explain", content=encoded("JPEG"), headers=headers)
    with on_ray(port) as root:
        saturate(port, request, CLIENTS, WARM_UP_S)
        before = cpu_s(root)
        tally = saturate(port, request, CLIENTS, SECONDS)
        return cpu_s(root) - before, len(tally.answers[200].since_sent_s)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8300)
    parser.add_argument("--write", action="store_true", help="also write the table into docs/scale.md")
    arguments = parser.parse_args()
    spent, answers = measured(arguments.port)
    rows = [
        [name, f"{1000 * spent[name] / answers:.2f}", f"{answers / spent[name]:.0f}"]
        for name in (PROXY, APPLICATION, PICTURES, MODEL, REST)
    ]
    text = (
        f"{answers / SECONDS:.0f} answers a second from {CLIENTS} clients "
        f"({hardware.described(hardware.device('cpu'))}, with the clients):\n\n{blocks.table(COLUMNS, rows)}"
    )
    print(text)
    if arguments.write:
        blocks.fill("scale.md", {"front": text})


if __name__ == "__main__":
    main()
