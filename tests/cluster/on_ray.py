"""``lrpserve serve``, with ``--ray`` or without, as a process; and its clients."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

MODEL = "minivgg-cifar10"
ROOT = Path(__file__).parents[2]
START_S, END_S, POLL_S = 300, 60, 0.2
REQUEST_S = 60


class Service:
    """A process that listens on ``port``, and its children."""

    def __init__(self, port: int, *options: str, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=REQUEST_S)
        arguments = [sys.executable, "-m", "app.cli", "serve", "--port", str(port), *options]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 # see `close`
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LRP_")}
        environment = {**inherited, "PYTHONPATH": str(ROOT), "LRP_LOG_FORMAT": "json", **settings}
        self._process = subprocess.Popen(arguments, env=environment, stderr=self._log)

    def wait_until_ready(self) -> None:
        """Wait for the warm-up of all models, and of Ray for all replicas."""
        self.until(self.is_ready)

    def until(self, reached: Callable[[], bool]) -> None:
        ends_at = time.monotonic() + START_S
        while not reached():
            assert self._process.poll() is None, self.printed()
            assert time.monotonic() < ends_at, "it takes too long"
            time.sleep(POLL_S)

    def is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def replicas(self, deployment: str) -> list[psutil.Process]:
        title = f"ray::ServeReplica:lrpserve:{deployment}"
        return [one for one in self.children() if _title(one).split(".")[0] == title]

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self._process.pid).children(recursive=True))

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal; return the exit code."""
        self._process.send_signal(number)
        return self._process.wait(END_S)

    def printed(self) -> str:
        """Return what was written to standard error."""
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        """Kill what runs still."""
        self.client.close()
        if self._process.poll() is None:
            for one in (*self.children(), self._process):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            self._process.wait()
        self._log.close()


def _title(process: psutil.Process) -> str:
    try:
        return str(process.cmdline()[0])
    except (psutil.NoSuchProcess, IndexError):
        return ""


@contextlib.contextmanager
def service(port: int, *options: str, **settings: str) -> Iterator[Service]:
    """Run a service in the block."""
    started = Service(port, *options, **settings)
    try:
        yield started
    finally:
        started.close()


def assert_ends(on_ray: Service, number: int) -> None:
    """Send a signal; compare the exit code, and that no process is left."""
    children = on_ray.children()
    assert on_ray.end(number) == 0
    assert psutil.wait_procs(children, timeout=10)[1] == []


def assert_equal(ours: Any, theirs: Any) -> None:
    """Compare JSON; numbers up to rounding, and neither times nor how long something took."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"timings", "seconds", "ms"}:
            assert_equal(ours[name], theirs[name])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    else:
        assert ours == theirs
