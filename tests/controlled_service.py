"""The service as a process whose model does as it is told: for tests of how the process ends.

Each batch is announced on stdout, as ``batch 3``, and waits for a word on stdin: ``go``, ``lose`` the device, or
``die``. When stdin is at its end all go.
"""

import sys

import torch

from app.lrp.attribution import Batch, BatchAttributions
from app.lrp.engine.engine import Engine
from app.main import create_app
from app.models.local import LocalModel
from app.server import run
from app.settings import Settings
from app.telemetry.logs import configure


def main() -> None:
    engines_own = Engine.run

    def held(engine: Engine, batch: Batch) -> BatchAttributions:
        print("batch", len(batch.inputs), flush=True)
        match sys.stdin.readline().strip():
            case "lose":
                raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
            case "die":
                raise SystemExit
        return engines_own(engine, batch)

    Engine.run = held  # type: ignore[method-assign,assignment] # this process is for that
    configure("json")
    settings = Settings()
    run(create_app(settings, LocalModel.load(settings.model, "cpu", None)), settings)


if __name__ == "__main__":
    main()
