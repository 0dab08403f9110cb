"""Who takes part: how each server is started, when it is ready and where it explains."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / ".bench"
"""One virtual environment for each peer, made by ``make bench-service``."""

MULTIPART, RAW = "multipart", "raw"


def _answers(_: bytes) -> bool:
    return True


def _worker_ready(body: bytes) -> bool:
    """TorchServe's ``/ping`` is healthy long before its worker has loaded anything."""
    return any(worker["status"] == "READY" for worker in json.loads(body)[0]["workers"])


@dataclass(frozen=True)
class Contender:
    """A server to measure. ``command`` makes its command line of a port and a scratch folder."""

    name: str
    about: str
    command: Callable[[int, Path], list[str]]
    packages: tuple[str, ...]
    ready_path: str = "/health"
    explain_path: str = "/explain"
    forms: tuple[str, ...] = (MULTIPART,)
    is_ready: Callable[[bytes], bool] = _answers
    programs: tuple[str, ...] = ()
    is_ours: bool = False

    def missing(self) -> str | None:
        """What keeps it from taking part, if anything."""
        absent = [program for program in self.programs if shutil.which(program) is None]
        if absent:
            return f"{self.name} is left out: there is no {absent[0]} on this machine; install it"
        if not self.is_ours and not (ENVIRONMENTS / self.name / "stamp").exists():
            return f"{self.name} is left out: it is not installed; 'make bench-service' says why"
        return None


def _python(name: str) -> str:
    return str(ENVIRONMENTS / name / "bin" / "python")


OURS = Contender(
    name="lrpserve",
    about="this service, as `lrpserve serve` starts it",
    command=lambda port, _: [sys.executable, "-m", "app.cli", "serve", "--port", str(port)],
    packages=("fastapi", "uvicorn", "torch"),
    ready_path="/readyz",
    forms=(MULTIPART, RAW),
    is_ours=True,
)

AFTERNOON = Contender(
    name="afternoon",
    about="FastAPI and Zennit: an endpoint in the thread pool, a lock around Zennit, `fastapi run`",
    command=lambda port, _: [
        *(_python("afternoon"), "-m", "fastapi", "run", "--host", "127.0.0.1", "--port", str(port)),
        *("--entrypoint", "benchmarks.peers.afternoon.service:app"),
    ],
    packages=("fastapi", "uvicorn", "zennit", "torch"),
)

LITSERVE = Contender(
    name="litserve",
    about="LitServe and Zennit with LitServe's own batches of up to 32",
    command=lambda port, _: [_python("litserve"), "-m", "benchmarks.peers.litserve.service", str(port)],
    packages=("litserve", "zennit", "torch"),
)

TORCHSERVE = Contender(
    name="torchserve",
    about="TorchServe and Captum (ε and α1β0, having no EpsilonPlusFlat), TorchServe's own batches of up to 32",
    command=lambda port, scratch: [
        *(_python("torchserve"), "-m", "benchmarks.peers.torchserve.serve", str(port), str(scratch)),
    ],
    packages=("torchserve", "captum", "torch"),
    ready_path="/models/lrp",
    explain_path="/explanations/lrp",
    forms=(MULTIPART, RAW),
    is_ready=_worker_ready,
    programs=("java",),
)

BENTOML = Contender(
    name="bentoml",
    about="BentoML and Zennit with BentoML's adaptive batches of up to 32",
    command=lambda port, _: [
        *(_python("bentoml"), "-m", "bentoml", "serve", "benchmarks.peers.bentoml.service:Explain"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ],
    packages=("bentoml", "zennit", "torch"),
    ready_path="/readyz",
)

CONTENDERS = (OURS, AFTERNOON, LITSERVE, TORCHSERVE, BENTOML)
