"""The servers to measure: their commands, when they are ready, and the path of their explanations."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from app.models.device import has_bfloat16

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENTS = ROOT / ".bench"
"""Folder of the peers' virtual environments, which ``make bench-service`` creates."""

MULTIPART, RAW = "multipart", "raw"


def _always_ready(_: bytes) -> bool:
    return True


def _worker_ready(body: bytes) -> bool:
    """Whether TorchServe's worker has loaded the model; ``/ping`` is healthy long before."""
    return any(worker["status"] == "READY" for worker in json.loads(body)[0]["workers"])


@dataclass(frozen=True)
class Contender:
    """A server to measure. ``command`` returns its command line for a port and a temporary folder."""

    name: str
    about: str
    command: Callable[[int, Path], list[str]]
    packages: tuple[str, ...]
    ready_path: str = "/health"
    explain_path: str = "/explain"
    forms: tuple[str, ...] = (MULTIPART,)
    is_ready: Callable[[bytes], bool] = _always_ready
    programs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of the process that measures."""
    is_ours: bool = False
    needs_bfloat16: bool = False

    def missing(self) -> str | None:
        """Return why this server cannot be measured, or ``None`` if it can."""
        absent = [program for program in self.programs if shutil.which(program) is None]
        if absent:
            return f"{self.name} is left out: {absent[0]} is not on this machine; install it"
        if self.needs_bfloat16 and not has_bfloat16(torch.device("cpu")):
            return f"{self.name} is left out: this processor has no instructions for bfloat16"
        if not self.is_ours and not (ENVIRONMENTS / self.name / "stamp").exists():
            return f"{self.name} is left out: it is not installed; 'make bench-service' prints the reason"
        return None


def _python(name: str) -> str:
    return str(ENVIRONMENTS / name / "bin" / "python")


OURS = Contender(
    name="lrpserve",
    about="this service, started by `lrpserve serve`",
    command=lambda port, _: [sys.executable, "-m", "app.cli", "serve", "--port", str(port)],
    packages=("fastapi", "uvicorn", "torch"),
    ready_path="/readyz",
    forms=(MULTIPART, RAW),
    is_ours=True,
)

OURS_BFLOAT16 = replace(
    OURS,
    name="lrpserve-bfloat16",
    about="the same with `LRP_PRECISION=bfloat16`",
    environment={"LRP_PRECISION": "bfloat16"},
    needs_bfloat16=True,
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
    about="TorchServe and Captum (ε and α1β0, no EpsilonPlusFlat), TorchServe's own batches of up to 32",
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

CONTENDERS = (OURS, OURS_BFLOAT16, AFTERNOON, LITSERVE, TORCHSERVE, BENTOML)
