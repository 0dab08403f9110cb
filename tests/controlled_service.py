"""The service as a process whose batches are controlled through stdin, for tests of its shutdown.

As in the service itself, the process that listens does not import torch. Each batch prints its size on stdout, as
``batch 3``, and waits for a command on stdin: ``run``, ``lose-device`` or ``exit``. At the end of stdin all
batches run.
"""

import sys
from collections.abc import Sequence

from fake_model import FakeModel

from app.main import create_app
from app.models.protocol import Job, JobResult, ModelLostError
from app.server import run
from app.settings import Settings
from app.telemetry.logs import configure


class ControlledModel(FakeModel):
    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        print("batch", len(jobs), flush=True)
        match sys.stdin.readline().strip():
            case "lose-device":
                raise ModelLostError("CUDA error: an illegal memory access was encountered")
            case "exit":
                raise SystemExit
        return super().run(jobs)


def main() -> None:
    configure("json")
    settings = Settings()
    run(create_app(settings, ControlledModel()), settings)


if __name__ == "__main__":
    main()
